//! Where each module is, seen from the edge.

use std::sync::Arc;

use anyhow::Context;
use upstream::Upstream;

use super::is_below;
use crate::{
    app::{App, Slot},
    config::At,
    modules::MODULES,
};

/// A module, and how requests reach it.
#[derive(Clone)]
pub enum Home {
    Local(Arc<Slot>),
    Remote(Arc<Upstream>),
    /// Its name: requests for it are sent to the wrong process.
    Elsewhere(&'static str),
}

/// All modules of the installation.
pub struct Homes {
    all: Vec<Home>,
    /// Prefix and its module, the longest first.
    prefixes: Vec<(&'static str, Home)>,
}

/// What is asked of a process that hosts a module, unless configured: is that module ready? So one
/// that is about to stop, whose database is away or that does not host it gets no requests.
const HEALTH_PATH: &str = "/health/ready?module=";
const HEALTH_INTERVAL_SECONDS: u64 = 1;

impl Homes {
    pub fn new(app: &App) -> anyhow::Result<Self> {
        let mut homes = Self {
            all: Vec::new(),
            prefixes: Vec::new(),
        };
        for module in MODULES {
            let name = module.name();
            let home = match &app.config.place(name).at {
                At::Local => Home::Local(Arc::clone(app.slot(name).expect("it is hosted"))),
                At::Elsewhere => Home::Elsewhere(name),
                At::Remote(settings) => {
                    let mut settings = upstream::Settings::clone(settings);
                    if settings.health.path.is_empty() {
                        settings.health.path = format!("{HEALTH_PATH}{name}");
                        settings.health.interval_seconds = HEALTH_INTERVAL_SECONDS;
                    }
                    let upstream = Upstream::new(name, settings, app.streams.child_token())
                        .with_context(|| format!("modules.{name}"))?;
                    Home::Remote(upstream)
                }
            };
            let prefixes = module.prefixes().iter();
            homes.prefixes.extend(prefixes.map(|p| (*p, home.clone())));
            homes.all.push(home);
        }
        homes
            .prefixes
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(homes)
    }

    pub fn find(&self, path: &str) -> Option<&Home> {
        let mut prefixes = self.prefixes.iter();
        let found = prefixes.find(|(prefix, _)| is_below(path, prefix));
        found.map(|(_, home)| home)
    }

    /// Those in other processes.
    pub fn remote(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.all.iter().filter_map(|home| match home {
            Home::Remote(upstream) => Some(upstream),
            Home::Local(_) | Home::Elsewhere(_) => None,
        })
    }
}
