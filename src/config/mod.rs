//! Configuration: defaults, files, environment and flags, merged into one document, of which every
//! key is known.

mod bus;
mod faults;
mod host;
mod layers;
mod network;
mod places;
mod service;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::ensure;
use contracts::identity;
use kernel::{Module, module::ConfigSection};
use toml::{Table, Value};
use url::Url;

pub use bus::{Bus, Transport};
pub use host::{Database, Gateway, HostConfig, Log, SecretKeys, Server, Stage};
pub use layers::{Sources, default_document};
pub use network::Network;
pub use places::{At, Place};
pub use service::Service;

use crate::gateway::{cors, networks, outside};

/// The merged configuration of a process.
#[derive(Clone)]
pub struct Config {
    pub host: HostConfig,
    places: BTreeMap<String, Place>,
    sections: BTreeMap<String, ConfigSection>,
    document: Table,
    sources: Sources,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

impl Config {
    /// Merges all sources, and checks every key of the host and of every module.
    pub fn load(modules: &[&dyn Module], sources: &Sources) -> anyhow::Result<Self> {
        let defaults = layers::defaults(modules)?;
        layers::refuse_misspelt(&sources.variables)?;
        let given = layers::given(sources)?;
        let stage = layers::stage(sources, &given, &defaults)?;
        let mut document = layers::merge(&defaults, stage, &given)?;
        places::host_only(&mut document, modules, sources.modules.as_deref())?;
        layers::resolve_files(&mut document, &defaults, "")?;
        layers::coerce(&mut document, &defaults);

        let mut faults = Vec::new();
        if !layers::derive_public_url(&mut document, stage) {
            faults.push(
                "server.public_url must be set: the base of links in mails, such as \
                 https://api.example.com"
                    .to_owned(),
            );
        }

        let mut rest = document.clone();
        let places = places::read_all(&mut rest, modules)?;
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
        let host = host::read(rest)?;
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
        let origins = &config.host.gateway.cors_origins;
        faults.extend(cors::faults(origins, config.development()));
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

    /// Where this process signs in: as configured, else at the installation's front door.
    pub fn token_url(&self) -> Url {
        let told = self.host.service.token_url.clone();
        told.unwrap_or_else(|| self.below_public_url("/oauth/token"))
    }

    /// Where keys of tokens are fetched from: as configured, else from identity by way of the front
    /// door, unless it is here.
    pub fn jwks_url(&self) -> Option<Url> {
        let told = self.host.service.jwks_url.clone();
        told.or_else(|| {
            let away = !self.hosts(identity::PUBLISHER);
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

    /// Does anybody take this process's log records from it: its own module, or that of another process?
    pub fn stores_logs(&self) -> bool {
        self.hosts("logging") || !self.host.service.id.is_empty()
    }

    /// What works, but not as far as somebody may expect.
    pub fn warnings(&self) -> Vec<String> {
        let identity = self.place(identity::PUBLISHER);
        let mut warnings = Vec::new();
        if matches!(identity.at, At::Remote(_)) && identity.internal_at.is_none() {
            warnings.push(
                "modules.identity.internal_at is not set: this process cannot exchange browsers' \
                 sessions for tokens"
                    .to_owned(),
            );
        }
        warnings
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
        shown::fingerprint(&mut shown);
        toml::to_string_pretty(&shown).expect("a document of plain values")
    }
}
