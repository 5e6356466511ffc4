//! Rates per client: an IPv4 address, or the /64 network of an IPv6 address, of which one client
//! usually has all.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use kernel::{Problem, principal::ClientAddress};

use crate::config::Gateway;

type Limiter = DefaultKeyedRateLimiter<IpAddr>;

/// Idle clients are forgotten whenever so many are known.
const SWEEP_AT: usize = 10_000;

pub struct Limits {
    auth: Option<Limiter>,
    other: Option<Limiter>,
    started: Instant,
    /// The second, since then, of the last sweep.
    swept: AtomicU64,
}

impl Limits {
    pub fn new(config: &Gateway) -> Self {
        let limiter = |per_minute| {
            let per_minute = NonZeroU32::new(per_minute)?;
            Some(RateLimiter::keyed(Quota::per_minute(per_minute)))
        };
        Self {
            auth: limiter(config.auth_requests_per_minute),
            other: limiter(config.requests_per_minute),
            started: Instant::now(),
            swept: AtomicU64::new(0),
        }
    }

    /// Counts the request; refuses it when its client has sent too many.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        let address = request
            .extensions()
            .get::<ClientAddress>()
            .and_then(|client| client.0);
        let (Some(limiter), Some(address)) = (self.class(request), address) else {
            return Ok(());
        };
        self.sweep(limiter);
        limiter.check_key(&network(address)).map_err(|refused| {
            let wait = refused.wait_time_from(governor::clock::DefaultClock::default().now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(60) + 1;
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            )
            .detail("Your network has sent more than its share; wait a little.")
            .retry_after(seconds)
        })
    }

    /// Forgets clients that rest: when many are known, and once a second at most, for it looks at each.
    fn sweep(&self, limiter: &Limiter) {
        if limiter.len() <= SWEEP_AT {
            return;
        }
        let now = self.started.elapsed().as_secs();
        if self.swept.swap(now, Ordering::Relaxed) != now {
            limiter.retain_recent();
        }
    }

    /// Sign-in and sign-up: where passwords and codes are guessed, and hashes cost.
    fn class(&self, request: &Request) -> Option<&Limiter> {
        let path = request.uri().path();
        // Refresh tokens cannot be guessed, and people behind one address refresh all day.
        let guessable = (path.starts_with("/api/v1/auth/") || path == "/setup")
            && !["/api/v1/auth/refresh", "/api/v1/auth/logout"].contains(&path);
        if guessable && request.method() == Method::POST {
            self.auth.as_ref()
        } else if path.starts_with("/health/") {
            None
        } else {
            self.other.as_ref()
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
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
