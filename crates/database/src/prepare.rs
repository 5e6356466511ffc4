use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::name::{identifier, literal};
use crate::roles::{owner_role, password_mark, role_password, runtime_role, scram_verifier};
use crate::{Error, Result, name};

/// invalid_catalog_name: there is no such database.
const NO_DATABASE: &str = "3D000";
/// duplicate_database, and unique_violation where two create it at the very same time.
const DATABASE_EXISTS: [&str; 2] = ["42P04", "23505"];

/// Held while roles change, since two sessions that alter one role make each other fail.
const LOCK: &str = "select pg_advisory_lock(hashtextextended('banyan database prepare', 0))";

/// Does what [`prepare`] does where something of it is missing, as far as it shows. When all of it is
/// there it takes one connection and one query.
///
/// # Errors
/// As [`prepare`].
pub async fn ensure_prepared(
    admin: &PgConnectOptions,
    database: &str,
    modules: &[&str],
    role_secret: &[u8],
) -> Result<()> {
    check_names(database, modules)?;
    match admin.clone().database(database).connect().await {
        Ok(mut connection) => {
            if is_prepared(&mut connection, database, modules, role_secret).await? {
                // Not closed: the server notices by itself.
                return Ok(());
            }
        }
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(NO_DATABASE) => {}
        Err(source) => return Err(unreachable(database, source)),
    }
    apply(admin, database, modules, role_secret, When::Missing).await
}

/// Creates what modules need in a database, and the database itself when it is missing: roles with
/// passwords derived from `role_secret`, schemas and privileges. Puts right what was changed by hand.
/// Two at once are safe.
///
/// Another `role_secret` changes the passwords. Roles belong to the whole cluster: two databases of
/// one cluster need the same secret.
///
/// # Errors
/// When the administrator may not create roles or schemas; see [`prepare_script`] for having
/// somebody else do it.
pub async fn prepare(
    admin: &PgConnectOptions,
    database: &str,
    modules: &[&str],
    role_secret: &[u8],
) -> Result<()> {
    check_names(database, modules)?;
    apply(admin, database, modules, role_secret, When::Always).await
}

#[derive(PartialEq, Eq)]
enum When {
    Missing,
    Always,
}

fn unreachable(database: &str, source: sqlx::Error) -> Error {
    Error::Administrator {
        database: database.to_owned(),
        source,
    }
}

async fn apply(
    admin: &PgConnectOptions,
    database: &str,
    modules: &[&str],
    role_secret: &[u8],
    when: When,
) -> Result<()> {
    // Advisory locks hold per database, roles are the cluster's: where several databases are
    // prepared at once they meet in the administrator's own.
    let meeting = match admin.get_database() {
        Some(own) if own != database => own,
        _ => "postgres",
    };
    let mut holder = admin
        .clone()
        .database(meeting)
        .connect()
        .await
        .map_err(|source| unreachable(meeting, source))?;
    let failed = |source| Error::Prepare {
        database: database.to_owned(),
        source,
    };
    sqlx::raw_sql(LOCK)
        .execute(&mut holder)
        .await
        .map_err(failed)?;

    let exists = "SELECT FROM pg_database WHERE datname = $1";
    let found = sqlx::query(exists)
        .bind(database)
        .fetch_optional(&mut holder);
    if found.await.map_err(failed)?.is_none() {
        create_database(&mut holder, database).await?;
    }
    let target = admin.clone().database(database);
    let mut connection = target
        .connect()
        .await
        .map_err(|source| unreachable(database, source))?;
    // Another instance may have come first.
    if when == When::Always || !is_prepared(&mut connection, database, modules, role_secret).await?
    {
        let script = statements(database, modules, role_secret);
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut connection)
            .await
            .map_err(failed)?;
        tracing::info!(database, ?modules, "roles and schemas are prepared");
    }
    connection.close().await.map_err(failed)?;
    // Closing releases the lock.
    holder.close().await.map_err(failed)
}

/// The whole of [`prepare`] as a script for psql, to be read and run by a database's administrator.
/// It shows no password, only what the server stores of them.
///
/// # Errors
/// When a name does not do.
pub fn prepare_script(database: &str, modules: &[&str], role_secret: &[u8]) -> Result<String> {
    check_names(database, modules)?;
    let create = create_statement(database);
    Ok(format!(
        "-- Roles and schemas for the modules {names}; may be run again at any time.\n\
         \\set ON_ERROR_STOP on\n\
         SELECT {create} WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {database_text}) \\gexec\n\
         \\connect {database_name}\n\
         {statements}",
        names = modules.join(", "),
        create = literal(&create),
        database_text = literal(database),
        database_name = identifier(database),
        statements = statements(database, modules, role_secret),
    ))
}

/// Creates or updates a module's roles, schema and privileges in the database that one is connected
/// to; may be run again. Works as a superuser and as a role with CREATEROLE and with CREATE on the
/// database, on PostgreSQL 15 and later. The verifiers come from [`scram_verifier`].
///
/// # Panics
/// When the module's name does not do: names come from the program itself.
pub fn prepare_sql(
    module: &str,
    owner_password_verifier: &str,
    runtime_password_verifier: &str,
) -> String {
    let module = name::module(module).expect("modules have valid names");
    let owner = owner_role(module);
    let runtime = runtime_role(module);
    let statements = format!(
        "{owner_exists}{runtime_exists}{passwords}{privileges}",
        owner_exists = create_role(&owner),
        runtime_exists = create_role(&runtime),
        // Only what a role with CREATEROLE may alter: naming SUPERUSER or REPLICATION here, even
        // to deny them, takes a superuser.
        passwords = format_args!(
            "ALTER ROLE {owner} LOGIN PASSWORD {owner_password};\n\
             ALTER ROLE {runtime} LOGIN PASSWORD {runtime_password};\n",
            owner = identifier(&owner),
            runtime = identifier(&runtime),
            owner_password = literal(owner_password_verifier),
            runtime_password = literal(runtime_password_verifier),
        ),
        privileges = privileges(module, &owner, &runtime),
    );
    format!("-- {module}\n{statements}")
}

fn create_role(role: &str) -> String {
    // CREATE ROLE knows no IF NOT EXISTS.
    format!(
        "DO $do$ BEGIN\n    \
             IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text}) THEN\n        \
                 CREATE ROLE {role} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;\n    \
             END IF;\n\
         END $do$;\n",
        text = literal(role),
        role = identifier(role),
    )
}

fn privileges(module: &str, owner: &str, runtime: &str) -> String {
    let statements = format!(
        "-- A schema can be made for a role that one is a member of. A superuser needs no membership;\n\
         -- others may need it again, to dump the data.\n\
         GRANT {owner} TO CURRENT_USER;\n\
         DO $do$ BEGIN\n    \
             IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {module_text}\n               \
                        AND pg_catalog.pg_get_userbyid(nspowner) <> {owner_text}) THEN\n        \
                 RAISE EXCEPTION 'the schema % is there already and does not belong to %', {module_text}, {owner_text};\n    \
             END IF;\n\
         END $do$;\n\
         CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner};\n\
         SET ROLE {owner};\n\
         REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;\n\
         -- Not while another copy of the schema serves, or soon will: the role must not write here then.\n\
         DO $do$ DECLARE serves boolean := true; BEGIN\n    \
             IF to_regclass({place_text}) IS NOT NULL THEN\n        \
                 EXECUTE 'SELECT coalesce(bool_and(state = ''here''), true) FROM {schema}.place' INTO serves;\n    \
             END IF;\n    \
             IF serves THEN GRANT USAGE ON SCHEMA {schema} TO {runtime}; END IF;\n\
         END $do$;\n\
         -- Functions and types are PUBLIC's by default, which only a revocation for all schemas changes.\n\
         ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;\n\
         ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;\n\
         ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime};\n\
         ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {runtime};\n\
         ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT EXECUTE ON FUNCTIONS TO {runtime};\n",
        schema = identifier(module),
        module_text = literal(module),
        place_text = literal(&format!("{module}.place")),
        owner = identifier(owner),
        owner_text = literal(owner),
        runtime = identifier(runtime),
    );
    // Says of the schema which text prepared it, so that another text is applied, and only then.
    let mark = schema_mark(&statements);
    format!(
        "{statements}COMMENT ON SCHEMA {schema} IS {mark};\nRESET ROLE;\n",
        schema = identifier(module),
        mark = literal(&mark),
    )
}

fn schema_mark(statements: &str) -> String {
    let digest = digest::digest(&digest::SHA256, statements.as_bytes());
    format!(
        "Banyan: prepared {}",
        URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12])
    )
}

fn role_mark(role_secret: &[u8], role: &str) -> String {
    format!("Banyan: password {}", password_mark(role_secret, role))
}

/// Everything inside the database, in one transaction.
fn statements(database: &str, modules: &[&str], role_secret: &[u8]) -> String {
    let mut script = String::from("BEGIN;\n");
    let database = identifier(database);
    // Anybody may connect to a new database and make temporary tables there.
    script += &format!("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC;\n");
    for module in modules {
        let roles = [owner_role(module), runtime_role(module)];
        let [owner_verifier, runtime_verifier] = roles
            .each_ref()
            .map(|role| scram_verifier(&role_password(role_secret, role)));
        script += &prepare_sql(module, &owner_verifier, &runtime_verifier);
        for role in &roles {
            script += &format!(
                "GRANT CONNECT ON DATABASE {database} TO {name};\n\
                 COMMENT ON ROLE {name} IS {mark};\n",
                name = identifier(role),
                mark = literal(&role_mark(role_secret, role)),
            );
        }
    }
    script += "COMMIT;\n";
    script
}

async fn create_database(admin: &mut PgConnection, database: &str) -> Result<()> {
    let outcome = sqlx::raw_sql(AssertSqlSafe(create_statement(database)))
        .execute(admin)
        .await;
    match outcome {
        Err(sqlx::Error::Database(e))
            if e.code()
                .is_some_and(|code| DATABASE_EXISTS.contains(&&*code)) =>
        {
            Ok(())
        }
        Err(source) => Err(Error::CreateDatabase {
            database: database.to_owned(),
            source,
        }),
        Ok(_) => Ok(()),
    }
}

fn create_statement(database: &str) -> String {
    // template0 is the one that nobody has changed, and the only one that may be given an encoding.
    format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'",
        identifier(database)
    )
}

/// One look: for every module its schema, prepared by this very text and owned by its owner role,
/// and both roles, with this secret's passwords and the right to connect.
async fn is_prepared(
    connection: &mut PgConnection,
    database: &str,
    modules: &[&str],
    role_secret: &[u8],
) -> Result<bool> {
    let mut wanted = Vec::new();
    for module in modules {
        let (owner, runtime) = (owner_role(module), runtime_role(module));
        let statements = privileges(module, &owner, &runtime);
        let before_mark = &statements[..statements.rfind("COMMENT ON SCHEMA").unwrap_or(0)];
        wanted.push(format!(
            "({}, {}, {}, {}, {}, {})",
            literal(module),
            literal(&schema_mark(before_mark)),
            literal(&owner),
            literal(&role_mark(role_secret, &owner)),
            literal(&runtime),
            literal(&role_mark(role_secret, &runtime)),
        ));
    }
    if wanted.is_empty() {
        return Ok(true);
    }
    // The simple protocol: one round trip, where a prepared statement takes two.
    let look = format!(
        "SELECT FROM (VALUES {wanted}) AS wanted (schema, mark, owner, owner_mark, runtime, runtime_mark)
         JOIN pg_namespace ON nspname = schema AND obj_description(pg_namespace.oid, 'pg_namespace') = mark
         JOIN pg_roles o ON o.oid = nspowner AND o.rolname = owner
          AND shobj_description(o.oid, 'pg_authid') = owner_mark
         JOIN pg_roles r ON r.rolname = runtime AND shobj_description(r.oid, 'pg_authid') = runtime_mark
        WHERE has_database_privilege(o.oid, current_database(), 'CONNECT')
          AND has_database_privilege(r.oid, current_database(), 'CONNECT')
          AND NOT has_database_privilege('public', current_database(), 'CONNECT')",
        wanted = wanted.join(", ")
    );
    let found = sqlx::raw_sql(AssertSqlSafe(look))
        .fetch_all(connection)
        .await
        .map_err(|source| Error::Prepare {
            database: database.to_owned(),
            source,
        })?;
    Ok(found.len() == modules.len())
}

fn check_names(database: &str, modules: &[&str]) -> Result<()> {
    name::database(database)?;
    modules
        .iter()
        .try_for_each(|module| name::module(module).map(drop))
}
