//! The host's own sections; the larger ones have files of their own.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::bail;
use kernel::{Secret, telemetry};
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use super::{Bus, Network, Service};
use crate::gateway::{networks, outside};

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
    #[serde(deserialize_with = "optional_address")]
    pub operations_listen: Option<SocketAddr>,
    pub tls_cert_file: PathBuf,
    pub tls_key_file: PathBuf,
    pub public_url: Url,
    pub product_name: String,
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

/// Empty: none.
fn optional_address<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = Some(&*text).filter(|text| !text.is_empty());
    address
        .map(str::parse)
        .transpose()
        .map_err(|error| serde::de::Error::custom(format!("{error}: write it as 127.0.0.1:8090")))
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
    pub format: telemetry::Format,
    pub filter: String,
    pub buffer_records: usize,
    pub ship_interval_milliseconds: u64,
    pub spool_max_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    pub auth_requests_per_minute: u32,
    pub read_requests_per_minute: u32,
    pub write_requests_per_minute: u32,
    pub max_in_flight_per_client: u32,
    pub cors_origins: Vec<String>,
    pub compression: bool,
    pub routes: Vec<outside::Settings>,
    pub admin_allow: Vec<Network>,
    pub networks: Vec<networks::Rule>,
}

/// Reads the host's sections.
pub(super) fn read(mut table: Table) -> anyhow::Result<HostConfig> {
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
