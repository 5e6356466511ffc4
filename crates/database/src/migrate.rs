use std::collections::HashMap;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::name::{self, identifier};
use crate::{Error, Result, runtime_role};

/// undefined_table: no migration has run yet.
const NO_TABLE: &str = "42P01";

/// A set of migrations and the table that remembers them.
struct Set {
    name: &'static str,
    /// Quoted and with its schema.
    table: String,
    migrations: Vec<Migration>,
}

/// Brings a module's schema up to date: the bus's tables first, then the module's own. When nothing
/// is pending it takes one connection and two queries. Of two instances at once one migrates and the
/// other waits.
///
/// A schema that is newer than this program is left as it is, since migrations are made to be safe
/// beside the previous release.
///
/// # Errors
/// When the owner cannot sign in, a migration fails, or one that was applied has changed since; and
/// [`Error::Away`] where another copy of the schema serves, or soon will.
///
/// # Panics
/// When the module's name does not do: names come from the program itself.
pub async fn migrate(owner: &PgConnectOptions, module: &str, migrations: &Migrator) -> Result<()> {
    run(owner, module, migrations, true).await
}

/// As [`migrate`], whatever the schema is to its module: for moving it.
///
/// # Errors
/// As [`migrate`], without `Away`.
pub async fn migrate_copy(
    owner: &PgConnectOptions,
    module: &str,
    migrations: &Migrator,
) -> Result<()> {
    run(owner, module, migrations, false).await
}

async fn run(
    owner: &PgConnectOptions,
    module: &str,
    migrations: &Migrator,
    to_serve: bool,
) -> Result<()> {
    let schema = identifier(name::module(module)?);
    let sets = [
        Set::new(&schema, "bus_migrations", &bus::migrator(module)),
        Set::new(&schema, "schema_migrations", migrations),
    ];

    let mut connection = owner.connect().await.map_err(|source| Error::SignIn {
        module: module.to_owned(),
        source,
    })?;
    let looked = |source| Error::LookUp {
        module: module.to_owned(),
        source,
    };
    if to_serve {
        let name = bus::Schema::new(module).expect("validated above");
        match bus::place::look(&mut connection, &name)
            .await
            .map_err(looked)?
        {
            Some(place) if place.state != bus::place::State::Here => {
                return Err(Error::Away {
                    module: module.to_owned(),
                    place,
                });
            }
            _ => {}
        }
    }
    if pending(&mut connection, module, &sets).await? {
        // A lock per module: one module's long migration holds up no other. It ends with the
        // connection, whatever happens.
        let lock = format!("hashtextextended('banyan migrate {module}', 0)");
        sqlx::raw_sql(AssertSqlSafe(format!("SELECT pg_advisory_lock({lock})")))
            .execute(&mut connection)
            .await
            .map_err(looked)?;
        if pending(&mut connection, module, &sets).await? {
            for set in &sets {
                set.run(&mut connection, module).await?;
            }
            // The default privileges of the schema let the runtime role write every table; what has
            // been applied is none of its business.
            let revoke = format!(
                "REVOKE ALL ON {}, {} FROM {}",
                sets[0].table,
                sets[1].table,
                identifier(&runtime_role(module))
            );
            sqlx::raw_sql(AssertSqlSafe(revoke))
                .execute(&mut connection)
                .await
                .map_err(looked)?;
        }
    }
    connection.close().await.map_err(looked)
}

/// Whether a migration has not been applied yet.
async fn pending(connection: &mut PgConnection, module: &str, sets: &[Set; 2]) -> Result<bool> {
    // The simple protocol: one round trip, where a prepared statement takes two.
    let look = format!(
        "SELECT 0 AS set, version, checksum FROM {} UNION ALL SELECT 1, version, checksum FROM {}",
        sets[0].table, sets[1].table
    );
    let rows = match sqlx::raw_sql(AssertSqlSafe(look))
        .fetch_all(&mut *connection)
        .await
    {
        Ok(rows) => rows,
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(NO_TABLE) => return Ok(true),
        Err(source) => {
            return Err(Error::LookUp {
                module: module.to_owned(),
                source,
            });
        }
    };

    let mut applied = [HashMap::new(), HashMap::new()];
    for row in &rows {
        let decoded = (|| {
            let set = usize::from(row.try_get::<i32, _>("set")? == 1);
            let version: i64 = row.try_get("version")?;
            let checksum: Vec<u8> = row.try_get("checksum")?;
            Ok((set, version, checksum))
        })();
        let (set, version, checksum) = decoded.map_err(|source| Error::LookUp {
            module: module.to_owned(),
            source,
        })?;
        applied[set].insert(version, checksum);
    }
    let mut pending = false;
    for (set, applied) in sets.iter().zip(&applied) {
        pending |= set.compare(applied, module)?;
    }
    Ok(pending)
}

impl Set {
    fn new(schema: &str, name: &'static str, migrator: &Migrator) -> Self {
        let mut migrations = migrator
            .iter()
            .filter(|migration| !migration.migration_type.is_down_migration())
            .cloned()
            .collect::<Vec<_>>();
        migrations.sort();
        Self {
            name,
            table: format!("{schema}.{name}"),
            migrations,
        }
    }

    /// Whether one of the set is not among the applied.
    fn compare(&self, applied: &HashMap<i64, Vec<u8>>, module: &str) -> Result<bool> {
        let mut pending = false;
        for migration in &self.migrations {
            match applied.get(&migration.version) {
                Some(checksum) if *checksum == *migration.checksum => {}
                Some(_) => {
                    return Err(Error::Changed {
                        module: module.to_owned(),
                        version: migration.version,
                        description: migration.description.to_string(),
                    });
                }
                None => pending = true,
            }
        }
        let newest = self.migrations.last().map_or(0, |last| last.version);
        let unknown = applied
            .keys()
            .filter(|version| self.migrations.iter().all(|m| m.version != **version))
            .min();
        match unknown {
            Some(version) if *version < newest => Err(Error::Missing {
                module: module.to_owned(),
                version: *version,
            }),
            Some(version) => {
                tracing::warn!(
                    module,
                    version,
                    "the schema is newer than this program; a later release has migrated it"
                );
                Ok(pending)
            }
            None => Ok(pending),
        }
    }

    async fn run(&self, connection: &mut PgConnection, module: &str) -> Result<()> {
        let mut migrator = Migrator::with_migrations(self.migrations.clone());
        migrator.dangerous_set_table_name(self.table.clone());
        // The lock is held already; newer versions have been judged already.
        migrator.set_locking(false).set_ignore_missing(true);
        migrator
            .run_direct(None, connection, false)
            .await
            .map_err(|source| match source {
                MigrateError::ExecuteMigration(source, version) => Error::Migration {
                    module: module.to_owned(),
                    table: self.name,
                    version,
                    description: self.describe(version),
                    source,
                },
                source => Error::Migrate {
                    module: module.to_owned(),
                    source,
                },
            })
    }

    fn describe(&self, version: i64) -> String {
        self.migrations
            .iter()
            .find(|migration| migration.version == version)
            .map(|migration| migration.description.to_string())
            .unwrap_or_default()
    }
}
