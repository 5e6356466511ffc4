//! One end of a move: a module's schema in one database, as its owner.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bus::{
    Schema,
    place::{self, Place},
};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, postgres::PgConnectOptions};

use crate::places::Places;

/// Both ends write values alike, and neither gives up on a long statement.
const SESSION: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
     SET bytea_output = 'hex'; SET extra_float_digits = 3; SET search_path = pg_catalog; \
     SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '10s'";

/// How long a command that was killed may keep its lock, until its connection is found dead.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// A module's schema in one database.
pub(super) struct End {
    pub module: &'static str,
    pub schema: Schema,
    /// The role that serves.
    pub runtime: String,
    /// Server and database, for people: no password.
    pub name: String,
    pub owner: PgConnectOptions,
    pub conn: PgConnection,
}

/// What a server says of itself and of the schema.
pub(super) struct Facts {
    pub version: String,
    /// 150004 is 15.4.
    pub version_number: i32,
    pub encoding: String,
    /// The schema belongs to the owner, and the runtime role exists.
    pub is_prepared: bool,
    /// Of all tables with their indexes, on disk.
    pub bytes: i64,
    /// Its clock, in seconds.
    pub clock: f64,
}

impl End {
    /// Signs in as the schema's owner.
    ///
    /// # Errors
    /// When the server cannot be reached or does not know the role.
    pub async fn open(places: &Places, module: &'static str) -> anyhow::Result<Self> {
        let owner = places.owner(module);
        let name = place_name(&owner);
        let mut conn = owner
            .connect()
            .await
            .with_context(|| format!("cannot sign in to {name} as {}", owner.get_username()))?;
        sqlx::raw_sql(SESSION).execute(&mut conn).await?;
        Ok(Self {
            module,
            schema: Schema::new(module)?,
            runtime: database::runtime_role(module),
            name,
            owner,
            conn,
        })
    }

    pub async fn place(&mut self) -> anyhow::Result<Option<Place>> {
        Ok(place::look(&mut self.conn, &self.schema).await?)
    }

    pub async fn facts(&mut self) -> anyhow::Result<Facts> {
        let row = sqlx::query(
            "SELECT current_setting('server_version') AS version,
                    current_setting('server_version_num')::integer AS number,
                    current_setting('server_encoding') AS encoding,
                    EXISTS (SELECT FROM pg_namespace
                             WHERE nspname = $1 AND nspowner = current_user::regrole)
                    AND EXISTS (SELECT FROM pg_roles WHERE rolname = $2) AS prepared,
                    (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
                       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = $1 AND c.relkind = 'r') AS bytes,
                    extract(epoch FROM clock_timestamp())::float8 AS clock",
        )
        .bind(self.module)
        .bind(&self.runtime)
        .fetch_one(&mut self.conn)
        .await?;
        Ok(Facts {
            version: row.try_get("version")?,
            version_number: row.try_get("number")?,
            encoding: row.try_get("encoding")?,
            is_prepared: row.try_get("prepared")?,
            bytes: row.try_get("bytes")?,
            clock: row.try_get("clock")?,
        })
    }

    /// Has a process ever served from here? Each declares its leases when it starts, and what is
    /// written by a command is published.
    pub async fn is_used(&mut self) -> anyhow::Result<bool> {
        let tables = ["leases", "event_keys", "outbox", "log", "subscriptions"];
        let any = tables.map(|table| format!("EXISTS (SELECT FROM {}.{table})", self.schema));
        let query = format!("SELECT {}", any.join(" OR "));
        Ok(sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut self.conn)
            .await?)
    }

    /// No two commands move one module at once. The lock ends with the connection.
    pub async fn lock(&mut self) -> anyhow::Result<()> {
        let lock = format!("banyan move {}", self.module);
        for _ in 0..LOCK_TRIES {
            let taken = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(&lock)
                .fetch_one(&mut self.conn)
                .await?;
            if taken {
                return Ok(());
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        bail!(
            "another command is moving {} at {}: wait for it, or end it",
            self.module,
            self.name
        );
    }

    /// Runs statements whose only parts are names that the server has quoted or we have validated.
    pub async fn run(&mut self, statements: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.conn)
            .await
            .map(drop)
    }

    /// May the role that serves reach anything here?
    pub async fn is_fenced(&mut self) -> anyhow::Result<bool> {
        let may: bool = sqlx::query_scalar("SELECT has_schema_privilege($1, $2, 'USAGE')")
            .bind(&self.runtime)
            .bind(self.module)
            .fetch_one(&mut self.conn)
            .await?;
        Ok(!may)
    }

    /// Takes the runtime role's way into the schema, and makes sure that it has no other.
    pub async fn fence(&mut self) -> anyhow::Result<()> {
        let revoke = format!(
            "REVOKE USAGE ON SCHEMA {} FROM {}",
            self.schema, self.runtime
        );
        self.run(revoke).await?;
        ensure!(
            self.is_fenced().await?,
            "{} can still reach the schema at {}, by a right that was not given by `banyan database \
             prepare`: take it away first",
            self.runtime,
            self.name
        );
        Ok(())
    }

    /// Gives it back, and serves.
    pub async fn unfence(&mut self) -> Result<(), sqlx::Error> {
        let (schema, runtime) = (&self.schema, &self.runtime);
        let statements = format!(
            "BEGIN;
             UPDATE {schema}.place
                SET state = 'here', peer = NULL, peer_name = NULL, since = clock_timestamp();
             GRANT USAGE ON SCHEMA {schema} TO {runtime};
             COMMIT"
        );
        self.run(statements).await
    }
}

/// `host:port/database`, without user and password.
pub(super) fn place_name(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or("?");
    format!("{host}:{}/{database}", options.get_port())
}
