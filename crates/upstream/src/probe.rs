//! How the addresses are: asked for, and told.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Limited};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Upstream,
    address::{Address, Connection, Failure},
    body::Outgoing,
    breaker::Probed,
};

/// Of the answer to a look at the health, at most.
const MAX_HEALTH_BYTES: usize = 64 * 1024;

/// How an upstream is at the moment.
#[derive(Clone, Debug)]
pub struct State {
    /// Was each address asked how it is, or is none to be asked? Until then all count as up.
    pub known: bool,
    pub in_flight: usize,
    pub upgraded: usize,
    pub addresses: Vec<AddressState>,
}

#[derive(Clone, Debug)]
pub struct AddressState {
    /// Address and port. Not for everybody's eyes.
    pub at: String,
    pub up: bool,
    pub down_for: Option<Duration>,
    /// Left alone by the breaker, or on trial.
    pub open: bool,
    pub in_flight: usize,
    /// Since the address is known: requests that were sent to it, and those that failed, as the breaker
    /// sees it.
    pub requests: u64,
    pub failures: u64,
}

impl State {
    /// Can any address take a request?
    pub fn is_up(&self) -> bool {
        self.addresses.iter().any(|address| address.up)
    }
}

impl Upstream {
    pub fn state(&self) -> State {
        let addresses = self.choice.addresses();
        let addresses = addresses.iter().map(|address| {
            let (down_since, open) =
                address.with_breaker(|breaker| (breaker.down_since(), breaker.is_open()));
            let (requests, failures) = address.counts();
            AddressState {
                requests,
                failures,
                at: address.socket.to_string(),
                up: down_since.is_none(),
                down_for: down_since.map(|since| since.elapsed()),
                open,
                in_flight: address.in_flight(),
            }
        });
        State {
            known: self.known.load(Ordering::Relaxed),
            addresses: addresses.collect(),
            in_flight: self.in_flight.now(),
            upgraded: self.upgraded.now(),
        }
    }

    /// Looks after the addresses until `stop`: their health, their names, their old connections.
    pub async fn watch(&self, stop: CancellationToken) {
        let every = |seconds| {
            let mut interval = interval(Duration::from_secs(seconds));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let mut names = every(self.settings.resolve_seconds);
        let mut health = every(self.settings.health.interval_seconds);
        let mut old = every(self.settings.keep_idle_seconds);
        let has_names = self.choice.has_names();
        let has_health = !self.settings.health.path.is_empty();
        let work = async {
            loop {
                tokio::select! {
                    biased;
                    _ = names.tick(), if has_names => self.choice.resolve(Duration::ZERO).await,
                    _ = health.tick(), if has_health => self.probe_all().await,
                    _ = old.tick() => {
                        for address in self.choice.addresses().iter() {
                            address.sweep();
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn probe_all(&self) {
        let patience = Duration::from_secs(self.settings.health.timeout_seconds);
        let mut probes = JoinSet::new();
        for address in self.choice.addresses().iter() {
            let (address, path) = (Arc::clone(address), self.settings.health.path.clone());
            let name = self.name.clone();
            probes.spawn(async move {
                let health = timeout(patience, probe(&address, &path)).await;
                let (health, why) = health.unwrap_or((Probed::Silent, "no answer".to_owned()));
                let (before, after) = address.with_breaker(|breaker| {
                    let before = breaker.is_unhealthy();
                    breaker.probed(Instant::now(), health);
                    (before, breaker.is_unhealthy())
                });
                let at = address.socket;
                match (before, after) {
                    (false, true) => tracing::warn!(upstream = name, %at, why, "not well"),
                    (true, false) => tracing::info!(upstream = name, %at, "well again"),
                    _ => {}
                }
            });
        }
        while probes.join_next().await.is_some() {}
        self.known.store(true, Ordering::Relaxed);
    }
}

/// Asks one address; with why it is not well.
async fn probe(address: &Arc<Address>, path: &str) -> (Probed, String) {
    let (body, _) = Outgoing::new(Body::empty());
    let mut request = match Request::get(path).body(body) {
        Ok(request) => request,
        Err(error) => return (Probed::Bad, error.to_string()),
    };
    let headers = request.headers_mut();
    headers.insert(header::HOST, address.origin.authority.clone());
    let agent = HeaderValue::from_static("banyan-health");
    headers.insert(header::USER_AGENT, agent);
    let (answer, sender) = match address.send(request, Connection::Any).await {
        Ok(sent) => sent,
        Err(Failure::NotSent(_, why)) => return (Probed::Bad, why),
        Err(Failure::Broken(error)) => return (Probed::Silent, error.to_string()),
    };
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_HEALTH_BYTES);
    if body.collect().await.is_ok() {
        address.keep(sender);
    }
    if status.as_u16() < 400 {
        (Probed::Good, String::new())
    } else {
        (Probed::Bad, format!("{path} was answered with {status}"))
    }
}
