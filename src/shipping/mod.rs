//! Log records of a process without the module logging, on their way to the one that has it: OTLP
//! over HTTP, in the order they were written, with a queue on disk while that one is away.
//!
//! [`batch`] makes batches of what waits in the buffer, [`otlp`] writes them, [`client`] posts them,
//! [`shipper`] decides what is sent when. While all is well nothing touches the disk. When a batch
//! is not taken, it and those after it go to the spool and are sent from there, the oldest first,
//! until nothing is left. What had to be dropped, in the buffer, in the spool or because it was
//! refused, is counted by service and level, and the counts travel as records themselves.

mod batch;
mod client;
mod otlp;
mod shipper;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use kernel::{Secret, World, telemetry::LogBuffer};
use spool::Spool;
use url::Url;

pub use self::shipper::Shipper;
use crate::{app::App, config::Log, http_client, service_token::ServiceToken};

/// Where access tokens with the scopes `logs:write` and `logs:write:internal` come from.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is good now; kept by the source as long as it is.
    async fn token(&self) -> anyhow::Result<Secret>;

    /// The destination refused this token (401): the next one must be new.
    fn refused(&self, token: &Secret);
}

#[async_trait]
impl TokenSource for Arc<ServiceToken> {
    async fn token(&self) -> anyhow::Result<Secret> {
        Ok(self.get().await?)
    }

    fn refused(&self, token: &Secret) {
        ServiceToken::refused(self, token);
    }
}

/// The shipper of a process without logging, if it may ship: as which service it does is configured.
pub fn of(app: &App) -> anyhow::Result<Option<Shipper>> {
    let Some(url) = app.config.logs_url() else {
        return Ok(None);
    };
    let Some(token) = ServiceToken::new(&app.config, http_client::client()) else {
        tracing::warn!(
            "log records stay here: `banyan service create` makes the service, for [service], as which \
             they are shipped to {url}"
        );
        return Ok(None);
    };
    let host = &app.config.host;
    let shipper = Shipper::new(
        Settings::new(&host.log),
        &url,
        Arc::clone(&app.logs),
        Arc::new(token),
        &host.server.data_dir,
        app.world.clone(),
    )?;
    Ok(Some(shipper))
}

/// How records are shipped.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a record waits for others to be sent with.
    pub interval: Duration,
    /// Of the queue on disk, in bytes.
    pub spool_max_bytes: u64,
    /// After failures in a row the pause is a random part of this, doubled each time, …
    pub retry_base: Duration,
    /// … and of this, at most.
    pub retry_max: Duration,
    /// For one request, from the connection to the answer.
    pub timeout: Duration,
    /// At the end of the process: time to send what waits, before it goes to disk.
    pub last_words: Duration,
}

impl Settings {
    pub fn new(config: &Log) -> Self {
        Self {
            interval: Duration::from_millis(config.ship_interval_milliseconds),
            spool_max_bytes: config.spool_max_bytes,
            retry_base: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            last_words: Duration::from_secs(5),
        }
    }
}

/// What became of records, for health and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    shipped: AtomicU64,
    dropped: AtomicU64,
    spooled_bytes: AtomicU64,
    unreadable: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    /// Records that the destination has taken.
    pub fn shipped(&self) -> u64 {
        self.shipped.load(Ordering::Relaxed)
    }

    /// Records that were dropped on the way; those that the buffer dropped before count there
    /// ([`LogBuffer::dropped_total`]).
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// On disk now.
    pub fn spooled_bytes(&self) -> u64 {
        self.spooled_bytes.load(Ordering::Relaxed)
    }

    /// Files of the spool that could not be read and were set aside: nobody knows how many records
    /// they held.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Attempts that failed since the last that did not: zero while all is well.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl Shipper {
    /// Ships what `logs` holds to `<base>/otlp/v1/logs`. Without a disk to write to it goes on, and
    /// what cannot be sent waits in the buffer.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        settings: Settings,
        base: &Url,
        logs: Arc<LogBuffer>,
        token: Arc<dyn TokenSource>,
        data_dir: &Path,
        world: World,
    ) -> anyhow::Result<Self> {
        let folder = data_dir.join("spool").join("logs");
        let spool = Spool::open(&folder, settings.spool_max_bytes)
            .inspect_err(|error| {
                let folder = folder.display();
                tracing::error!(%error, %folder, "log records cannot be kept on disk");
            })
            .ok();
        let client = client::Client::new(base, token, settings.timeout)?;
        Ok(Self::start(settings, logs, client, spool, world))
    }
}
