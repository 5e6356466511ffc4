//! The process: what all modules share, and each module made ready to serve.

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use axum::Router;
use bus::{
    Attached, Bus,
    transport::{Nats, Network},
};
use kernel::{
    Context, Db, Job, Module, Problem, Verifier, Worker, World, module::Restate,
    telemetry::LogBuffer,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    config::{Config, Transport},
    keys,
    modules::MODULES,
    places::Places,
    secrets::Keys,
};

/// The audience of access tokens: this installation's API.
const AUDIENCE: &str = "banyan";

pub struct App {
    pub config: Config,
    pub world: World,
    pub bus: Arc<Bus>,
    pub verifier: Arc<Verifier>,
    pub logs: Arc<LogBuffer>,
    pub places: Places,
    /// Cancelled when answers without an end are to end.
    pub streams: CancellationToken,
    keys: Keys,
    slots: Vec<Arc<Slot>>,
}

/// A module's routes: for people, and for other processes of the installation.
struct Routers {
    public: Router,
    internal: Router,
}

/// A module's place in the process, whether it runs or not.
pub struct Slot {
    pub module: &'static dyn Module,
    routers: ArcSwapOption<Routers>,
    db: ArcSwapOption<Db>,
    /// Why it does not run.
    trouble: Mutex<Option<Trouble>>,
    /// Requests that it is answering.
    visits: TaskTracker,
}

#[derive(Clone, Debug)]
struct Trouble {
    reason: String,
    /// Not here by intention: nothing has failed.
    away: bool,
}

impl Slot {
    fn new(module: &'static dyn Module) -> Self {
        Self {
            module,
            routers: ArcSwapOption::empty(),
            db: ArcSwapOption::empty(),
            trouble: Mutex::new(Some(Trouble {
                reason: "starting".to_owned(),
                away: false,
            })),
            visits: TaskTracker::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.module.name()
    }

    pub fn is_up(&self) -> bool {
        self.routers.load().is_some()
    }

    /// The module's routes, while it runs. It does not end before the visit does.
    pub fn visit(&self) -> Option<(TaskTrackerToken, Router)> {
        self.visit_of(|routers| &routers.public)
    }

    /// The same for its internal routes.
    pub fn visit_internal(&self) -> Option<(TaskTrackerToken, Router)> {
        self.visit_of(|routers| &routers.internal)
    }

    fn visit_of(&self, which: fn(&Routers) -> &Router) -> Option<(TaskTrackerToken, Router)> {
        // Counted before the look: whoever takes the routes away sees it.
        let visit = self.visits.token();
        Some((visit, self.routers.load().as_deref().map(which)?.clone()))
    }

    /// Waits until all requests in hand are answered.
    pub async fn left(&self) {
        self.visits.close();
        self.visits.wait().await;
    }

    pub fn db(&self) -> Option<Db> {
        self.db.load().as_deref().cloned()
    }

    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().expect("no holder panics");
        trouble.as_ref().map(|trouble| trouble.reason.clone())
    }

    /// Is its data's place elsewhere, or about to be?
    pub fn is_away(&self) -> bool {
        let trouble = self.trouble.lock().expect("no holder panics");
        trouble.as_ref().is_some_and(|trouble| trouble.away)
    }

    pub fn up(&self, hosted: &Hosted) {
        self.visits.reopen();
        self.db.store(Some(Arc::new(hosted.db.clone())));
        self.routers.store(Some(Arc::new(Routers {
            public: hosted.router.clone(),
            internal: hosted.internal.clone(),
        })));
        *self.trouble.lock().expect("no holder panics") = None;
    }

    pub fn down(&self, reason: &str) {
        self.end(reason, false);
    }

    /// Down as well, while its data are moved; true when that is news.
    pub fn away(&self, reason: &str) -> bool {
        let news = self.trouble().is_none_or(|known| known != reason);
        self.end(reason, true);
        news
    }

    fn end(&self, reason: &str, away: bool) {
        self.routers.store(None);
        self.db.store(None);
        *self.trouble.lock().expect("no holder panics") = Some(Trouble {
            reason: reason.to_owned(),
            away,
        });
    }
}

/// A module that has started and waits to be run.
pub struct Hosted {
    pub db: Db,
    pub router: Router,
    pub internal: Router,
    pub attached: Arc<Attached>,
    pub jobs: Vec<Arc<Job>>,
    pub workers: Vec<Worker>,
    pub process_workers: Vec<Worker>,
    pub restate: Option<Arc<dyn Restate>>,
    pub notices: Vec<String>,
    /// Cancelled when its answers without an end are to end.
    pub streams: CancellationToken,
}

impl App {
    /// Everything that the modules share. Connects to NATS if events travel by it; starts the
    /// embedded database if a module here has no other.
    pub async fn open(config: Config, world: World, logs: Arc<LogBuffer>) -> anyhow::Result<Self> {
        let network: Option<Arc<dyn Network>> = match config.host.bus.transport {
            Transport::InProcess => None,
            Transport::Nats => Some(Arc::new(
                Nats::connect(config.host.bus.nats.settings()).await?,
            )),
        };
        let keys = Keys::load(&config, &world)?;
        let places = Places::open(&config, keys.role_secret.clone()).await?;
        Ok(Self::assemble(
            config,
            world,
            logs,
            keys,
            places,
            bus::Settings::default(),
            network,
        ))
    }

    /// Puts the parts together; tests bring their own.
    pub fn assemble(
        config: Config,
        world: World,
        logs: Arc<LogBuffer>,
        keys: Keys,
        places: Places,
        settings: bus::Settings,
        network: Option<Arc<dyn Network>>,
    ) -> Self {
        let host = &config.host;
        let settings = bus::Settings {
            lease_ttl: std::time::Duration::from_secs(host.bus.lease_seconds),
            batch: host.bus.batch,
            log_keep: std::time::Duration::from_secs(host.bus.log_keep_days * 24 * 3_600),
            ..settings
        };
        Self {
            bus: Bus::new(world.uuid(), settings, network),
            verifier: Arc::new(keys::verifier(&config, AUDIENCE, &world)),
            streams: CancellationToken::new(),
            slots: MODULES
                .iter()
                .filter(|module| config.hosts(module.name()))
                .map(|module| Arc::new(Slot::new(*module)))
                .collect(),
            config,
            world,
            logs,
            keys,
            places,
        }
    }

    /// The modules of this process.
    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    pub fn slot(&self, module: &str) -> Option<&Arc<Slot>> {
        self.slots.iter().find(|slot| slot.name() == module)
    }

    /// Migrates a module's schema, as its owner.
    pub async fn migrate(&self, module: &dyn Module) -> anyhow::Result<()> {
        let name = module.name();
        match database::migrate(&self.places.owner(name), name, module.migrations()).await {
            Err(away @ database::Error::Away { .. }) => Err(away.into()),
            result => result.with_context(|| format!("the schema {name} could not be migrated")),
        }
    }

    fn db(&self, module: &str) -> Db {
        let options = self.places.runtime(module);
        let pool = |size| database::pool_options(size).connect_lazy_with(options.clone());
        let sizes = &self.config.host.database;
        Db::new(
            module,
            pool(sizes.pool_size),
            pool(sizes.bus_pool_size),
            Arc::clone(&self.bus) as _,
            self.world.clone(),
        )
    }

    /// What a module is given: for serving, and for its verbs.
    pub fn context(&self, module: &dyn Module) -> Context {
        let name = module.name();
        Context {
            db: self.db(name),
            world: self.world.clone(),
            config: self.config.section(name),
            secrets: kernel::Secrets::for_module(&self.keys.master, &self.keys.sealing, name),
            verifier: Arc::clone(&self.verifier),
            public_url: self.config.host.server.public_url.clone(),
            product_name: self.config.host.server.product_name.as_str().into(),
            serving: false,
            development: self.config.development(),
            modules: MODULES.iter().map(|m| m.name().to_owned()).collect(),
            logs: Arc::clone(&self.logs),
            data_dir: self.config.host.server.data_dir.clone(),
            shutdown: self.streams.child_token(),
        }
    }

    /// Migrates, starts and puts on the bus one module, to serve or for a command; runs nothing yet.
    pub async fn host(&self, slot: &Slot, serving: bool) -> anyhow::Result<Hosted> {
        self.migrate(slot.module).await?;
        let context = Context {
            serving,
            ..self.context(slot.module)
        };
        let (db, streams) = (context.db.clone(), context.shutdown.clone());
        let started = slot.module.start(context).await?;
        let leases = started
            .jobs
            .iter()
            .map(|job| bus::jobs::lease_name(job.name))
            .collect();
        let attached = self
            .bus
            .attach(db.clone(), started.subscriptions, leases)
            .await?;
        Ok(Hosted {
            db,
            router: started.router,
            internal: started
                .internal
                .fallback(|| async { Problem::not_found() })
                .method_not_allowed_fallback(|| async { Problem::method_not_allowed() }),
            attached,
            jobs: started.jobs.into_iter().map(Arc::new).collect(),
            workers: started.workers,
            process_workers: started.process_workers,
            restate: started.restate,
            notices: started.notices,
            streams,
        })
    }
}
