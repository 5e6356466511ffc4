//! Timed and queued work that a module declares and the host runs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;

/// Work on a schedule. A lease makes sure that one instance runs it at a time.
#[async_trait]
pub trait JobRun: Send + Sync {
    async fn run(&self) -> anyhow::Result<()>;
}

pub struct Job {
    /// Imperative, unique in the module: `purge_expired_sessions`.
    pub name: &'static str,
    /// Cron with seconds, in UTC: `0 */5 * * * *`.
    pub schedule: &'static str,
    pub run: Arc<dyn JobRun>,
}

/// Work that waits in rows of its own (deliveries, records): several instances may run it at once,
/// rows are claimed by lease.
#[async_trait]
pub trait WorkerRun: Send + Sync {
    /// Does what is due now, a batch at a time. True when there may be more.
    async fn run(&self) -> anyhow::Result<bool>;

    /// When something next falls due, if that is known: tests skip to it.
    async fn idle(&self) -> anyhow::Result<bool> {
        Ok(true)
    }
}

pub struct Worker {
    pub name: &'static str,
    /// Looks again after this long even if nobody calls.
    pub poll: Duration,
    /// Calls at once: `notify_one` when work was queued.
    pub wake: Arc<Notify>,
    pub run: Arc<dyn WorkerRun>,
}
