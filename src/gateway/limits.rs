//! Rates: of sign-ins, of reads and of writes, each per caller. Instances count together
//! ([`sharing`](super::sharing)). What is left is told by the headers of
//! draft-ietf-httpapi-ratelimit-headers-10.

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroU32,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use kernel::{
    Module, Problem, UserId, Verifier,
    principal::{ClientAddress, network},
    routes::{Class, bearer},
};

use super::sharing::Spent;
use crate::config::Gateway;

type Limiter =
    RateLimiter<Caller, DefaultKeyedStateStore<Caller>, DefaultClock, StateInformationMiddleware>;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Idle callers are forgotten whenever so many are known.
const SWEEP_AT: usize = 10_000;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    User(UserId),
    Service(String),
    /// An IPv4 address, or the /64 network of an IPv6 address, of which one client usually has all.
    Network(IpAddr),
}

impl Caller {
    /// The one whose token the request carries, if that was verified before; else its network. So a
    /// token that nobody knows costs its network, however many are made up.
    pub fn of(request: &Request, verifier: &Verifier) -> Option<Self> {
        let known = bearer(request.headers()).and_then(|token| verifier.recall(token));
        match known {
            Some(claims) if claims.sid.is_some() => claims.sub.parse().ok().map(Self::User),
            Some(claims) => Some(Self::Service(claims.sub.clone())),
            None => Self::network_of(request),
        }
    }

    pub fn network_of(request: &Request) -> Option<Self> {
        client(request).map(|address| Self::Network(network(address)))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(id) => write!(f, "service:{id}"),
            Self::Network(address) => address.fmt(f),
        }
    }
}

impl FromStr for Caller {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(id) = text.strip_prefix("user:") {
            id.parse().map(Self::User).map_err(drop)
        } else if let Some(id) = text.strip_prefix("service:") {
            Ok(Self::Service(id.to_owned()))
        } else {
            text.parse().map(Self::Network).map_err(drop)
        }
    }
}

/// So many requests per caller and no more.
pub struct Rate {
    /// Which one it is, to other instances and to clients.
    name: Arc<str>,
    per_minute: NonZeroU32,
    policy: HeaderValue,
    limiter: Limiter,
    spent: Arc<Spent>,
    /// So many requests of a caller are told to other instances at once.
    much: u32,
    started: Instant,
    /// The second, since then, of the last sweep.
    swept: AtomicU64,
    refused: AtomicU64,
}

/// How a caller stands with a rate.
#[derive(Clone, Debug)]
pub struct Standing {
    policy: HeaderValue,
    now: HeaderValue,
}

impl Standing {
    /// Beside what a service outside says of rates of its own; in place of what another process of ours
    /// says, where its clients are known less well.
    pub fn write(self, headers: &mut HeaderMap, outside: bool) {
        if outside {
            headers.append(POLICY, self.policy);
            headers.append(LIMIT, self.now);
        } else {
            headers.insert(POLICY, self.policy);
            headers.insert(LIMIT, self.now);
        }
    }
}

impl Rate {
    /// Nothing for 0: no limit.
    pub fn per_minute(name: &str, requests: u32, spent: &Arc<Spent>) -> Option<Self> {
        let per_minute = NonZeroU32::new(requests)?;
        let policy = format!("{name:?};q={per_minute};w=60");
        Some(Self {
            name: name.into(),
            per_minute,
            policy: HeaderValue::try_from(policy).expect("names are plain"),
            spent: Arc::clone(spent),
            much: requests.div_ceil(100),
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute)).with_middleware(),
            started: Instant::now(),
            swept: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Counts a request; refuses it when its caller has sent too many.
    pub fn check(&self, caller: &Caller) -> Result<Standing, Problem> {
        self.sweep();
        match self.limiter.check_key(caller) {
            Ok(state) => {
                self.spent.add(&self.name, caller, self.much);
                let left = state.remaining_burst_capacity();
                let missing = self.per_minute.get().saturating_sub(left);
                let full_in = u64::from(missing) * 60 / u64::from(self.per_minute.get());
                Ok(self.standing(left, u32::try_from(full_in).unwrap_or(60) + 1))
            }
            Err(refused) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                let wait = refused.wait_time_from(DefaultClock::default().now());
                let seconds = seconds(wait);
                let Standing { policy, now } = self.standing(0, seconds);
                let why = match caller {
                    Caller::Network(_) => {
                        "Your network has sent more than its share; wait a little."
                    }
                    Caller::User(_) | Caller::Service(_) => {
                        "You have sent more than your share; wait a little."
                    }
                };
                let refusal = too_many(why, seconds);
                Err(refusal.header(POLICY, policy).header(LIMIT, now))
            }
        }
    }

    fn standing(&self, left: u32, seconds: u32) -> Standing {
        let now = format!("\"{}\";r={left};t={seconds}", self.name);
        Standing {
            policy: self.policy.clone(),
            now: HeaderValue::try_from(now).expect("names are plain"),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests it has refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Another instance has let so many requests of a caller pass. It tells of a few at a time: who
    /// claims more is believed no more than that.
    pub fn heard(&self, caller: &Caller, count: u32) {
        for _ in 0..count.min(self.much.saturating_mul(10)) {
            if self.limiter.check_key(caller).is_err() {
                return;
            }
        }
    }

    /// Forgets callers that rest: when many are known, and once a second at most, for it looks at each.
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

fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(60) + 1
}

pub struct Limits {
    auth: Option<Rate>,
    read: Option<Rate>,
    write: Option<Rate>,
    /// What counts as a sign-in: the method, and the segments of the path.
    guessable: Vec<(Method, Vec<String>)>,
}

impl Limits {
    pub fn new(config: &Gateway, modules: &[&dyn Module], spent: &Arc<Spent>) -> Self {
        let routes = modules.iter().flat_map(|module| module.api().routes);
        let guessable = routes.filter(|route| route.class == Class::Auth);
        let segments = |path: &str| path.split('/').map(str::to_owned).collect();
        Self {
            auth: Rate::per_minute("auth", config.auth_requests_per_minute, spent),
            read: Rate::per_minute("read", config.read_requests_per_minute, spent),
            write: Rate::per_minute("write", config.write_requests_per_minute, spent),
            guessable: guessable
                .map(|route| (route.method, segments(&route.path)))
                .collect(),
        }
    }

    /// Counts the request; refuses it when its caller has sent too many. Nothing where there is no limit.
    pub fn check(
        &self,
        class: Class,
        request: &Request,
        verifier: &Verifier,
    ) -> Result<Option<Standing>, Problem> {
        let rate = match class {
            Class::Auth => &self.auth,
            // Who looks whether the process lives is told, however often.
            _ if request.uri().path().starts_with("/health/") => &None,
            Class::Read => &self.read,
            Class::Write => &self.write,
        };
        let Some(rate) = rate else { return Ok(None) };
        let caller = match class {
            // Whoever has an account guesses others' passwords no oftener for that.
            Class::Auth => Caller::network_of(request),
            Class::Read | Class::Write => Caller::of(request, verifier),
        };
        caller.map(|caller| rate.check(&caller)).transpose()
    }

    /// Does it matter who calls?
    pub fn count_callers(&self) -> bool {
        self.read.is_some() || self.write.is_some()
    }

    pub fn rates(&self) -> impl Iterator<Item = &Rate> {
        self.auth.iter().chain(&self.read).chain(&self.write)
    }

    /// As what the module's route says; a method that is safe is none of them.
    pub fn class(&self, method: &Method, path: &str) -> Class {
        let class = Class::of(method);
        if class == Class::Read {
            return class;
        }
        let is = |(of, pattern): &(Method, Vec<String>)| of == method && matches(pattern, path);
        if self.guessable.iter().any(is) {
            Class::Auth
        } else {
            class
        }
    }
}

/// Is it a path of this route? A segment in braces is any.
fn matches(pattern: &[String], path: &str) -> bool {
    let mut segments = path.split('/');
    let all = pattern.iter().all(|p| {
        segments
            .next()
            .is_some_and(|s| p == s || p.starts_with('{'))
    });
    all && segments.next().is_none()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_and_read() {
        let user = UserId::from(uuid::Uuid::from_u128(7));
        for caller in [
            Caller::User(user),
            Caller::Service("reporter".to_owned()),
            Caller::Network("2001:db8::".parse().unwrap()),
        ] {
            assert_eq!(caller.to_string().parse(), Ok(caller));
        }
        assert!("user:7".parse::<Caller>().is_err());
        assert!("nobody".parse::<Caller>().is_err());
    }

    #[test]
    fn what_is_left_is_told_until_nothing_is() {
        let rate = Rate::per_minute("read", 60, &Arc::default()).unwrap();
        let caller = Caller::Service("reporter".to_owned());
        let other = Caller::Service("robot".to_owned());
        for left in (0..60).rev() {
            let mut headers = HeaderMap::new();
            rate.check(&caller)
                .expect("within it")
                .write(&mut headers, true);
            assert_eq!(headers[POLICY], "\"read\";q=60;w=60");
            let told = headers[LIMIT].to_str().unwrap();
            // A second may pass meanwhile, and brings one more.
            let read: u32 = told.split([';', '=']).nth(2).unwrap().parse().unwrap();
            assert!((left..left + 5).contains(&read), "{told}, {left} left");
        }
        let refused = (0..10)
            .find_map(|_| rate.check(&caller).err())
            .expect("too many");
        assert_eq!(refused.status, 429);
        assert!(rate.check(&other).is_ok(), "each for itself");
        assert!(Rate::per_minute("read", 0, &Arc::default()).is_none());
    }

    #[test]
    fn a_sign_in_is_what_its_module_says() {
        let config: Gateway = {
            let text = "auth_requests_per_minute = 1\nread_requests_per_minute = 1\n\
                        write_requests_per_minute = 1\nmax_in_flight_per_client = 1\n\
                        cors_origins = []\nadmin_allow = []\ncompression = true\nroutes = []\nnetworks = []";
            toml::from_str(text).unwrap()
        };
        let limits = Limits::new(&config, crate::modules::MODULES, &Arc::default());
        for (method, path, class) in [
            (Method::POST, "/api/v1/auth/login", Class::Auth),
            (
                Method::POST,
                "/api/v1/auth/registrations/7/verify",
                Class::Auth,
            ),
            (Method::POST, "/setup", Class::Auth),
            (Method::GET, "/setup", Class::Read),
            (Method::POST, "/api/v1/auth/refresh", Class::Write),
            (
                Method::POST,
                "/api/v1/auth/registrations/7/verify/8",
                Class::Write,
            ),
            (Method::POST, "/api/v1/auth", Class::Write),
            (Method::PATCH, "/api/v1/profiles/me", Class::Write),
            (Method::OPTIONS, "/api/v1/auth/login", Class::Read),
        ] {
            assert_eq!(limits.class(&method, path), class, "{method} {path}");
        }
    }
}
