//! The access token of this process, where it acts as a service: towards other processes of the
//! installation.
//!
//! It signs in with client credentials (RFC 6749 §4.4) when a token is first asked for, holds the
//! token, and renews it ahead of its end. One fetch at a time serves all who wait, and a failure is
//! their answer for a while: a publisher that is down is not stormed when it comes back.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kernel::Secret;
use reqwest::Client;
use serde::Deserialize;
use tokio::sync::watch;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::{config::Config, http_client::bounded_body};

/// A fetch that takes longer has failed.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A token and some words about it.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// A token is not used so shortly before its end: requests travel, and clocks differ. Of a short
/// life it is a quarter.
const MARGIN: Duration = Duration::from_secs(30);
/// Longest use of one token, whatever the answer says.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// After a first failure, and at most after several.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A token that is refused although it is as new as this is not the fault.
const NEW: Duration = Duration::from_secs(10);

/// Why there is no token. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// With the code of RFC 6749 §5.2, such as `invalid_client`, if there was one.
    #[error("{url} refuses the service {id}: {status} {code}")]
    Refused {
        url: Url,
        id: String,
        status: u16,
        code: String,
    },
    #[error("no token from {url}: {why}")]
    Unavailable { url: Url, why: String },
}

/// Signs in as the service of the section `[service]`.
pub struct ServiceToken {
    id: String,
    secret: Secret,
    url: Url,
    http: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failure: Option<Failure>,
    /// Closes with the fetch, however that ends.
    running: Option<watch::Receiver<()>>,
}

struct Held {
    token: Secret,
    fetched_at: Instant,
    /// From then on, the next is fetched while this one is used.
    renew_at: Instant,
    /// From then on it is not used.
    end: Instant,
}

struct Failure {
    error: Error,
    /// One after the other.
    count: u32,
    /// Until then it is the answer.
    until: Instant,
}

impl ServiceToken {
    /// Nothing when `[service]` is not set: then this process acts as nobody.
    pub fn new(config: &Config, http: Client) -> Option<Arc<Self>> {
        let service = &config.host.service;
        if service.id.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            id: service.id.clone(),
            secret: service.secret.clone(),
            url: config.token_url(),
            http,
            state: Mutex::default(),
        }))
    }

    /// A token that is good for a while yet. Waits for one fetch at most.
    pub async fn get(self: &Arc<Self>) -> Result<Secret, Error> {
        self.get_at(Instant::now()).await
    }

    /// Somebody refused the token: it was revoked, perhaps. The next call fetches another, unless
    /// this one is that.
    pub fn refused(&self, token: &Secret) {
        self.refused_at(token, Instant::now());
    }

    fn refused_at(&self, token: &Secret, now: Instant) {
        let mut state = self.state.lock().expect("no holder panics");
        let refused = |held: &mut Held| {
            held.token.expose() == token.expose() && now.duration_since(held.fetched_at) >= NEW
        };
        state.held.take_if(refused);
    }

    async fn get_at(self: &Arc<Self>, now: Instant) -> Result<Secret, Error> {
        let mut running = {
            let mut state = self.state.lock().expect("no holder panics");
            let running = state.running.clone();
            let running = running.filter(|running| running.has_changed().is_ok());
            let failed = state.failure_at(now);
            match (state.held_at(now), running, failed) {
                (Some(held), running, failed) => {
                    let token = held.token.clone();
                    if now >= held.renew_at && running.is_none() && failed.is_none() {
                        self.begin(&mut state, now);
                    }
                    return Ok(token);
                }
                (None, Some(running), _) => running,
                (None, None, Some(error)) => return Err(error),
                (None, None, None) => self.begin(&mut state, now),
            }
        };
        // Nothing is ever sent: it ends when the sender is dropped.
        let _ = running.changed().await;
        let state = self.state.lock().expect("no holder panics");
        match state.held_at(now) {
            Some(held) => Ok(held.token.clone()),
            None => Err(state
                .failure_at(now)
                .unwrap_or_else(|| self.unavailable("the fetch was given up"))),
        }
    }

    /// On a task of its own: a caller that gives up must not take the token of all others with it.
    fn begin(self: &Arc<Self>, state: &mut State, now: Instant) -> watch::Receiver<()> {
        let (ended, running) = watch::channel(());
        state.running = Some(running.clone());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let began = Instant::now();
            let fetched = this.fetch().await;
            if let Err(error) = &fetched {
                // Processes start in any order, and one may be away: who needs the token says what waits.
                tracing::info!(%error, "no token for this service");
            }
            let ended_at = now + began.elapsed();
            let mut state = this.state.lock().expect("no holder panics");
            state.take_in(fetched, now, ended_at);
            drop((state, ended));
        });
        running
    }

    async fn fetch(&self) -> Result<Grant, Error> {
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        // Each half is encoded before it goes into the header (RFC 6749 §2.3.1).
        let secret = Zeroizing::new(encoded(self.secret.expose()));
        let answer = self
            .http
            .post(self.url.clone())
            .timeout(FETCH_TIMEOUT)
            .basic_auth(encoded(&self.id), Some(&*secret))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await
            .map_err(|error| self.unavailable(error.without_url()))?;
        let status = answer.status();
        let body = bounded_body(answer, MAX_ANSWER_BYTES).await;
        let body = Zeroizing::new(body.map_err(|error| self.unavailable(error))?);
        if status.is_client_error() {
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            return Err(Error::Refused {
                url: self.url.clone(),
                id: self.id.clone(),
                status: status.as_u16(),
                code: refusal.code(),
            });
        }
        if !status.is_success() {
            return Err(self.unavailable(format_args!("the answer is {status}")));
        }
        let grant: Option<Grant> = serde_json::from_slice(&body).ok();
        grant
            .filter(Grant::is_usable)
            .ok_or_else(|| self.unavailable("the answer holds no bearer token"))
    }

    fn unavailable(&self, why: impl std::fmt::Display) -> Error {
        Error::Unavailable {
            url: self.url.clone(),
            why: why.to_string(),
        }
    }
}

impl State {
    fn held_at(&self, now: Instant) -> Option<&Held> {
        self.held.as_ref().filter(|held| now < held.end)
    }

    fn failure_at(&self, now: Instant) -> Option<Error> {
        let failure = self.failure.as_ref().filter(|failure| now < failure.until);
        failure.map(|failure| failure.error.clone())
    }

    /// What came of a fetch. A token's life counts from before it was asked for.
    fn take_in(&mut self, fetched: Result<Grant, Error>, began: Instant, ended: Instant) {
        match fetched {
            Ok(grant) => {
                let life = Duration::from_secs(grant.expires_in).min(MAX_LIFE);
                let usable = life - MARGIN.min(life / 4);
                self.failure = None;
                self.held = Some(Held {
                    token: grant.access_token,
                    fetched_at: began,
                    renew_at: began + usable * 3 / 4,
                    end: began + usable,
                });
            }
            Err(error) => {
                let count = self.failure.as_ref().map_or(0, |failure| failure.count) + 1;
                let pause = (PAUSE * 2_u32.pow(count.min(6) - 1)).min(PAUSE_MAX);
                self.failure = Some(Failure {
                    error,
                    count,
                    until: ended + pause,
                });
            }
        }
    }
}

/// RFC 6749 §5.1.
#[derive(Deserialize)]
struct Grant {
    access_token: Secret,
    token_type: String,
    /// Seconds.
    expires_in: u64,
}

impl Grant {
    /// Can it go into a header, and is there time to use it?
    fn is_usable(&self) -> bool {
        let token = self.access_token.expose();
        self.token_type.eq_ignore_ascii_case("bearer")
            && self.expires_in > 0
            && !token.is_empty()
            && token.bytes().all(|c| c.is_ascii_graphic())
    }
}

/// RFC 6749 §5.2.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
}

impl Refusal {
    /// Goes into logs: only what looks like a code.
    fn code(self) -> String {
        let code = self.error.len() <= 40
            && self
                .error
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c == b'_');
        if code { self.error } else { String::new() }
    }
}

#[cfg(test)]
mod tests;
