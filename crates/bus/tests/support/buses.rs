//! The transports under test: an instance hosts all modules.
//!
//! With a network between them, its subscriptions read their publishers through it all the same: a
//! process does not know where a publisher runs.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bus::{
    Attached, Bus, Settings,
    failpoint::Point,
    lag::Lag,
    transport::{Nats, Network, nats},
};
use kernel::{Db, EventBus, Subscription};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{broker, transport::Transport};

/// A bus, and by what it reaches others.
pub(crate) struct Buses<N> {
    bus: Arc<Bus>,
    attached: Mutex<Vec<Arc<Attached>>>,
    network: PhantomData<fn() -> N>,
}

/// What a transport adds to the bus.
#[async_trait]
pub(crate) trait Reach: 'static {
    const NAME: &'static str;

    async fn network(site: &str) -> Option<Arc<dyn Network>>;
}

/// Nothing: each subscription reads its publisher's log.
pub(crate) struct InProcess;

#[async_trait]
impl Reach for InProcess {
    const NAME: &'static str = "in_process";

    async fn network(_site: &str) -> Option<Arc<dyn Network>> {
        None
    }
}

/// A NATS server, with JetStream.
pub(crate) struct OverNats;

#[async_trait]
impl Reach for OverNats {
    const NAME: &'static str = "nats";

    async fn network(site: &str) -> Option<Arc<dyn Network>> {
        let settings = nats::Settings {
            urls: vec![broker::url().await],
            prefix: site.to_owned(),
            inbox_prefix: "_INBOX".to_owned(),
            credentials: nats::Credentials::None,
            tls: nats::Tls::default(),
            keep: Duration::from_secs(3_600),
            max_bytes: None,
            replicas: 1,
        };
        let connected = Nats::connect(settings).await;
        Some(Arc::new(connected.expect("NATS answers")))
    }
}

impl<N> Drop for Buses<N> {
    /// A bus and its modules hold each other: their connections would outlive the process.
    fn drop(&mut self) {
        for attached in self.attached.lock().unwrap().drain(..) {
            self.bus.detach(&attached);
        }
    }
}

#[async_trait]
impl<N: Reach> Transport for Buses<N> {
    const NAME: &'static str = N::NAME;
    const POINTS: &'static [Point] = Point::ALL;

    async fn open(site: &str, instance: Uuid, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            bus: Bus::new(instance, settings, N::network(site).await),
            attached: Mutex::default(),
            network: PhantomData,
        })
    }

    fn bus(self: &Arc<Self>) -> Arc<dyn EventBus> {
        Arc::clone(&self.bus) as _
    }

    async fn attach(&self, db: Db, subscriptions: Vec<Subscription>) -> Result<(), anyhow::Error> {
        let attached = self.bus.attach(db, subscriptions, Vec::new()).await?;
        self.attached.lock().unwrap().push(attached);
        Ok(())
    }

    async fn run(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), anyhow::Error> {
        let mut running = JoinSet::new();
        for attached in self.attached.lock().unwrap().iter() {
            let (bus, attached) = (Arc::clone(&self.bus), Arc::clone(attached));
            let shutdown = shutdown.clone();
            running.spawn(async move { bus.run(attached, shutdown).await });
        }
        let bus = Arc::clone(&self.bus);
        running.spawn(async move {
            bus.run_broadcasts(shutdown).await;
            Ok(())
        });
        running.join_all().await.into_iter().collect()
    }

    async fn deliver_pending(&self) -> Result<(), anyhow::Error> {
        Ok(self.bus.deliver_pending().await?)
    }

    async fn lag(&self) -> Result<Vec<Lag>, anyhow::Error> {
        Ok(self.bus.lag().await?)
    }
}
