use crate::{Error, Result};

/// Names that may stand in SQL; they are quoted all the same, since some are keywords.
pub(crate) fn module(name: &str) -> Result<&str> {
    let mut letters = name.chars();
    let plain = letters.next().is_some_and(|c| c.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= 31;
    // The server keeps pg_ to itself. A module `a_owner` would share its runtime role with the owner
    // role of the module `a`, and could change that module's schema.
    let taken = name.starts_with("pg_")
        || name.ends_with("_owner")
        || ["public", "information_schema"].contains(&name);
    if plain && !taken {
        Ok(name)
    } else {
        Err(Error::ModuleName(name.to_owned()))
    }
}

/// The server would cut a longer name, and then not find what it was given.
pub(crate) fn database(name: &str) -> Result<&str> {
    if (1..=63).contains(&name.len()) && !name.contains(|c: char| c.is_control()) {
        Ok(name)
    } else {
        Err(Error::DatabaseName(name.to_owned()))
    }
}

pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant, also when `standard_conforming_strings` is off.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_modules() {
        for good in ["identity", "a", "a_1", "user", &"a".repeat(31)] {
            assert!(module(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1a",
            "_a",
            "A",
            "ä",
            "a-b",
            "a.b",
            "a b",
            "a\"b",
            "a;drop",
            "public",
            "information_schema",
            "pg_x",
            "identity_owner",
            &"a".repeat(32),
        ] {
            assert!(module(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quoting_keeps_text_together() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
