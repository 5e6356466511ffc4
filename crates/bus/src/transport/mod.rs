//! What brings events to subscriptions in other processes.
//!
//! A network is a transport and not the record: it may lose, repeat and forget. The publisher's log
//! has everything, positions are dense, and the subscriber's watermarks drop what comes twice. So a
//! network owes only this: what it hands over is in order, gaps are filled from the publisher's log,
//! and the publisher's answers come from there.

pub mod nats;

use std::sync::Arc;

use async_trait::async_trait;
use kernel::Hint;
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::source::{Error, LocalLog, Source};

pub use nats::Nats;

/// Who reads a publisher's log.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Unique among all modules.
    pub name: String,
    /// Does it outlive its process? Then all instances are one reader, of which one reads at a time.
    pub durable: bool,
    /// What it wants; none for everything.
    pub topics: Option<Vec<String>>,
}

/// A connection of this process to all others.
#[async_trait]
pub trait Network: Send + Sync {
    /// A publisher's log as this reader sees it, whether the publisher answers now or not.
    fn source(&self, publisher: &str, reader: &Reader) -> Arc<dyn Source>;

    /// Answers other processes' questions about a log, until what is returned is dropped.
    async fn serve(&self, log: Arc<LocalLog>) -> Result<Served, Error>;

    /// Carries a log's new events to whoever reads it elsewhere, while the lease of the log's
    /// sequencer is held here: two that carried would only hinder each other. Does not return.
    async fn relay(&self, log: Arc<LocalLog>, lease: watch::Receiver<Option<i64>>);

    /// Sends a hint to all other processes, if it can be done at once: best effort.
    fn hint(&self, hint: Hint);

    /// Passes other processes' hints on, until what is returned is dropped.
    fn hear(&self, hints: broadcast::Sender<Hint>) -> Served;
}

/// A task that ends with its owner.
#[derive(Debug)]
pub struct Served(JoinHandle<()>);

impl Served {
    pub(crate) fn by(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}
