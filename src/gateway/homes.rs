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
    /// Modules in other processes, as those answer this one.
    internal: Vec<Arc<Upstream>>,
}

/// What is asked of a process that hosts a module, unless configured: is that module ready? So one
/// that is about to stop, whose database is away or that does not host it gets no requests.
const HEALTH_PATH: &str = "/health/ready?module=";
const HEALTH_INTERVAL_SECONDS: u64 = 1;

impl Home {
    /// The module's.
    pub fn name(&self) -> &str {
        match self {
            Self::Local(slot) => slot.name(),
            Self::Remote(upstream) => upstream.name(),
            Self::Elsewhere(name) => name,
        }
    }
}

impl Homes {
    pub fn new(app: &App) -> anyhow::Result<Self> {
        let mut homes = Self {
            all: Vec::new(),
            prefixes: Vec::new(),
            internal: Vec::new(),
        };
        for module in MODULES {
            let name = module.name();
            let place = app.config.place(name);
            let home = match &place.at {
                At::Local => Home::Local(Arc::clone(app.slot(name).expect("it is hosted"))),
                At::Elsewhere => Home::Elsewhere(name),
                At::Remote(settings) => Home::Remote(upstream(app, name, settings)?),
            };
            if let Some(settings) = &place.internal_at {
                homes.internal.push(upstream(app, name, settings)?);
            }
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

    /// Where a module in other processes answers this one.
    pub fn internal(&self, module: &str) -> Option<&Arc<Upstream>> {
        self.internal.iter().find(|home| home.name() == module)
    }

    pub fn all_internal(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.internal.iter()
    }

    /// Those in other processes.
    pub fn remote(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.all.iter().filter_map(|home| match home {
            Home::Remote(upstream) => Some(upstream),
            Home::Local(_) | Home::Elsewhere(_) => None,
        })
    }
}

/// The processes of a module, which are asked how it is.
fn upstream(
    app: &App,
    module: &str,
    settings: &upstream::Settings,
) -> anyhow::Result<Arc<Upstream>> {
    let mut settings = settings.clone();
    if settings.health.path.is_empty() {
        settings.health.path = format!("{HEALTH_PATH}{module}");
        settings.health.interval_seconds = HEALTH_INTERVAL_SECONDS;
    }
    let upstream = Upstream::new(module, settings, app.streams.child_token());
    upstream.with_context(|| format!("modules.{module}"))
}
