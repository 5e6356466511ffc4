//! Configuration: defaults, files, environment and flags, merged into one document, of which every
//! key is known.

mod bus;
mod places;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, bail, ensure};
use aws_lc_rs::digest;
use config::{Environment, File, FileFormat};
use kernel::{Module, Secret, module::ConfigSection};
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

pub use bus::{Bus, Transport};
pub use places::{At, Place};

use crate::gateway::{networks, outside};

const DEFAULTS: &str = include_str!("../config/default.toml");
const DEVELOPMENT: &str = include_str!("../config/development.toml");
const PRODUCTION: &str = include_str!("../config/production.toml");

/// Where configuration comes from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `BANYAN_ENV`, which goes before the key `environment`.
    pub environment: Option<String>,
    /// Flags, by dotted key: they win over everything.
    pub flags: Vec<(String, Value)>,
    /// `--modules`: what this process hosts, whatever the configuration says of places.
    pub modules: Option<Vec<String>>,
    /// Variables of the process, or of a test.
    pub variables: BTreeMap<String, String>,
}

/// The merged configuration of a process.
#[derive(Clone)]
pub struct Config {
    pub host: HostConfig,
    places: BTreeMap<String, Place>,
    sections: BTreeMap<String, ConfigSection>,
    document: Table,
    sources: Sources,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    pub environment: Stage,
    pub server: Server,
    pub database: Database,
    pub secrets: SecretKeys,
    pub bus: Bus,
    pub log: Log,
    pub gateway: Gateway,
    pub service: Service,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Production,
    Development,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub public_url: Url,
    pub data_dir: PathBuf,
    pub max_body_bytes: usize,
    pub request_timeout_seconds: u64,
    pub header_timeout_seconds: u64,
    pub write_timeout_seconds: u64,
    pub max_connections: usize,
    pub drain_seconds: u64,
    pub shutdown_seconds: u64,
    pub trusted_proxies: Vec<Network>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: Secret,
    pub role_secret: Secret,
    pub pool_size: u32,
    pub bus_pool_size: u32,
}

impl Database {
    /// Is it the embedded one?
    pub fn embedded(&self) -> bool {
        self.url.expose().is_empty()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKeys {
    pub master_key: Secret,
    pub sealing_key: Secret,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
    pub buffer_records: usize,
    pub ship_interval_milliseconds: u64,
    pub spool_max_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Pretty,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    pub auth_requests_per_minute: u32,
    pub requests_per_minute: u32,
    pub max_in_flight_per_client: u32,
    pub routes: Vec<outside::Settings>,
    pub networks: Vec<networks::Rule>,
}

/// As what this process calls other processes, and where it finds what it needs for that.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Empty: as nobody.
    pub id: String,
    pub secret: Secret,
    #[serde(deserialize_with = "optional_url")]
    token_url: Option<Url>,
    #[serde(deserialize_with = "optional_url")]
    pub jwks_url: Option<Url>,
}

impl Service {
    /// Where it signs in: the installation's own endpoint unless told.
    pub fn token_url(&self, public_url: &Url) -> Url {
        self.token_url.clone().unwrap_or_else(|| {
            let base = public_url.as_str().trim_end_matches('/');
            let url = format!("{base}/api/v1/auth/token").parse();
            url.expect("a path below a URL is one")
        })
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.id.is_empty() != self.secret.expose().is_empty() {
            faults.push("service.id and service.secret are set together".to_owned());
        }
        for (key, url) in [
            ("service.token_url", &self.token_url),
            ("service.jwks_url", &self.jwks_url),
        ] {
            let good = url.as_ref().is_none_or(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.fragment().is_none()
            });
            if !good {
                faults.push(format!(
                    "{key} begins with http:// or https:// and holds no password"
                ));
            }
        }
        faults
    }
}

fn optional_url<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Some(&*text).filter(|text| !text.is_empty());
    url.map(str::parse).transpose().map_err(|error| {
        serde::de::Error::custom(format!("{error}: write it as https://host/path"))
    })
}

/// An IP network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: std::net::IpAddr,
    prefix: u8,
}

impl Network {
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        match (self.address, address) {
            (V4(a), V4(b)) => {
                masked(a.to_bits().into(), self.prefix, 32)
                    == masked(b.to_bits().into(), self.prefix, 32)
            }
            (V6(a), V6(b)) => {
                masked(a.to_bits(), self.prefix, 128) == masked(b.to_bits(), self.prefix, 128)
            }
            _ => false,
        }
    }
}

fn masked(bits: u128, prefix: u8, width: u8) -> u128 {
    bits.checked_shr(u32::from(width - prefix)).unwrap_or(0)
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: std::net::IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let width = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= width).then_some(Self { address, prefix })
        });
        parsed.ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no network: write it as 10.0.0.0/8"))
        })
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

impl Config {
    /// Merges all sources, and checks every key of the host and of every module.
    pub fn load(modules: &[&dyn Module], sources: &Sources) -> anyhow::Result<Self> {
        let defaults = defaults(modules)?;
        let mut builder = config::Config::builder().add_source(File::from_str(
            &toml::to_string(&defaults)?,
            FileFormat::Toml,
        ));
        refuse_misspelt(&sources.variables)?;
        let given = given(sources)?;
        let stage = stage(sources, &given, &defaults)?;
        builder = builder.add_source(File::from_str(
            match stage {
                Stage::Development => DEVELOPMENT,
                Stage::Production => PRODUCTION,
            },
            FileFormat::Toml,
        ));
        // The merge itself does not need a file's name; the messages about it do.
        builder = builder.add_source(File::from_str(&toml::to_string(&given)?, FileFormat::Toml));
        let mut document: Table = builder.build()?.try_deserialize()?;
        document.insert(
            "environment".to_owned(),
            Value::String(format!("{stage:?}").to_lowercase()),
        );
        host_only(&mut document, modules, sources.modules.as_deref())?;
        resolve_files(&mut document, &defaults, "")?;
        coerce(&mut document, &defaults);

        let mut faults = Vec::new();
        if !derive_public_url(&mut document, stage) {
            faults.push(
                "server.public_url must be set: the base of links in mails, such as \
                 https://api.example.com"
                    .to_owned(),
            );
        }

        let mut rest = document.clone();
        let places = read_places(&mut rest, modules)?;
        let sections = modules
            .iter()
            .map(|module| {
                let table = match rest.remove(module.name()) {
                    Some(Value::Table(table)) => table,
                    _ => Table::new(),
                };
                (
                    module.name().to_owned(),
                    ConfigSection::new(module.name(), table),
                )
            })
            .collect();
        let host = read_host(rest)?;
        let config = Self {
            host,
            places,
            sections,
            document,
            sources: sources.clone(),
        };
        faults.extend(config.faults());
        faults.extend(config.faults_of_places(modules));
        let prefixes: Vec<_> = modules.iter().flat_map(|m| m.prefixes()).collect();
        faults.extend(outside::faults(&config.host.gateway.routes, &prefixes));
        faults.extend(networks::faults(&config.host.gateway.networks));
        for module in modules.iter().filter(|m| config.hosts(m.name())) {
            if let Err(error) =
                module.check_config(&config.sections[module.name()], config.development())
            {
                faults.push(format!("{error:#}"));
            }
        }
        ensure!(
            faults.is_empty(),
            "the configuration is not good yet; the environment is {}\n  {}",
            config.stage_name(),
            faults.join("\n  ")
        );
        Ok(config)
    }

    /// What is wrong with the host's sections: all of it, so that one look is enough.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        macro_rules! need {
            ($holds:expr, $($fault:tt)*) => {
                if !$holds {
                    faults.push(format!($($fault)*));
                }
            };
        }
        let host = &self.host;
        if let Err(error) = host.log.filter.parse::<tracing_subscriber::EnvFilter>() {
            faults.push(format!("log.filter: {error}"));
        }
        need!(
            matches!(host.server.public_url.scheme(), "http" | "https"),
            "server.public_url must begin with http:// or https://"
        );
        let server = &host.server;
        for (key, value, range) in [
            (
                "database.pool_size",
                i128::from(host.database.pool_size),
                1..=500,
            ),
            // The bus listens on one connection, and sequences while it delivers.
            (
                "database.bus_pool_size",
                i128::from(host.database.bus_pool_size),
                3..=100,
            ),
            (
                "bus.lease_seconds",
                i128::from(host.bus.lease_seconds),
                1..=3_600,
            ),
            ("bus.batch", i128::from(host.bus.batch), 1..=10_000),
            (
                "server.max_body_bytes",
                server.max_body_bytes as i128,
                1_024..=1 << 30,
            ),
            (
                "server.request_timeout_seconds",
                i128::from(server.request_timeout_seconds),
                1..=3_600,
            ),
            (
                "server.header_timeout_seconds",
                i128::from(server.header_timeout_seconds),
                1..=3_600,
            ),
            (
                "server.write_timeout_seconds",
                i128::from(server.write_timeout_seconds),
                1..=3_600,
            ),
            (
                "server.max_connections",
                server.max_connections as i128,
                10..=1_000_000,
            ),
            (
                "server.drain_seconds",
                i128::from(server.drain_seconds),
                0..=3_600,
            ),
            (
                "server.shutdown_seconds",
                i128::from(server.shutdown_seconds),
                0..=3_600,
            ),
            (
                "bus.log_keep_days",
                i128::from(host.bus.log_keep_days),
                1..=3_650,
            ),
            (
                "log.buffer_records",
                host.log.buffer_records as i128,
                100..=10_000_000,
            ),
            (
                "log.ship_interval_milliseconds",
                i128::from(host.log.ship_interval_milliseconds),
                10..=60_000,
            ),
            (
                "log.spool_max_bytes",
                i128::from(host.log.spool_max_bytes),
                1 << 20..=1 << 40,
            ),
        ] {
            let (least, most) = (range.start(), range.end());
            need!(
                range.contains(&value),
                "{key} is {value}: {least} to {most} are possible"
            );
        }
        let url = &server.public_url;
        need!(
            url.username().is_empty() && url.query().is_none() && url.fragment().is_none(),
            "server.public_url is only scheme, host, port and path"
        );
        let placed = self
            .places
            .values()
            .any(|place| place.is_local() && !place.database_url.expose().is_empty());
        if (!host.database.embedded() || placed) && self.hosts_any() {
            need!(
                host.database.role_secret.expose().len() >= 32,
                "database.role_secret must have at least 32 characters when database.url is set: \
                 `openssl rand -base64 32` makes one"
            );
            need!(
                host.database.embedded()
                    || sqlx::postgres::PgConnectOptions::from_str(host.database.url.expose())
                        .is_ok(),
                "database.url must be written postgres://host:port/name"
            );
            need!(
                !host.secrets.master_key.expose().is_empty(),
                "secrets.master_key must be set when database.url is: \
                 `openssl rand -base64 32` makes one"
            );
        }
        for (name, key) in [
            ("secrets.master_key", &host.secrets.master_key),
            ("secrets.sealing_key", &host.secrets.sealing_key),
        ] {
            if !key.expose().is_empty()
                && let Err(error) = crate::secrets::key(key, name)
            {
                faults.push(error.to_string());
            }
        }
        faults.extend(host.service.faults());
        faults
    }

    /// What is wrong with where modules are.
    fn faults_of_places(&self, modules: &[&dyn Module]) -> Vec<String> {
        let mut faults = Vec::new();
        let bus = &self.host.bus;
        if bus.transport == Transport::Nats {
            faults.extend(bus.nats.faults());
            if !self.development() && !bus.nats.has_credentials() {
                faults.push(
                    "bus.nats needs credentials in production: whoever may publish there may sign \
                     in as anybody (docs/nats.md has users and rights)"
                        .to_owned(),
                );
            }
        }
        let mut away = modules.iter().filter(|m| !self.hosts(m.name())).peekable();
        if let (Some(module), Transport::InProcess) = (away.peek(), bus.transport) {
            faults.push(format!(
                "{} is not hosted here, and bus.transport \"in_process\" reaches no other process: \
                 host all modules, or use \"nats\"",
                module.name()
            ));
        }
        let seals = modules.iter().find(|m| self.hosts(m.name()) && m.seals());
        let shared = self.host.secrets.sealing_key.expose();
        if let (Some(module), true, "") = (seals, away.peek().is_some(), shared) {
            faults.push(format!(
                "secrets.sealing_key must be set: {} exchanges secrets with modules in other \
                 processes, which have the same one; `openssl rand -base64 32` makes one",
                module.name()
            ));
        }
        for (name, place) in &self.places {
            let url = place.database_url.expose();
            if !url.is_empty() && sqlx::postgres::PgConnectOptions::from_str(url).is_err() {
                faults.push(format!(
                    "modules.{name}.database_url must be written postgres://host:port/name"
                ));
            }
        }
        faults
    }

    /// Where keys of tokens are fetched from: as configured, else from identity by way of the front
    /// door, unless it is here.
    pub fn jwks_url(&self) -> Option<Url> {
        let told = self.host.service.jwks_url.clone();
        told.or_else(|| {
            let away = !self.hosts("identity");
            away.then(|| self.below_public_url("/.well-known/jwks.json"))
        })
    }

    /// Where log records are shipped to: the process of logging, or the front door, which passes them
    /// on; nowhere when it is here.
    pub fn logs_url(&self) -> Option<Url> {
        match &self.place("logging").at {
            At::Local => None,
            At::Remote(upstream) => upstream.at.first().cloned(),
            At::Elsewhere => Some(self.host.server.public_url.clone()),
        }
    }

    fn below_public_url(&self, path: &str) -> Url {
        let mut url = self.host.server.public_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    /// Does the module run in this process?
    pub fn hosts(&self, module: &str) -> bool {
        self.places[module].is_local()
    }

    pub fn hosts_any(&self) -> bool {
        self.places.values().any(Place::is_local)
    }

    pub fn place(&self, module: &str) -> &Place {
        &self.places[module]
    }

    /// What the same sources say of a module's place by now: its file may have been edited since.
    pub fn place_now(&self, modules: &[&dyn Module], module: &str) -> anyhow::Result<Place> {
        let now = Self::load(modules, &self.sources)?;
        Ok(now.place(module).clone())
    }

    pub fn section(&self, module: &str) -> ConfigSection {
        self.sections[module].clone()
    }

    /// Which environment, and how to get another.
    pub fn stage_name(&self) -> &'static str {
        match self.host.environment {
            Stage::Production => "production (BANYAN_ENV=development makes it another)",
            Stage::Development => "development",
        }
    }

    pub fn development(&self) -> bool {
        self.host.environment == Stage::Development
    }

    /// The merged document as TOML, with secrets as fingerprints: two services can be compared
    /// without showing one.
    pub fn show(&self) -> String {
        let mut shown = self.document.clone();
        fingerprint(&mut shown);
        toml::to_string_pretty(&shown).expect("a document of plain values")
    }
}

/// The host's and the modules' defaults, with their comments, in one document.
pub fn default_document(modules: &[&dyn Module]) -> String {
    let mut text = DEFAULTS.trim_end().to_owned();
    for module in modules {
        text.push_str(&format!(
            "\n\n[{}]\n{}",
            module.name(),
            module.default_config().trim_end()
        ));
    }
    text.push('\n');
    text
}

fn defaults(modules: &[&dyn Module]) -> anyhow::Result<Table> {
    let mut defaults: Table = DEFAULTS.parse().context("config/default.toml")?;
    let place: Table = PLACE.parse().expect("a constant");
    let places = modules
        .iter()
        .map(|module| (module.name().to_owned(), Value::Table(place.clone())));
    defaults.insert("modules".to_owned(), Value::Table(places.collect()));
    for module in modules {
        let name = module.name();
        let section: Table = module
            .default_config()
            .parse()
            .with_context(|| format!("defaults of {name}"))?;
        let before = defaults.insert(name.to_owned(), Value::Table(section));
        ensure!(before.is_none(), "{name} is also a section of the host");
    }
    Ok(defaults)
}

/// What every `[modules.<name>]` begins as.
const PLACE: &str = "at = \"local\"\ndatabase_url = \"\"";

/// Applies `--modules`: those are here, and no others.
fn host_only(
    document: &mut Table,
    modules: &[&dyn Module],
    wanted: Option<&[String]>,
) -> anyhow::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let known: Vec<_> = modules.iter().map(|module| module.name()).collect();
    let wanted: Vec<_> = wanted.iter().filter(|name| *name != "none").collect();
    if let Some(name) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "--modules: there is no module {name:?}; there are {}, or none",
            known.join(", ")
        );
    }
    let Some(Value::Table(places)) = document.get_mut("modules") else {
        bail!("modules is a section: [modules.{}]", known[0]);
    };
    for name in known {
        let place = places.get_mut(name).and_then(Value::as_table_mut);
        let place = place.with_context(|| format!("modules.{name} is a section"))?;
        let is_local = place.get("at").and_then(Value::as_str) == Some(places::LOCAL);
        if wanted.iter().any(|wanted| *wanted == name) {
            place.insert("at".to_owned(), Value::String(places::LOCAL.to_owned()));
        } else if is_local {
            place.insert("at".to_owned(), Value::String(places::ELSEWHERE.to_owned()));
        }
    }
    Ok(())
}

/// Reads `[modules.<name>]` of each module.
fn read_places(
    document: &mut Table,
    modules: &[&dyn Module],
) -> anyhow::Result<BTreeMap<String, Place>> {
    let places = document.remove("modules");
    let Some(Value::Table(places)) = places else {
        bail!("modules is a section: [modules.<name>]");
    };
    let read = |(name, value): (String, Value)| {
        let section = format!("modules.{name}");
        ensure!(
            modules.iter().any(|module| module.name() == name),
            "{section}: there is no module {name:?}"
        );
        let Value::Table(table) = value else {
            bail!("{section} is a section");
        };
        let place = Place::read(&section, table)?;
        Ok((name, place))
    };
    places.into_iter().map(read).collect()
}

/// What the user gave: file, variables, flags.
fn given(sources: &Sources) -> anyhow::Result<Table> {
    let mut builder = config::Config::builder();
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--config {}", path.display()))?;
        // Parsed here first: this error names the line.
        let _: Table = text
            .parse()
            .with_context(|| format!("--config {}", path.display()))?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let variables: Environment = Environment::with_prefix("BANYAN")
        .prefix_separator("__")
        .separator("__")
        .source(Some(sources.variables.clone().into_iter().collect()));
    builder = builder.add_source(variables);
    let mut given: Table = builder.build()?.try_deserialize()?;
    for (key, value) in &sources.flags {
        let (section, name) = key.split_once('.').expect("flags set keys of sections");
        let section = given
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .with_context(|| format!("{section} is not a section"))?;
        section.insert(name.to_owned(), value.clone());
    }
    Ok(given)
}

/// Variables that are no keys.
const OTHER_VARIABLES: &[&str] = &[
    "BANYAN_ENV",
    "BANYAN_CONFIG",
    "BANYAN_ADMIN_URL",
    "BANYAN_POSTGRES_BIN",
];

/// A key with one underscore too few would be passed over, and a default used in its place.
fn refuse_misspelt(variables: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for name in variables.keys() {
        let ours = name.starts_with("BANYAN_") && !name.starts_with("BANYAN_TEST_");
        if ours && !name.starts_with("BANYAN__") && !OTHER_VARIABLES.contains(&&**name) {
            bail!("{name} in the environment is not known: keys are written BANYAN__SECTION__KEY");
        }
    }
    Ok(())
}

fn stage(sources: &Sources, given: &Table, defaults: &Table) -> anyhow::Result<Stage> {
    let name = sources
        .environment
        .as_deref()
        .filter(|name| !name.is_empty())
        .or_else(|| given.get("environment")?.as_str())
        .or_else(|| defaults.get("environment")?.as_str())
        .unwrap_or_default();
    match name {
        "production" => Ok(Stage::Production),
        "development" => Ok(Stage::Development),
        other => bail!("environment must be \"production\" or \"development\", not {other:?}"),
    }
}

/// `password_file = "/run/secrets/x"` sets `password`, wherever the defaults know a `password`.
fn resolve_files(table: &mut Table, defaults: &Table, path: &str) -> anyhow::Result<()> {
    for (name, default) in defaults {
        if let (Value::Table(defaults), Some(Value::Table(table))) = (default, table.get_mut(name))
        {
            resolve_files(table, defaults, &format!("{path}{name}."))?;
            continue;
        }
        let file_key = format!("{name}_file");
        if !default.is_str() || defaults.contains_key(&file_key) {
            continue;
        }
        let Some(file) = table.remove(&file_key) else {
            continue;
        };
        let file = file.as_str().unwrap_or_default().to_owned();
        ensure!(
            table
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .is_empty(),
            "{path}{name} and {path}{file_key} are both set: keep one"
        );
        let secret = std::fs::read_to_string(Path::new(&file))
            .with_context(|| format!("{path}{file_key} = {file:?}"))?;
        table.insert(
            name.clone(),
            Value::String(secret.trim_end_matches(['\r', '\n']).to_owned()),
        );
    }
    Ok(())
}

/// Variables are texts: each becomes what its key's default is.
fn coerce(table: &mut Table, defaults: &Table) {
    for (name, value) in table.iter_mut() {
        let Some(default) = defaults.get(name) else {
            continue;
        };
        match (default, &mut *value) {
            (Value::Table(defaults), Value::Table(table)) => coerce(table, defaults),
            (Value::String(_), Value::Integer(n)) => *value = Value::String(n.to_string()),
            (Value::String(_), _) => {}
            (Value::Array(_), Value::String(text)) => {
                let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
                *value = Value::Array(items.map(|t| Value::String(t.to_owned())).collect());
            }
            (default, Value::String(text)) => {
                let parsed: Option<Value> = format!("v = {text}")
                    .parse::<Table>()
                    .ok()
                    .and_then(|mut t| t.remove("v"));
                if let Some(parsed) = parsed
                    && parsed.same_type(default)
                {
                    *value = parsed;
                }
            }
            _ => {}
        }
    }
}

/// In development people reach the program where it listens; in production nobody can tell: false.
fn derive_public_url(document: &mut Table, stage: Stage) -> bool {
    let Some(Value::Table(server)) = document.get_mut("server") else {
        return true;
    };
    if server.get("public_url").and_then(Value::as_str) != Some("") {
        return true;
    }
    let listen = server.get("listen").and_then(Value::as_str);
    let port = listen.unwrap_or_default().rsplit(':').next();
    let url = format!("http://localhost:{}", port.unwrap_or_default());
    server.insert("public_url".to_owned(), Value::String(url));
    stage == Stage::Development
}

/// Reads the host's sections.
fn read_host(mut table: Table) -> anyhow::Result<HostConfig> {
    fn section<T: serde::de::DeserializeOwned>(table: &mut Table, name: &str) -> anyhow::Result<T> {
        let value = table.remove(name);
        let value = value.unwrap_or_else(|| Value::Table(Table::new()));
        Ok(kernel::read_config(name, value)?)
    }
    let host = HostConfig {
        environment: section(&mut table, "environment")?,
        server: section(&mut table, "server")?,
        database: section(&mut table, "database")?,
        secrets: section(&mut table, "secrets")?,
        bus: section(&mut table, "bus")?,
        log: section(&mut table, "log")?,
        gateway: section(&mut table, "gateway")?,
        service: section(&mut table, "service")?,
    };
    if let Some(unknown) = table.keys().next() {
        bail!("unknown key {unknown:?}: it is neither a section of the host nor a module");
    }
    Ok(host)
}

fn is_secret(name: &str) -> bool {
    ["password", "secret", "key", "token", "url", "credentials"]
        .iter()
        .any(|word| name == *word || name.ends_with(&format!("_{word}")))
        // Of these, a password in it is refused.
        && !["public_url", "token_url", "jwks_url"].contains(&name)
}

/// Too short to confirm a guess at a weak secret, long enough to see that two differ.
const FINGERPRINT_BYTES: usize = 4;

fn fingerprint(table: &mut Table) {
    for (name, value) in table.iter_mut() {
        match value {
            // What is sent to another service: a key of its, as often as not.
            Value::Table(headers) if name == "set_headers" => {
                for (_, value) in headers.iter_mut() {
                    if let Value::String(text) = value {
                        *text = fingerprint_of(text);
                    }
                }
            }
            Value::Table(table) => fingerprint(table),
            Value::Array(items) => items
                .iter_mut()
                .filter_map(Value::as_table_mut)
                .for_each(fingerprint),
            Value::String(text) if is_secret(name) && !text.is_empty() => {
                *text = fingerprint_of(text);
            }
            _ => {}
        }
    }
}

fn fingerprint_of(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let shown = kernel::context::hex(&digest.as_ref()[..FINGERPRINT_BYTES]);
    format!("fingerprint:{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In production, with what it asks for.
    fn load(variables: &[(&str, &str)]) -> anyhow::Result<Config> {
        let needed = [
            ("BANYAN__SERVER__PUBLIC_URL", "https://api.example.com"),
            ("BANYAN__NOTIFICATION__MAILER", "none"),
        ];
        let variables = needed
            .iter()
            .chain(variables)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let sources = Sources {
            variables,
            ..Sources::default()
        };
        Config::load(crate::modules::MODULES, &sources)
    }

    #[test]
    fn variables_win_over_defaults_and_take_their_type() {
        let config = load(&[
            ("BANYAN__SERVER__LISTEN", "127.0.0.1:9999"),
            ("BANYAN__SERVER__MAX_BODY_BYTES", "2048"),
            ("BANYAN__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1/128"),
        ])
        .unwrap();
        assert_eq!(config.host.server.listen.port(), 9999);
        assert_eq!(config.host.server.max_body_bytes, 2_048);
        assert!(config.host.server.trusted_proxies[0].contains("10.1.2.3".parse().unwrap()));
        assert!(!config.host.server.trusted_proxies[0].contains("11.1.2.3".parse().unwrap()));
        assert!(config.host.server.trusted_proxies[1].contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (key, named) in [
            ("BANYAN__SERVER__LISTN", "listn"),
            ("BANYAN__SERVR__LISTEN", "servr"),
            ("BANYAN_SERVER__LISTEN", "BANYAN_SERVER__LISTEN"),
            ("BANYAN__SERVER__MAX_CONNECTIONS", "max_connections"),
            ("BANYAN__SERVER__MAX_BODY_BYTES", "max_body_bytes"),
        ] {
            let error = format!("{:#}", load(&[(key, "x")]).unwrap_err());
            assert!(error.contains(named), "{key}: {error}");
        }
    }

    #[test]
    fn secrets_are_shown_as_fingerprints() {
        let secret = "0123456789012345678901234567890123456789";
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let config = load(&[
            ("BANYAN__DATABASE__ROLE_SECRET", secret),
            ("BANYAN__SECRETS__MASTER_KEY", key),
            ("BANYAN__DATABASE__URL", "postgres://me:hunter2@db/banyan"),
        ])
        .unwrap();
        let shown = config.show();
        assert!(
            !shown.contains(secret) && !shown.contains(key) && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(shown.contains("fingerprint:"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_service_has_id_and_secret_and_signs_in_below_the_public_url() {
        let load = |variables: &[(&str, &str)]| {
            let config = load(variables)?;
            let host = &config.host;
            let url = host.service.token_url(&host.server.public_url);
            anyhow::Ok((url.to_string(), config.show()))
        };
        let id = ("BANYAN__SERVICE__ID", "edge");
        let secret = ("BANYAN__SERVICE__SECRET", "hunter2");
        let (url, shown) = load(&[id, secret]).unwrap();
        assert_eq!(url, "https://api.example.com/api/v1/auth/token");
        assert!(!shown.contains("hunter2"));
        let own = ("BANYAN__SERVICE__TOKEN_URL", "http://identity:8080/token");
        assert_eq!(load(&[own]).unwrap().0, own.1);
        for (wrong, named) in [
            (id, "service.secret"),
            (secret, "service.id"),
            (("BANYAN__SERVICE__JWKS_URL", "/jwks"), "jwks_url"),
            (("BANYAN__SERVICE__JWKS_URL", "file:///jwks"), "jwks_url"),
            (("BANYAN__SERVICE__TOKEN_URL", "http://a:b@c/"), "token_url"),
        ] {
            let error = format!("{:#}", load(&[wrong]).unwrap_err());
            assert!(
                error.contains(named) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_database_of_ones_own_needs_its_secrets() {
        let error = load(&[("BANYAN__DATABASE__URL", "postgres://db/banyan")]).unwrap_err();
        assert!(error.to_string().contains("role_secret"));
    }
}
