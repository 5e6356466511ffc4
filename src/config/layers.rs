//! Where keys come from, and how one document is made of it: defaults, file, variables, flags.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use config::{Environment, File, FileFormat};
use kernel::Module;
use toml::{Table, Value};

use super::{Stage, places};

const DEFAULTS: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

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

/// Merges defaults, the environment's and what is given; the later wins.
pub(super) fn merge(defaults: &Table, stage: Stage, given: &Table) -> anyhow::Result<Table> {
    let of_stage = match stage {
        Stage::Development => DEVELOPMENT,
        Stage::Production => PRODUCTION,
    };
    // The merge itself does not need a file's name; the messages about it do.
    let layer = |text: &str| File::from_str(text, FileFormat::Toml);
    let merged = config::Config::builder()
        .add_source(layer(&toml::to_string(defaults)?))
        .add_source(layer(of_stage))
        .add_source(layer(&toml::to_string(given)?));
    let mut document: Table = merged.build()?.try_deserialize()?;
    document.insert(
        "environment".to_owned(),
        Value::String(format!("{stage:?}").to_lowercase()),
    );
    Ok(document)
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

pub(super) fn defaults(modules: &[&dyn Module]) -> anyhow::Result<Table> {
    let mut defaults: Table = DEFAULTS.parse().context("config/default.toml")?;
    defaults.insert("modules".to_owned(), places::defaults(modules));
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

/// What the user gave: file, variables, flags.
pub(super) fn given(sources: &Sources) -> anyhow::Result<Table> {
    let mut builder = config::Config::builder();
    if let Some(path) = &sources.file {
        ensure!(
            !path.is_dir(),
            "--config {}: a folder will do for commands that are about one module; name the file of \
             one process in it",
            path.display()
        );
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
    "BANYAN_NATS_SERVER",
    "BANYAN_NGINX",
];

/// A key with one underscore too few would be passed over, and a default used in its place.
pub(super) fn refuse_misspelt(variables: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for name in variables.keys() {
        let ours = name.starts_with("BANYAN_") && !name.starts_with("BANYAN_TEST_");
        if ours && !name.starts_with("BANYAN__") && !OTHER_VARIABLES.contains(&&**name) {
            bail!("{name} in the environment is not known: keys are written BANYAN__SECTION__KEY");
        }
    }
    Ok(())
}

pub(super) fn stage(sources: &Sources, given: &Table, defaults: &Table) -> anyhow::Result<Stage> {
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
pub(super) fn resolve_files(table: &mut Table, defaults: &Table, path: &str) -> anyhow::Result<()> {
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
pub(super) fn coerce(table: &mut Table, defaults: &Table) {
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
pub(super) fn derive_public_url(document: &mut Table, stage: Stage) -> bool {
    let Some(Value::Table(server)) = document.get_mut("server") else {
        return true;
    };
    if server.get("public_url").and_then(Value::as_str) != Some("") {
        return true;
    }
    let listen = server.get("listen").and_then(Value::as_str);
    let port = listen.unwrap_or_default().rsplit(':').next();
    let certificate = server.get("tls_cert_file").and_then(Value::as_str);
    let scheme = if certificate.is_none_or(str::is_empty) {
        "http"
    } else {
        "https"
    };
    let url = format!("{scheme}://localhost:{}", port.unwrap_or_default());
    server.insert("public_url".to_owned(), Value::String(url));
    stage == Stage::Development
}
