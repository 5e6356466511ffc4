//! What is wrong with a configuration whose every key is known.

use std::str::FromStr;

use kernel::{Module, Secret};
use sqlx::postgres::PgConnectOptions;

use super::{At, Config, Place, Transport};
use crate::gateway::{self, is_below};

impl Config {
    /// What is wrong with the host's sections: all of it, so that one look is enough.
    pub(super) fn faults(&self) -> Vec<String> {
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
        // A mail's subject and sender take it up: it is one line.
        let name = &server.product_name;
        need!(
            !name.trim().is_empty()
                && name.chars().count() <= 60
                && !name.chars().any(char::is_control),
            "server.product_name must be a line of 1 to 60 characters"
        );
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
                "database.role_secret must have at least 32 characters when database.url or a \
                 module's database_url is set: `openssl rand -base64 32` makes one, unless there are \
                 data already; an embedded installation keeps its own in {}/role_secret",
                server.data_dir.join("secrets").display()
            );
            need!(
                host.database.embedded() || is_postgres(&host.database.url),
                "database.url must be written postgres://host:port/name"
            );
            need!(
                !host.secrets.master_key.expose().is_empty(),
                "secrets.master_key must be set when database.url or a module's database_url is: \
                 `openssl rand -base64 32` makes one, unless there are data already; an embedded \
                 installation keeps its own in {}/master_key",
                server.data_dir.join("secrets").display()
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
        if let Err(error) = gateway::tls::Tls::of(server) {
            faults.push(format!("{error:#}"));
        }
        faults.extend(host.service.faults());
        faults
    }

    /// What is wrong with where modules are.
    pub(super) fn faults_of_places(&self, modules: &[&dyn Module]) -> Vec<String> {
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
        let knows = |place: &Place| !matches!(place.at, At::Elsewhere);
        if !self.places.values().any(knows) && bus.transport == Transport::Nats {
            faults.push(
                "this process hosts no module and has the address of none: a gateway is told by \
                 modules.<name>.at where they are"
                    .to_owned(),
            );
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
        for rule in &self.host.gateway.networks {
            let prefix = &*rule.prefix;
            let ours = modules.iter().flat_map(|module| module.prefixes()).copied();
            let routes = self.host.gateway.routes.iter().map(|route| &*route.prefix);
            let mut known = ours
                .chain(routes)
                .chain(gateway::OF_THE_EDGE.iter().copied());
            if prefix != "/"
                && !known.any(|known| is_below(known, prefix) || is_below(prefix, known))
            {
                faults.push(format!(
                    "gateway.networks: nothing is at {prefix:?}: a restriction that is misspelt \
                     protects nothing"
                ));
            }
        }
        for (name, place) in &self.places {
            let url = &place.database_url;
            if !url.expose().is_empty() && !is_postgres(url) {
                faults.push(format!(
                    "modules.{name}.database_url must be written postgres://host:port/name"
                ));
            }
        }
        faults
    }
}

fn is_postgres(url: &Secret) -> bool {
    // sqlx takes any scheme.
    let url = url.expose();
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    matches!(scheme, Some("postgres" | "postgresql")) && PgConnectOptions::from_str(url).is_ok()
}
