//! Where the schemas of this process's modules lie, and how each role signs in there.

use std::{collections::BTreeMap, str::FromStr, sync::RwLock};

use anyhow::{Context, bail};
use embedded::Server;
use kernel::Secret;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::{config::Config, modules::MODULES};

/// The name of the embedded server's database.
const EMBEDDED_DATABASE: &str = "banyan";

/// The databases of this process.
pub struct Places {
    /// Of modules with one of their own.
    own: RwLock<BTreeMap<&'static str, Own>>,
    /// Of the others; none when there are no others.
    base: Option<PgConnectOptions>,
    role_secret: Secret,
    server: Option<Server>,
}

#[derive(Clone)]
struct Own {
    url: Secret,
    options: PgConnectOptions,
}

impl Own {
    /// None: it has the database of the others.
    fn read(module: &str, url: &Secret) -> anyhow::Result<Option<Self>> {
        if url.expose().is_empty() {
            return Ok(None);
        }
        let key = format!("modules.{module}.database_url");
        Ok(Some(Self {
            url: url.clone(),
            options: options(&key, url.expose())?,
        }))
    }
}

impl Places {
    /// Reaches the configured databases, or starts (or joins) the embedded one and prepares it for
    /// the modules that have no other.
    pub async fn open(config: &Config, role_secret: Secret) -> anyhow::Result<Self> {
        let here = MODULES.iter().map(|module| module.name());
        let here = here.filter(|name| config.hosts(name));
        let urls = here.map(|name| (name, config.place(name).database_url.clone()));
        Self::open_for(config, role_secret, urls.collect()).await
    }

    /// The same for some modules and their own databases; an empty text is that of `[database]`.
    pub async fn open_for(
        config: &Config,
        role_secret: Secret,
        urls: Vec<(&'static str, Secret)>,
    ) -> anyhow::Result<Self> {
        let mut others = Vec::new();
        let mut own = BTreeMap::new();
        for (module, url) in urls {
            match Own::read(module, &url)? {
                Some(place) => drop(own.insert(module, place)),
                None => others.push(module),
            }
        }
        let mut places = Self {
            own: RwLock::new(own),
            base: None,
            role_secret,
            server: None,
        };
        if others.is_empty() {
            return Ok(places);
        }
        if !config.host.database.embedded() {
            let url = config.host.database.url.expose();
            places.base = Some(options("database.url", url)?);
            return Ok(places);
        }
        let data_dir = std::path::absolute(&config.host.server.data_dir)?;
        let options = embedded::Options {
            data_dir: data_dir.join("postgres"),
            fsync: true,
            bin_dir: None,
        };
        let server = Server::open(options).await?;
        database::ensure_prepared(
            &server.admin(),
            EMBEDDED_DATABASE,
            &others,
            places.role_secret.expose().as_bytes(),
        )
        .await
        .context("the embedded database could not be prepared")?;
        if server.owned() {
            release_leases(&server, &others).await?;
        }
        places.base = Some(quiet(server.database(EMBEDDED_DATABASE)));
        places.server = Some(server);
        Ok(places)
    }

    /// Another place of a module, with the same secret: its own database, or that of `[database]`.
    pub async fn beside(
        &self,
        config: &Config,
        module: &'static str,
        url: Secret,
    ) -> anyhow::Result<Self> {
        Self::open_for(config, self.role_secret.clone(), vec![(module, url)]).await
    }

    /// A database that is there already, for tests.
    pub fn at(base: PgConnectOptions, role_secret: Secret) -> Self {
        Self {
            own: RwLock::default(),
            base: Some(quiet(base)),
            role_secret,
            server: None,
        }
    }

    /// As the role that serves.
    pub fn runtime(&self, module: &str) -> PgConnectOptions {
        self.sign_in(module, &database::runtime_role(module))
    }

    /// As the role that migrates.
    pub fn owner(&self, module: &str) -> PgConnectOptions {
        self.sign_in(module, &database::owner_role(module))
    }

    fn sign_in(&self, module: &str, role: &str) -> PgConnectOptions {
        let password = database::role_password(self.role_secret.expose().as_bytes(), role);
        let own = self.own.read().expect("no holder panics");
        let options = own.get(module).map(|own| &own.options);
        options
            .or(self.base.as_ref())
            .expect("asked for modules of this process alone")
            .clone()
            .username(role)
            .password(&password)
            .application_name(role)
    }

    /// The module's data are elsewhere from now on; true when that is news.
    pub fn relocate(&self, module: &'static str, url: &Secret) -> anyhow::Result<bool> {
        let place = Own::read(module, url)?;
        let mut own = self.own.write().expect("no holder panics");
        let known = own.get(module).map_or("", |own| own.url.expose());
        if known == url.expose() {
            return Ok(false);
        }
        match place {
            Some(place) => drop(own.insert(module, place)),
            None if self.base.is_some() => drop(own.remove(module)),
            None => bail!("the database of [database] is not open in this process: restart it"),
        }
        Ok(true)
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

fn options(key: &str, url: &str) -> anyhow::Result<PgConnectOptions> {
    // The error would show the URL, and a password in it.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| anyhow::anyhow!("{key} is no postgres://host:port/name"))?;
    Ok(quiet(options))
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
