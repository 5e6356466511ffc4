//! What a transport has to offer to be tested.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Settings, failpoint::Point, lag::Lag};
use kernel::{Db, EventBus, Subscription};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One process's end of a transport. Everything that it starts runs on the runtime in which its
/// methods are called: when that is gone, so is the process.
#[async_trait]
pub(crate) trait Transport: Send + Sync + Sized + 'static {
    const NAME: &'static str;

    /// The steps at which an instance can be stopped.
    const POINTS: &'static [Point];

    /// `site` is the same for all instances of a case, and no other case's.
    async fn open(site: &str, instance: Uuid, settings: Settings) -> Arc<Self>;

    fn bus(self: &Arc<Self>) -> Arc<dyn EventBus>;

    /// Puts a module on the transport.
    async fn attach(&self, db: Db, subscriptions: Vec<Subscription>) -> Result<(), anyhow::Error>;

    /// Works for what is attached until the token is cancelled; then finishes what is in hand and
    /// lets go of its leases.
    async fn run(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), anyhow::Error>;

    /// Delivers what is pending, and what follows from it, now.
    async fn deliver_pending(&self) -> Result<(), anyhow::Error>;

    async fn lag(&self) -> Result<Vec<Lag>, anyhow::Error>;
}
