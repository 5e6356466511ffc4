//! `[modules.<name>]`: where each module runs, and where its data lie.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use kernel::{Module, Secret, module::ConfigError, read_config};
use toml::{Table, Value};

/// A module's place, as one process sees it.
#[derive(Clone, Debug)]
pub struct Place {
    pub at: At,
    /// The module's own database; empty for that of `[database]`.
    pub database_url: Secret,
    /// Where its process answers other processes, unless it is this one.
    pub internal_at: Option<Box<upstream::Settings>>,
}

#[derive(Clone, Debug)]
pub enum At {
    /// In this process.
    Local,
    /// In others, to which this one forwards requests.
    Remote(Box<upstream::Settings>),
    /// In others, which is none of this process's business.
    Elsewhere,
}

const LOCAL: &str = "local";
const ELSEWHERE: &str = "elsewhere";

impl Place {
    /// Reads a section. Beside `at` and `database_url` it says how to forward, if there is somewhere
    /// to forward to.
    fn read(section: &str, mut table: Table) -> anyhow::Result<Self> {
        let database_url = match table.remove("database_url") {
            None => String::new(),
            Some(Value::String(url)) => url,
            Some(_) => bail!("[{section}] database_url is a text"),
        };
        let internal_at = table
            .remove("internal_at")
            .unwrap_or(Value::Array(Vec::new()));
        let word = match table.get("at") {
            None => LOCAL,
            Some(Value::String(text)) => text,
            Some(_) => "",
        };
        let at = match word {
            LOCAL | ELSEWHERE => {
                let at = if word == LOCAL {
                    At::Local
                } else {
                    At::Elsewhere
                };
                table.remove("at");
                ensure!(
                    table.is_empty(),
                    "[{section}] {}: only for a module that requests are forwarded to",
                    table.keys().next().map_or("", String::as_str)
                );
                at
            }
            _ => At::Remote(Box::new(remote(section, table)?)),
        };
        let internal_at = internal(section, &at, internal_at)?;
        Ok(Self {
            at,
            internal_at,
            database_url: Secret::new(database_url),
        })
    }

    pub fn is_local(&self) -> bool {
        matches!(self.at, At::Local)
    }
}

/// As the module itself is reached, at another port.
fn internal(
    section: &str,
    at: &At,
    urls: Value,
) -> anyhow::Result<Option<Box<upstream::Settings>>> {
    let urls = list(urls);
    // One file may serve processes of which each has another module.
    if matches!(at, At::Local) || urls.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let urls = urls.try_into();
    let urls = urls.with_context(|| format!("[{section}] internal_at is an address, or a list"))?;
    let mut settings = match at {
        At::Remote(settings) => upstream::Settings::clone(settings),
        At::Local | At::Elsewhere => upstream::Settings::default(),
    };
    settings.at = urls;
    settings.keep_host = false;
    let faults = settings.check();
    let faults = faults.join("; ").replace("at:", "internal_at:");
    ensure!(faults.is_empty(), "[{section}] {faults}");
    Ok(Some(Box::new(settings)))
}

/// A variable of the environment has no lists.
fn list(urls: Value) -> Value {
    match urls {
        Value::String(text) => {
            let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
            Value::Array(urls.map(|url| Value::String(url.to_owned())).collect())
        }
        other => other,
    }
}

fn remote(section: &str, mut table: Table) -> anyhow::Result<upstream::Settings> {
    if let Some(at) = table.remove("at") {
        table.insert("at".to_owned(), list(at));
    }
    let settings: upstream::Settings =
        read_config(section, Value::Table(table)).map_err(|error: ConfigError| {
            anyhow::anyhow!("{error} (or at is \"local\" or \"elsewhere\")")
        })?;
    let faults = settings.check();
    ensure!(faults.is_empty(), "[{section}] {}", faults.join("; "));
    Ok(settings)
}

/// What every `[modules.<name>]` begins as.
const PLACE: &str = "at = \"local\"\ndatabase_url = \"\"\ninternal_at = \"\"";

pub(super) fn defaults(modules: &[&dyn Module]) -> Value {
    let place: Table = PLACE.parse().expect("a constant");
    let places = modules
        .iter()
        .map(|module| (module.name().to_owned(), Value::Table(place.clone())));
    Value::Table(places.collect())
}

/// Applies `--modules`: those are here, and no others.
pub(super) fn host_only(
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
        let is_local = place.get("at").and_then(Value::as_str) == Some(LOCAL);
        if wanted.iter().any(|wanted| *wanted == name) {
            place.insert("at".to_owned(), Value::String(LOCAL.to_owned()));
        } else if is_local {
            place.insert("at".to_owned(), Value::String(ELSEWHERE.to_owned()));
        }
    }
    Ok(())
}

/// Reads `[modules.<name>]` of each module.
pub(super) fn read_all(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Place> {
        Place::read("modules.identity", text.parse()?)
    }

    #[test]
    fn a_place_is_here_there_or_elsewhere() {
        assert!(read("").unwrap().is_local());
        assert!(matches!(
            read("at = 'elsewhere'").unwrap().at,
            At::Elsewhere
        ));
        for two in [
            "at = 'http://a:1, https://b'",
            "at = ['http://a:1', 'https://b']",
        ] {
            let At::Remote(settings) = read(two).unwrap().at else {
                panic!("{two} is remote")
            };
            assert_eq!(settings.at.len(), 2);
        }
        for of in ["elsewhere", "http://a:1"] {
            let text = format!("at = '{of}'\ninternal_at = 'http://a:2, http://b:2'");
            let internal = read(&text).unwrap().internal_at.expect("it has some");
            assert_eq!(internal.at.len(), 2);
        }
        let here = read("internal_at = 'http://a:2'").unwrap();
        assert!(here.internal_at.is_none(), "nobody asks another for it");
        let place = read("at = 'http://a'\nmax_in_flight = 5").unwrap();
        assert!(matches!(place.at, At::Remote(settings) if settings.max_in_flight == 5));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            "at = ''",
            "at = []",
            "at = 'a:1'",
            "at = 'ftp://a'",
            "at = 'http://u:p@a'",
            "at = 'local, http://a'",
            "at = 'local'\nmax_in_flight = 5",
            "at = 'http://a'\nmax_inflight = 5",
            "database_url = 3",
            "at = 'elsewhere'\ninternal_at = 3",
            "at = 'elsewhere'\ninternal_at = 'ftp://a'",
            "at = 'elsewhere'\ninternal_at = 'http://u:p@a'",
        ] {
            let error = read(bad).map(|place| place.at).unwrap_err().to_string();
            assert!(error.contains("modules.identity"), "{bad}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
