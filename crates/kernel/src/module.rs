//! What a module is to its host.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    bus::Subscription,
    clock::World,
    db::Db,
    event::EventType,
    fragment::NavItem,
    jobs::{Job, Worker},
    routes::Api,
    secret::Secrets,
    telemetry::LogBuffer,
    token::Verifier,
};

/// A module: its own schema, role, configuration, routes and events, hosted in any process.
#[async_trait]
pub trait Module: Send + Sync {
    /// Also the name of its schema, its configuration section and its folder.
    fn name(&self) -> &'static str;

    /// One sentence: what it owns.
    fn summary(&self) -> &'static str;

    /// Path prefixes that are its own; the edge routes by them.
    fn prefixes(&self) -> &'static [&'static str];

    fn migrations(&self) -> &'static Migrator;

    /// The section `[<name>]` with every key, its default and its unit, as TOML.
    fn default_config(&self) -> &'static str;

    /// Refuses what cannot work, before anything starts.
    fn check_config(&self, section: &ConfigSection, development: bool) -> Result<(), ConfigError>;

    /// Its pages in the navigation.
    fn navigation(&self) -> &'static [NavItem] {
        &[]
    }

    /// The events that it publishes.
    fn events(&self) -> Vec<EventType>;

    /// Its routes, who may call them, and their OpenAPI description; needs nothing running.
    fn api(&self) -> Api;

    /// Does it put sealed secrets into events, or open them? Then it shares `secrets.sealing_key`
    /// with the others that do.
    fn seals(&self) -> bool {
        false
    }

    /// Its verbs on the command line.
    fn verbs(&self) -> Vec<Verb> {
        Vec::new()
    }

    /// Its database is migrated: prepare to serve. The host retries when this fails.
    async fn start(&self, context: Context) -> anyhow::Result<Started>;
}

/// What the host hands to a module.
#[derive(Clone)]
pub struct Context {
    pub db: Db,
    pub world: World,
    pub config: ConfigSection,
    pub secrets: Secrets,
    pub verifier: Arc<Verifier>,
    /// How people reach this installation: the only base of links in mails. Never the Host header.
    pub public_url: Url,
    /// What people know it by, in pages and mails.
    pub product_name: Arc<str>,
    /// Is the module to serve? Else it was started for a command, and leaves no traces: no setup code,
    /// nothing for people at the terminal.
    pub serving: bool,
    /// Development shows what production hides: the mailbox, setup links.
    pub development: bool,
    /// The names of all modules of this installation, wherever they run.
    pub modules: Arc<[String]>,
    /// Log records of this process, for the module that stores them.
    pub logs: Arc<LogBuffer>,
    pub data_dir: PathBuf,
    /// Cancelled when the module is to stop: long answers (streams) end.
    pub shutdown: CancellationToken,
}

/// What a started module gives its host.
#[derive(Default)]
pub struct Started {
    pub router: axum::Router,
    /// Routes for other processes of the installation alone, with paths below `/internal/<module>`. They
    /// are served where people cannot reach them, and that is their only guard: they check no token
    /// unless they are told to.
    pub internal: axum::Router,
    pub subscriptions: Vec<Subscription>,
    pub jobs: Vec<Job>,
    pub workers: Vec<Worker>,
    /// Workers that every process needs for itself, whatever its roles: what they work on lies in
    /// its memory.
    pub process_workers: Vec<Worker>,
    /// Publishes the present state of every entity, for `banyan events restate`.
    pub restate: Option<Arc<dyn Restate>>,
    /// Lines for the person at the terminal: a setup link, a mailbox.
    pub notices: Vec<String>,
}

/// Publishes the present state of entities, page by page.
#[async_trait]
pub trait Restate: Send + Sync {
    /// Publishes the state of the entities after `cursor` in one transaction; returns the cursor
    /// of the last one, or nothing when there are no more.
    async fn restate(&self, cursor: Option<String>) -> anyhow::Result<Option<String>>;
}

/// A command that a module adds to the program: `banyan user create-admin`.
pub struct Verb {
    pub command: clap::Command,
    pub run: Arc<dyn RunVerb>,
}

#[async_trait]
pub trait RunVerb: Send + Sync {
    /// Prints its result; an error is printed by the host and sets the exit code.
    async fn run(&self, context: Context, arguments: &clap::ArgMatches) -> anyhow::Result<()>;
}

/// A module's configuration, merged from defaults, files, environment and flags.
#[derive(Clone, Debug)]
pub struct ConfigSection {
    name: String,
    table: toml::Table,
}

#[derive(Debug, thiserror::Error)]
#[error("[{section}] {problem}")]
pub struct ConfigError {
    pub section: String,
    pub problem: String,
}

/// Reads a section of the configuration; an error names the key.
pub fn read_config<T: DeserializeOwned>(
    section: &str,
    value: toml::Value,
) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner().message().to_owned());
        ConfigError {
            section: section.to_owned(),
            problem: match &*path {
                "." => problem,
                key => format!("{key}: {problem}"),
            },
        }
    })
}

impl ConfigSection {
    pub fn new(name: &str, table: toml::Table) -> Self {
        Self {
            name: name.to_owned(),
            table,
        }
    }

    /// Reads the section into the module's type, which denies unknown fields.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        read_config(&self.name, toml::Value::Table(self.table.clone()))
    }

    pub fn error(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            section: self.name.clone(),
            problem: problem.into(),
        }
    }
}
