//! Keys that are fetched: the second way by which they reach a verifier, beside the broadcast.
//!
//! A process that cannot follow the publisher's events yet, or has missed one, still finds a key
//! where all the world does. What it costs is bounded, whatever tokens are sent: one fetch at a time
//! and in ten seconds, which all who need it share.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::token::Verifier;

/// Where the published key set (RFC 7517 §5) can be fetched.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The set as it is now. Bounds the size of what it reads; the caller bounds the time.
    async fn fetch(&self) -> anyhow::Result<JwkSet>;
}

/// Between the beginnings of two fetches: who sends tokens of unknown keys causes no more.
const PAUSE: Duration = Duration::from_secs(10);
/// A fetch that takes longer has failed.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A request waits so long for a fetch; then it is answered by what is known.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two fetches that nobody asked for.
const REFRESH: Duration = Duration::from_secs(300);
/// A key that was only ever fetched is kept so long after the last answer that had it.
const KEEP: Duration = Duration::from_secs(24 * 3_600);
/// A publisher has two or three: one that signs, the next, and those before.
const MAX_KEYS: usize = 64;

/// A source of keys, and the last fetch from it.
pub(crate) struct KeyFetching {
    source: Arc<dyn KeySource>,
    last: Mutex<Option<Fetch>>,
    /// In a row.
    failures: Arc<AtomicU32>,
}

struct Fetch {
    began: Instant,
    /// Closes with the fetch, however that ends.
    running: watch::Receiver<()>,
}

impl KeyFetching {
    pub(crate) fn new(source: Arc<dyn KeySource>) -> Self {
        Self {
            source,
            last: Mutex::default(),
            failures: Arc::default(),
        }
    }

    /// Waits, within bounds, for the fetch that runs, or for a new one; not at all if one was just
    /// made.
    pub(crate) async fn fetch(&self, verifier: &Arc<Verifier>) {
        let mut running = {
            let mut last = self.last.lock().expect("no holder panics");
            match &*last {
                Some(fetch) if fetch.running.has_changed().is_ok() => fetch.running.clone(),
                Some(fetch) if fetch.began.elapsed() < PAUSE => return,
                _ => last.insert(self.begin(verifier)).running.clone(),
            }
        };
        // Nothing is ever sent: it ends when the sender is dropped.
        let _ = timeout(PATIENCE, running.changed()).await;
    }

    /// On a task of its own: a client that hangs up must not take the fetch of all others with it.
    fn begin(&self, verifier: &Arc<Verifier>) -> Fetch {
        let (ended, running) = watch::channel(());
        let (source, verifier) = (Arc::clone(&self.source), Arc::clone(verifier));
        let failures = Arc::clone(&self.failures);
        tokio::spawn(async move {
            match fetch_once(&*source, &verifier).await {
                Ok(()) => failures.store(0, Ordering::Relaxed),
                // Once is no news: processes start in any order.
                Err(error) if failures.fetch_add(1, Ordering::Relaxed) > 0 => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "published keys cannot be fetched; known ones stay");
                }
                Err(error) => tracing::info!(%error, "published keys cannot be fetched yet"),
            }
            drop(ended);
        });
        Fetch {
            began: Instant::now(),
            running,
        }
    }

    /// Fetches at once and every few minutes, and forgets what no answer had for long.
    pub(crate) async fn follow(&self, verifier: &Arc<Verifier>) {
        loop {
            self.fetch(verifier).await;
            let forgotten = verifier.forget_stale_keys(Instant::now());
            if forgotten > 0 {
                tracing::warn!(
                    signing_keys = forgotten,
                    "keys forgotten: no answer had them for a day"
                );
            }
            // The publisher may still be starting.
            sleep(if verifier.knows_keys() {
                REFRESH
            } else {
                PAUSE
            })
            .await;
        }
    }
}

async fn fetch_once(source: &dyn KeySource, verifier: &Verifier) -> anyhow::Result<()> {
    let set = timeout(FETCH_TIMEOUT, source.fetch()).await;
    let set = set.map_err(|_| anyhow::anyhow!("no answer in {FETCH_TIMEOUT:?}"))??;
    anyhow::ensure!(
        set.keys.len() <= MAX_KEYS,
        "{} keys, of {MAX_KEYS} that are possible",
        set.keys.len()
    );
    verifier.add_fetched(&set, Instant::now() + KEEP);
    Ok(())
}

#[cfg(test)]
mod tests;
