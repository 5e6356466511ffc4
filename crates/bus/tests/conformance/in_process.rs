//! The in-process transport under test: an instance hosts all modules.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bus::{InProcess, Settings, failpoint::Point, in_process::Attached, lag::Lag};
use kernel::{Db, EventBus, Subscription};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::transport::Transport;

pub(crate) struct Local {
    bus: Arc<InProcess>,
    attached: Mutex<Vec<Arc<Attached>>>,
}

impl Drop for Local {
    /// A bus and its modules hold each other: their connections would outlive the process.
    fn drop(&mut self) {
        for attached in self.attached.lock().unwrap().drain(..) {
            self.bus.detach(&attached);
        }
    }
}

#[async_trait]
impl Transport for Local {
    const NAME: &'static str = "in_process";
    const POINTS: &'static [Point] = Point::ALL;

    async fn open(_site: &str, instance: Uuid, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            bus: InProcess::new(instance, settings),
            attached: Mutex::default(),
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
