//! The bus of a process: its modules' sequencers and subscriptions at work.
//!
//! In one process each subscription reads its publisher's log by itself. A [`Network`] stands
//! between them when publishers run elsewhere.

mod broadcast;
mod drain;
mod follow;
mod sequence;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kernel::{Broadcast, Db, EventBus, Hint, Subscription, db::Outgoing};
use sqlx::PgConnection;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Settings,
    lease::Leases,
    outbox::Outbox,
    schema::Schema,
    sequencer::{self, Sequencer},
    source::{Error, LocalLog, Source},
    subscriber::{Subscriber, lease_name},
    transport::{Network, Reader, Served},
    trouble::Trouble,
    wakeup::{self, Wakeup},
};
use broadcast::Following;

/// The bus of a process.
pub struct Bus {
    /// Tells this process from others on the same database.
    instance: Uuid,
    settings: Settings,
    /// What reaches other processes; none when all modules are here.
    network: Option<Arc<dyn Network>>,
    outboxes: Mutex<HashMap<String, Arc<Outbox>>>,
    wakeups: Mutex<HashMap<String, Arc<Wakeup>>>,
    modules: Mutex<HashMap<String, Arc<Attached>>>,
    /// Moves when a module is attached: subscriptions may wait for their publisher.
    attached: watch::Sender<usize>,
    hints: tokio::sync::broadcast::Sender<Hint>,
    /// Other processes' hints come in by it.
    _hearing: Option<Served>,
    broadcasts: Mutex<Vec<Arc<Following>>>,
}

/// A module on the bus.
pub struct Attached {
    db: Db,
    log: Arc<LocalLog>,
    sequencer: Sequencer,
    leases: Arc<Leases>,
    wakeup: Arc<Wakeup>,
    subscribers: Vec<Arc<Subscriber>>,
    /// Other processes read the log through it.
    _served: Option<Served>,
}

impl Bus {
    pub fn new(instance: Uuid, settings: Settings, network: Option<Arc<dyn Network>>) -> Arc<Self> {
        let hints = tokio::sync::broadcast::Sender::new(1_024);
        let hearing = network.as_ref().map(|network| network.hear(hints.clone()));
        Arc::new(Self {
            network,
            instance,
            settings,
            outboxes: Mutex::default(),
            wakeups: Mutex::default(),
            modules: Mutex::default(),
            attached: watch::Sender::new(0),
            hints,
            _hearing: hearing,
            broadcasts: Mutex::default(),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn outbox(&self, module: &str) -> Arc<Outbox> {
        let mut outboxes = self.outboxes.lock().expect("no holder panics");
        let outbox = outboxes.entry(module.to_owned()).or_insert_with(|| {
            Arc::new(Outbox::new(
                &Schema::new(module).expect("modules have valid names"),
            ))
        });
        Arc::clone(outbox)
    }

    fn wakeup(&self, module: &str) -> Arc<Wakeup> {
        let mut wakeups = self.wakeups.lock().expect("no holder panics");
        let wakeup = wakeups.entry(module.to_owned()).or_insert_with(|| {
            let schema = Schema::new(module).expect("modules have valid names");
            Arc::new(Wakeup::new(&schema, self.instance, self.hints.clone()))
        });
        Arc::clone(wakeup)
    }

    /// Puts a started module on the bus. `other_leases` are for what else one instance at a time
    /// may do, such as jobs.
    ///
    /// While the module runs, its bus pool holds a connection for notifications, and each
    /// subscription, the sequencer and the leases use one at a time: it should have a few more
    /// than subscriptions.
    pub async fn attach(
        &self,
        db: Db,
        subscriptions: Vec<Subscription>,
        other_leases: Vec<String>,
    ) -> Result<Arc<Attached>, Error> {
        let module = db.module().to_owned();
        let schema = Schema::new(&module).expect("modules have valid names");
        let mut wanted = other_leases;
        wanted.push(sequencer::LEASE.to_owned());
        wanted.extend(subscriptions.iter().map(|s| lease_name(&s.name)));
        let leases = Arc::new(Leases::new(
            db.bus_pool().clone(),
            &schema,
            self.instance,
            self.settings.lease_ttl,
            wanted,
        ));
        leases.declare().await?;
        let subscribers = subscriptions
            .into_iter()
            .map(|subscription| {
                Arc::new(Subscriber::new(
                    db.clone(),
                    &schema,
                    subscription,
                    self.instance,
                    self.settings.clone(),
                ))
            })
            .collect();
        let sequencer = Sequencer::new(db.clone(), &schema, self.settings.sequencer_batch);
        let log = LocalLog::open(&db, &schema, sequencer.look().await?.0).await?;
        let served = match &self.network {
            Some(network) => Some(network.serve(Arc::clone(&log)).await?),
            None => None,
        };
        let attached = Arc::new(Attached {
            log,
            sequencer,
            leases,
            wakeup: self.wakeup(&module),
            subscribers,
            _served: served,
            db,
        });
        let before = self
            .modules
            .lock()
            .expect("no holder panics")
            .insert(module, Arc::clone(&attached));
        if let Some(before) = before {
            before.log.end();
        }
        self.attached.send_modify(|n| *n += 1);
        Ok(attached)
    }

    fn modules(&self) -> Vec<Arc<Attached>> {
        let modules = self.modules.lock().expect("no holder panics");
        modules.values().cloned().collect()
    }

    fn publisher(&self, module: &str) -> Option<Arc<Attached>> {
        self.modules
            .lock()
            .expect("no holder panics")
            .get(module)
            .cloned()
    }

    /// A publisher's log; none while the publisher is known to be away.
    fn source(&self, publisher: &str, reader: &Reader) -> Option<Arc<dyn Source>> {
        match &self.network {
            Some(network) => Some(network.source(publisher, reader)),
            None => Some(Arc::clone(&self.publisher(publisher)?.log) as _),
        }
    }

    fn source_for(&self, subscriber: &Subscriber) -> Option<Arc<dyn Source>> {
        let reader = Reader {
            name: subscriber.cursor_name(),
            durable: true,
            topics: subscriber.topics().map(<[_]>::to_vec),
        };
        self.source(&subscriber.subscription().publisher, &reader)
    }

    /// Works for a module until the token is cancelled: then work in hand is finished and the
    /// leases are released. Ends early with an error when a task of it cannot go on.
    pub async fn run(
        self: &Arc<Self>,
        attached: Arc<Attached>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let stop = shutdown.child_token();
        let mut loops: JoinSet<anyhow::Result<()>> = JoinSet::new();
        for subscriber in &attached.subscribers {
            let (bus, attached) = (Arc::clone(self), Arc::clone(&attached));
            let (subscriber, stop) = (Arc::clone(subscriber), stop.clone());
            loops.spawn(async move {
                bus.run_subscription(&attached, &subscriber, &stop).await;
                Ok(())
            });
        }
        {
            let (bus, attached, stop) = (Arc::clone(self), Arc::clone(&attached), stop.clone());
            loops.spawn(async move {
                bus.run_sequencer(&attached, &stop).await;
                Ok(())
            });
        }
        if let Some(network) = &self.network {
            let (network, attached) = (Arc::clone(network), Arc::clone(&attached));
            let stop = stop.clone();
            loops.spawn(async move {
                let lease = attached.leases.watch(sequencer::LEASE);
                let relay = network.relay(Arc::clone(&attached.log), lease);
                stop.run_until_cancelled(relay).await;
                Ok(())
            });
        }
        {
            let (attached, stop) = (Arc::clone(&attached), stop.clone());
            loops.spawn(async move {
                let service = async {
                    tokio::join!(attached.leases.run(), attached.run_wakeup());
                };
                stop.run_until_cancelled(service).await;
                Ok(())
            });
        }
        let mut result = Ok(());
        while let Some(ended) = loops.join_next().await {
            if !stop.is_cancelled() {
                result = match ended {
                    Ok(Ok(())) => Err(anyhow::anyhow!("a task of the bus ended by itself")),
                    Ok(Err(error)) => Err(error),
                    Err(panic) => Err(anyhow::anyhow!("a task of the bus panicked: {panic}")),
                };
                stop.cancel();
            }
        }
        if let Err(error) = attached.leases.release().await {
            tracing::debug!(%error, "leases could not be released; they will expire");
        }
        result
    }

    /// Takes the module off the bus.
    pub fn detach(&self, attached: &Arc<Attached>) {
        let mut modules = self.modules.lock().expect("no holder panics");
        let module = attached.db.module();
        if modules
            .get(module)
            .is_some_and(|current| Arc::ptr_eq(current, attached))
        {
            modules.remove(module);
        }
        attached.log.end();
    }

    /// Every how long an idle subscription looks whether it was paused, set back or replayed, and
    /// a busy one tells its publisher how far it has come.
    fn glance(&self) -> Duration {
        self.settings.poll * 4
    }
}

impl Attached {
    /// What this instance may do for the module now.
    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    pub fn subscribers(&self) -> &[Arc<Subscriber>] {
        &self.subscribers
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Keeps the wake-up connections alive: without them everything goes on by polling. A process
    /// that only answers requests runs this alone, to call those that work.
    pub async fn run_wakeup(&self) {
        let module = self.db.module();
        let mut trouble = Trouble::of(format!("notifications of {module} cannot be listened to"));
        loop {
            let result = self.wakeup.run(&self.db).await;
            trouble.tell(result.as_ref().err());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[async_trait]
impl EventBus for Bus {
    async fn write_outbox(
        &self,
        conn: &mut PgConnection,
        module: &str,
        events: &[Outgoing],
    ) -> Result<(), sqlx::Error> {
        self.outbox(module).write(conn, events).await
    }

    fn committed(&self, module: &str) {
        let wakeup = self.wakeup(module);
        wakeup.outbox.notify_one();
        let leads = |m: Arc<Attached>| m.leases.epoch(sequencer::LEASE).is_some();
        if !self.publisher(module).is_some_and(leads) {
            wakeup.tell_others();
        }
    }

    fn hint(&self, hint: Hint) {
        let Some(network) = &self.network else {
            let module = hint.topic.split('.').next().unwrap_or_default().to_owned();
            self.wakeup(&module).hint(hint);
            return;
        };
        // Without listeners there is nobody to tell in this process.
        let _ = self.hints.send(hint.clone());
        if wakeup::travels(&hint) {
            network.hint(hint);
        }
    }

    fn hints(&self) -> tokio::sync::broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    async fn broadcast(&self, broadcast: Broadcast) -> Result<(), anyhow::Error> {
        Ok(self.follow_broadcast(broadcast).await?)
    }
}
