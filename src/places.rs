//! Where the modules' schemas lie, and how each role signs in there.

use std::str::FromStr;

use anyhow::Context;
use embedded::Server;
use kernel::Secret;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::{config::Config, modules::MODULES};

/// The name of the embedded server's database.
const EMBEDDED_DATABASE: &str = "banyan";

/// The database of this installation.
pub struct Places {
    base: PgConnectOptions,
    role_secret: Secret,
    server: Option<Server>,
}

impl Places {
    /// Reaches the configured database, or starts (or joins) the embedded one and prepares it.
    pub async fn open(config: &Config, role_secret: Secret) -> anyhow::Result<Self> {
        if !config.host.database.embedded() {
            // The error would show the URL, and a password in it.
            let base = PgConnectOptions::from_str(config.host.database.url.expose())
                .map_err(|_| anyhow::anyhow!("database.url is no postgres://host:port/name"))?;
            return Ok(Self {
                base: quiet(base),
                role_secret,
                server: None,
            });
        }
        let data_dir = std::path::absolute(&config.host.server.data_dir)?;
        let options = embedded::Options {
            data_dir: data_dir.join("postgres"),
            fsync: true,
            bin_dir: None,
        };
        let server = Server::open(options).await?;
        let modules: Vec<_> = MODULES.iter().map(|m| m.name()).collect();
        database::ensure_prepared(
            &server.admin(),
            EMBEDDED_DATABASE,
            &modules,
            role_secret.expose().as_bytes(),
        )
        .await
        .context("the embedded database could not be prepared")?;
        if server.owned() {
            release_leases(&server, &modules).await?;
        }
        let base = quiet(server.database(EMBEDDED_DATABASE));
        Ok(Self {
            base,
            role_secret,
            server: Some(server),
        })
    }

    /// A database that is there already, for tests.
    pub fn at(base: PgConnectOptions, role_secret: Secret) -> Self {
        Self {
            base: quiet(base),
            role_secret,
            server: None,
        }
    }

    /// As the role that serves.
    pub fn runtime(&self, module: &str) -> PgConnectOptions {
        self.sign_in(&database::runtime_role(module))
    }

    /// As the role that migrates.
    pub fn owner(&self, module: &str) -> PgConnectOptions {
        self.sign_in(&database::owner_role(module))
    }

    fn sign_in(&self, role: &str) -> PgConnectOptions {
        let password = database::role_password(self.role_secret.expose().as_bytes(), role);
        self.base
            .clone()
            .username(role)
            .password(&password)
            .application_name(role)
    }

    /// What a person should know about the embedded server's place.
    pub fn notice(&self) -> Option<String> {
        let server = self.server.as_ref()?;
        let place = server.place().display();
        Some(match server.moved_from() {
            Some(asked) => format!(
                "PostgreSQL runs embedded in {place} (its user cannot enter {})",
                asked.display()
            ),
            None => format!("PostgreSQL runs embedded in {place}"),
        })
    }

    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(server) = self.server {
            server.stop().await?;
        }
        Ok(())
    }
}

/// Statements are not logged: they would be stored as log records, by statements.
fn quiet(options: PgConnectOptions) -> PgConnectOptions {
    options
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Off, std::time::Duration::ZERO)
}

/// Whoever held leases is gone with the server that this process has just started: after a kill
/// nothing waits for them to expire.
async fn release_leases(server: &Server, modules: &[&str]) -> anyhow::Result<()> {
    let mut conn = server.database(EMBEDDED_DATABASE).connect().await?;
    for module in modules {
        bus::lease::release_all(&mut conn, &bus::Schema::new(module)?).await?;
    }
    conn.close().await?;
    Ok(())
}
