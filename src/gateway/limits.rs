//! Rates per client: an IPv4 address, or the /64 network of an IPv6 address, of which one client
//! usually has all. Instances count together ([`sharing`](super::sharing)).

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use kernel::{Problem, principal::ClientAddress};

use super::sharing::Spent;
use crate::config::Gateway;

type Limiter = DefaultKeyedRateLimiter<IpAddr>;

/// Idle clients are forgotten whenever so many are known.
const SWEEP_AT: usize = 10_000;

/// So many requests per client and no more.
pub struct Rate {
    /// Which one it is, to other instances.
    name: Arc<str>,
    limiter: Limiter,
    spent: Arc<Spent>,
    /// So many requests of a client are told to other instances at once.
    much: u32,
    started: Instant,
    /// The second, since then, of the last sweep.
    swept: AtomicU64,
    refused: AtomicU64,
}

impl Rate {
    /// Nothing for 0: no limit.
    pub fn per_minute(name: &str, requests: u32, spent: &Arc<Spent>) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(requests)?);
        Some(Self {
            name: name.into(),
            spent: Arc::clone(spent),
            much: requests.div_ceil(100),
            limiter: RateLimiter::keyed(quota),
            started: Instant::now(),
            swept: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Counts a request; refuses it when its client has sent too many.
    pub fn check(&self, address: IpAddr) -> Result<(), Problem> {
        self.sweep();
        let client = network(address);
        let checked = self.limiter.check_key(&client);
        if checked.is_ok() {
            self.spent.add(&self.name, client, self.much);
        }
        checked.map_err(|refused| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let wait = refused.wait_time_from(governor::clock::DefaultClock::default().now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(60) + 1;
            too_many(
                "Your network has sent more than its share; wait a little.",
                seconds,
            )
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests it has refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Another instance has let so many requests of a client pass. It tells of a few at a time: who
    /// claims more is believed no more than that.
    pub fn heard(&self, client: IpAddr, count: u32) {
        for _ in 0..count.min(self.much.saturating_mul(10)) {
            if self.limiter.check_key(&client).is_err() {
                return;
            }
        }
    }

    /// Forgets clients that rest: when many are known, and once a second at most, for it looks at each.
    fn sweep(&self) {
        if self.limiter.len() <= SWEEP_AT {
            return;
        }
        let now = self.started.elapsed().as_secs();
        if self.swept.swap(now, Ordering::Relaxed) != now {
            self.limiter.retain_recent();
        }
    }
}

pub struct Limits {
    auth: Option<Rate>,
    other: Option<Rate>,
}

impl Limits {
    pub fn new(config: &Gateway, spent: &Arc<Spent>) -> Self {
        Self {
            auth: Rate::per_minute("auth", config.auth_requests_per_minute, spent),
            other: Rate::per_minute("other", config.requests_per_minute, spent),
        }
    }

    /// Counts the request; refuses it when its client has sent too many.
    pub fn check(&self, class: Class, request: &Request) -> Result<(), Problem> {
        let rate = match class {
            Class::Auth => self.auth.as_ref(),
            _ if request.uri().path().starts_with("/health/") => None,
            Class::Read | Class::Write => self.other.as_ref(),
        };
        match (rate, client(request)) {
            (Some(rate), Some(address)) => rate.check(address),
            _ => Ok(()),
        }
    }

    pub fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.auth.iter().chain(&self.other)
    }
}

/// What a request is, to limits and to those who count requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Sign-in and sign-up: where passwords and codes are guessed, and hashes cost.
    Auth,
    Read,
    Write,
}

impl Class {
    pub fn of(request: &Request) -> Self {
        let path = request.uri().path();
        // Refresh tokens cannot be guessed, and people behind one address refresh all day.
        let guessable = (path.starts_with("/api/v1/auth/") || path == "/setup")
            && !["/api/v1/auth/refresh", "/api/v1/auth/logout"].contains(&path);
        match *request.method() {
            Method::POST if guessable => Self::Auth,
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Read,
            _ => Self::Write,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

pub(super) fn too_many(why: &str, retry_after_seconds: u32) -> Problem {
    let status = StatusCode::TOO_MANY_REQUESTS;
    Problem::new(status, "too-many-requests", "Too many requests")
        .detail(why)
        .retry_after(retry_after_seconds)
}

/// Where the request comes from, as the edge established it.
pub(super) fn client(request: &Request) -> Option<IpAddr> {
    let client = request.extensions().get::<ClientAddress>();
    client.and_then(|client| client.0)
}

/// What counts as one client.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
