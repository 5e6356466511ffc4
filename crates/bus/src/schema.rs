//! One text for every module's schema: names are validated, then put into the statements.

use std::{borrow::Cow, fmt};

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// A module's schema, by a name that is safe in SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schema(String);

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no module name: lowercase letters, digits and _, from a letter, at most 31")]
pub struct InvalidName(String);

impl Schema {
    pub fn new(module: &str) -> Result<Self, InvalidName> {
        let mut bytes = module.bytes();
        let valid = module.len() <= 31
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            Ok(Self(module.to_owned()))
        } else {
            Err(InvalidName(module.to_owned()))
        }
    }

    /// The text with `{schema}` and `{runtime}` replaced.
    pub(crate) fn sql(&self, text: &str) -> String {
        text.replace("{schema}", &self.0)
            .replace("{runtime}", &format!("banyan_{}", self.0))
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "bus", include_str!("../migrations/0001_bus.sql")),
    (2, "place", crate::place::MIGRATION),
    (
        3,
        "last_event",
        include_str!("../migrations/0003_last_event.sql"),
    ),
];

/// The bus's migrations for a module's schema, with a table of their own to remember them.
///
/// # Panics
/// When the name is not a module's: names come from the program, not from outside.
pub fn migrator(module: &str) -> Migrator {
    let schema = Schema::new(module).expect("modules have valid names");
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, description, text)| {
            Migration::new(
                *version,
                Cow::Borrowed(description),
                MigrationType::Simple,
                sqlx::AssertSqlSafe(schema.sql(text)).into_sql_str(),
                false,
            )
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.dangerous_set_table_name(format!("{schema}.bus_migrations"));
    migrator
}

/// Declares a struct of statements, each made for a schema.
macro_rules! statements {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $text:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: String,)* }

        impl $name {
            pub(crate) fn new(schema: &$crate::schema::Schema) -> Self {
                Self { $($field: schema.sql($text),)* }
            }
        }
    };
}
pub(crate) use statements;

/// A statement made by [`statements!`]: its only parts are constant text and a validated name.
pub(crate) fn safe(statement: &str) -> sqlx::AssertSqlSafe<&str> {
    sqlx::AssertSqlSafe(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_reach_the_statements() {
        for good in ["identity", "a", "a_1"] {
            assert!(Schema::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1a",
            "a-b",
            "a.b",
            "a;drop",
            "A",
            "ä",
            "a\"",
            &"a".repeat(32),
        ] {
            assert!(Schema::new(bad).is_err(), "{bad}");
        }
    }
}
