//! NATS JetStream: a stream per publisher, a consumer per subscription.
//!
//! The publisher's [`relay`] puts its log into a stream, in order and without holes, so that
//! sequence numbers and positions differ by a constant. A subscription's [`feed`] keeps what is new
//! in a bounded window; whatever the window does not have, because it came earlier, was lost or lies
//! behind a rewind, is read from the publisher's log by request and reply ([`log_service`]). That
//! makes JetStream a quick way and never the record: an emptied or slow broker costs time alone.
//!
//! Works with nats-server 2.9 and later: nothing newer is asked for.

mod connection;
mod feed;
mod hints;
mod log_service;
mod relay;
mod remote;
mod stream;
mod window;
mod wire;

use std::{sync::Arc, time::Duration};

use async_nats::{Client, jetstream};
use async_trait::async_trait;
use kernel::Hint;
use tokio::sync::{broadcast, watch};

use super::{Network, Reader, Served};
use crate::source::{Error, LocalLog, Source};

pub use connection::{Credentials, Settings, Tls};

/// This process's connection to NATS.
pub struct Nats {
    client: Client,
    jetstream: jetstream::Context,
    settings: Settings,
    /// Counts connections made: what a stream or a consumer was before may be gone after.
    connections: watch::Receiver<u64>,
    hints: hints::Hints,
}

/// Whoever is asked has as long to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

impl Nats {
    /// Connects, or goes on trying in the background when nobody is there yet.
    ///
    /// # Errors
    /// When the server turns these credentials down, or files of them cannot be read.
    pub async fn connect(settings: Settings) -> Result<Arc<Self>, anyhow::Error> {
        let (client, connections) = connection::connect(&settings).await?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(ANSWER_TIMEOUT);
        Ok(Arc::new(Self {
            hints: hints::Hints::start(client.clone(), &settings),
            client,
            jetstream,
            settings,
            connections,
        }))
    }
}

#[async_trait]
impl Network for Arc<Nats> {
    fn source(&self, publisher: &str, reader: &Reader) -> Arc<dyn Source> {
        Arc::new(remote::Remote::new(Arc::clone(self), publisher, reader))
    }

    async fn serve(&self, log: Arc<LocalLog>) -> Result<Served, Error> {
        log_service::serve(self, log).await
    }

    async fn relay(&self, log: Arc<LocalLog>, lease: watch::Receiver<Option<i64>>) {
        relay::run(self, &log, lease).await;
    }

    fn hint(&self, hint: Hint) {
        self.hints.send(hint);
    }

    fn hear(&self, hints: broadcast::Sender<Hint>) -> Served {
        self.hints.hear(hints)
    }
}

fn transport(error: impl std::fmt::Display) -> Error {
    Error::Transport(format!("nats: {error}"))
}
