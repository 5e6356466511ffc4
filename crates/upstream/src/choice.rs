//! The addresses of an upstream, and which of them takes the next request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    Error, Settings, SetupError,
    address::{Address, Origin, Pass},
    breaker::Passage,
};

/// Of one name, at most.
const MAX_ADDRESSES: usize = 64;
/// Time to look a name up.
const PATIENCE: Duration = Duration::from_secs(5);
/// A name that could not be looked up is not asked for by every request.
const REST: Duration = Duration::from_secs(1);

pub(crate) struct Choice {
    settings: Settings,
    origins: Vec<Arc<Origin>>,
    addresses: ArcSwap<Vec<Arc<Address>>>,
    /// Ties go round.
    turn: AtomicUsize,
    /// When names were last looked up; one at a time does it.
    resolved: Mutex<Option<Instant>>,
}

impl Choice {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let tls = crate::tls::config(settings)?;
        let origins = settings.at.iter().map(|url| {
            let origin = Origin::new(url, &tls).map(Arc::new);
            origin.ok_or_else(|| SetupError("at: an address cannot be used".to_owned()))
        });
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        let known = origins.iter().filter_map(|origin| {
            let socket = (origin.host.parse::<std::net::IpAddr>().ok()?, origin.port).into();
            Some(Arc::new(Address::new(Arc::clone(origin), socket, settings)))
        });
        Ok(Self {
            addresses: ArcSwap::from_pointee(known.collect()),
            settings: settings.clone(),
            origins,
            turn: AtomicUsize::new(0),
            resolved: Mutex::new(None),
        })
    }

    pub(crate) fn addresses(&self) -> Arc<Vec<Arc<Address>>> {
        self.addresses.load_full()
    }

    /// The address with the fewest requests among those that are worth a try, and not `but`.
    pub(crate) async fn next(&self, but: Option<&Arc<Address>>) -> Result<Pass, Error> {
        if self.addresses.load().is_empty() {
            self.resolve(REST).await;
        }
        let addresses = self.addresses.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut soonest: Option<Instant> = None;
        let mut best: Option<(usize, &Arc<Address>)> = None;
        for n in 0..addresses.len() {
            let address = &addresses[(turn.wrapping_add(n)) % addresses.len()];
            if but.is_some_and(|but| Arc::ptr_eq(but, address)) {
                continue;
            }
            match address.with_breaker(|breaker| breaker.look(now)) {
                Passage::Shut(until) => soonest = earlier(soonest, until),
                Passage::Free | Passage::Trial => {
                    let load = address.in_flight();
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, address));
                    }
                }
            }
        }
        // Another request may have taken the last trial since.
        let passed = best.map(|(_, address)| address.pass());
        match passed {
            Some(Ok(pass)) => return Ok(pass),
            Some(Err(until)) => soonest = earlier(soonest, until),
            None => {}
        }
        let wait = soonest.map_or(REST, |soonest| soonest.saturating_duration_since(now));
        Err(Error::Unavailable {
            retry_after_seconds: wait.as_secs_f64().ceil().clamp(1.0, 60.0) as u32,
        })
    }

    /// Are there names among the addresses?
    pub(crate) fn has_names(&self) -> bool {
        let is_name = |origin: &Arc<Origin>| origin.host.parse::<std::net::IpAddr>().is_err();
        self.origins.iter().any(is_name)
    }

    /// Looks up the names, unless that was done within `rest`. What is still there keeps its
    /// connections; a name that cannot be looked up keeps its addresses.
    pub(crate) async fn resolve(&self, rest: Duration) {
        let mut resolved = self.resolved.lock().await;
        if resolved.is_some_and(|at| at.elapsed() < rest) {
            return;
        }
        let before = self.addresses.load_full();
        let mut now = Vec::new();
        for origin in &self.origins {
            let lookup = tokio::net::lookup_host((&*origin.host, origin.port));
            let had = before.iter().filter(|a| Arc::ptr_eq(&a.origin, origin));
            match tokio::time::timeout(PATIENCE, lookup).await {
                Ok(Ok(sockets)) => {
                    for socket in sockets.take(MAX_ADDRESSES) {
                        let known = had.clone().find(|a| a.socket == socket);
                        now.push(known.cloned().unwrap_or_else(|| {
                            let origin = Arc::clone(origin);
                            Arc::new(Address::new(origin, socket, &self.settings))
                        }));
                    }
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(host = origin.host, "a name cannot be looked up");
                    now.extend(had.cloned());
                }
            }
        }
        self.addresses.store(Arc::new(now));
        *resolved = Some(Instant::now());
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
