//! The modules' migrations as they are on disk right now, and a database that has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use database::{owner_role, role_password};
use embedded::Server;
use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// No secret: the cluster can only be reached by whoever could read it as well.
const ROLE_SECRET: &[u8] = b"development";

/// One folder in `migrations/`.
pub(crate) struct Module {
    pub(crate) name: String,
    dir: PathBuf,
}

/// Every module: the folders decide, so that there is no list to forget one in.
pub(crate) fn modules(root: &Path) -> anyhow::Result<Vec<Module>> {
    let dir = root.join("migrations");
    let mut modules = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            modules.push(Module {
                name: entry.file_name().to_string_lossy().into_owned(),
                dir: entry.path(),
            });
        }
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(modules)
}

/// A superuser's URL, fit for sqlx's macros and for psql.
pub(crate) fn url(server: &Server, database: &str) -> String {
    let mut url = server.database(database).to_url_lossy();
    url.set_query(Some("sslmode=disable"));
    url.to_string()
}

/// Drops the database, if it is there, and makes it again with every module's schema. Returns the
/// number of modules that could not be migrated; what is wrong with them is on stderr.
pub(crate) async fn rebuild(
    server: &Server,
    database: &str,
    modules: &[Module],
) -> anyhow::Result<usize> {
    let mut admin = server.admin().connect().await?;
    run(
        &mut admin,
        &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
    )
    .await?;
    admin.close().await?;
    update(server, database, modules).await
}

/// Brings every schema in line with the files. A schema whose applied migrations have changed is
/// emptied first; the others are left alone, since somebody may be compiling against them.
pub(crate) async fn update(
    server: &Server,
    database: &str,
    modules: &[Module],
) -> anyhow::Result<usize> {
    let names = modules.iter().map(|m| m.name.as_str()).collect::<Vec<_>>();
    database::prepare(&server.admin(), database, &names, ROLE_SECRET).await?;

    let mut failed = 0;
    let superuser = server.database(database);
    for module in modules {
        if let Err(error) = module
            .update(&superuser, database, &names, &server.admin())
            .await
        {
            eprintln!("{}: {error:#}", module.name);
            failed += 1;
        }
    }
    Ok(failed)
}

impl Module {
    async fn update(
        &self,
        superuser: &PgConnectOptions,
        database: &str,
        modules: &[&str],
        admin: &PgConnectOptions,
    ) -> anyhow::Result<()> {
        self.check_names()?;
        let migrator = Migrator::new(self.dir.clone()).await?;

        let mut connection = superuser.connect().await?;
        if self.has_changed(&mut connection, &migrator).await? {
            eprintln!("{}: migrations changed, emptying the schema", self.name);
            run(
                &mut connection,
                &format!("DROP SCHEMA \"{}\" CASCADE", self.name),
            )
            .await?;
            database::prepare(admin, database, modules, ROLE_SECRET).await?;
        }
        connection.close().await?;

        let role = owner_role(&self.name);
        let owner = superuser
            .clone()
            .username(&role)
            .password(&role_password(ROLE_SECRET, &role));
        database::migrate(&owner, &self.name, &migrator)
            .await
            .map_err(|error| self.locate(error, &migrator))
    }

    /// sqlx passes over files whose names it cannot read.
    fn check_names(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".sql") else {
                continue;
            };
            let well_named = stem
                .split_once('_')
                .is_some_and(|(number, rest)| number.parse::<u32>().is_ok() && !rest.is_empty());
            if !well_named {
                bail!(
                    "{} would be skipped: name it like 0002_add_sessions.sql",
                    self.dir.join(&name).display()
                );
            }
        }
        Ok(())
    }

    /// Whether something was applied that the files do not say.
    async fn has_changed(
        &self,
        connection: &mut PgConnection,
        migrator: &Migrator,
    ) -> anyhow::Result<bool> {
        for (table, migrator) in [
            ("bus_migrations", &bus::migrator(&self.name)),
            ("schema_migrations", migrator),
        ] {
            let table = format!("\"{}\".{table}", self.name);
            let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(&table)
                .fetch_one(&mut *connection)
                .await?;
            if !exists {
                continue;
            }
            let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT version, checksum FROM {table}"
            )))
            .fetch_all(&mut *connection)
            .await?;
            let files = migrator
                .iter()
                .map(|migration| (migration.version, &*migration.checksum))
                .collect::<BTreeMap<_, _>>();
            if applied
                .iter()
                .any(|(version, checksum)| files.get(version) != Some(&checksum.as_slice()))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts file and line before the server's words.
    fn locate(&self, error: database::Error, migrator: &Migrator) -> anyhow::Error {
        let database::Error::Migration {
            table: "schema_migrations",
            version,
            source: sqlx::Error::Database(reason),
            ..
        } = &error
        else {
            return error.into();
        };
        let migration = migrator.iter().find(|m| m.version == *version);
        let Some((migration, file)) = migration.and_then(|m| Some((m, self.file(m)?))) else {
            return error.into();
        };
        let reason = reason.downcast_ref::<PgDatabaseError>();
        let mut place = file.display().to_string();
        if let Some(PgErrorPosition::Original(position)) = reason.position() {
            let line = migration
                .sql
                .as_str()
                .chars()
                .take(position)
                .filter(|c| *c == '\n')
                .count()
                + 1;
            place = format!("{place}:{line}");
        }
        let extra = [reason.detail(), reason.hint(), reason.r#where()]
            .into_iter()
            .flatten()
            .map(|text| format!("; {text}"))
            .collect::<String>();
        anyhow!("{place}: {}{extra}", reason.message())
    }

    fn file(&self, migration: &Migration) -> Option<PathBuf> {
        fs::read_dir(&self.dir).ok()?.flatten().find_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (number, _) = name.split_once('_')?;
            (number.parse() == Ok(migration.version)).then(|| entry.path())
        })
    }
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(drop)
}
