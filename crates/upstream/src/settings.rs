//! What can be said about an upstream in the configuration.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};
use url::Url;

/// One service: where it is, and how much of it is asked. Part of a TOML section; every key but `at`
/// has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `http://host:port` or `https://host:port`: one, or a list. Every address of a name is one
    /// to choose from.
    #[serde(deserialize_with = "one_or_many")]
    pub at: Vec<Url>,
    /// How often names are looked up again, in seconds.
    pub resolve_seconds: u64,
    /// Pass on the client's Host, or name the upstream's own?
    pub keep_host: bool,
    /// Certificate authorities (PEM) in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key (PEM), for mutual TLS.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Time to connect, the TLS handshake included, in seconds.
    pub connect_timeout_seconds: u64,
    /// Time until the head of an answer, in seconds: to GET, HEAD and OPTIONS, and to all else. An
    /// answer that has begun may go on as long as it likes.
    pub read_timeout_seconds: u64,
    pub write_timeout_seconds: u64,
    /// How long an answer that has begun may pause, in seconds.
    pub idle_timeout_seconds: u64,
    /// Requests in flight, at most; more are refused.
    pub max_in_flight: usize,
    /// Connections kept per address for the next request, and for how long, in seconds. Less than
    /// the server's own patience, or it hangs up on a request.
    pub max_idle: usize,
    pub keep_idle_seconds: u64,
    /// Protocols that a connection may change to (the Upgrade header), how many such connections
    /// are held open at most, and how long one may be silent, in seconds.
    pub upgrades: Vec<String>,
    pub max_upgraded: usize,
    pub upgraded_idle_seconds: u64,
    /// Second tries at the same time, in percent of the requests in flight; `retry_floor` are
    /// always possible.
    pub retry_percent: usize,
    pub retry_floor: usize,
    pub breaker: Breaker,
    pub health: Health,
}

/// When an address is left alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// What is looked back on, in seconds.
    pub window_seconds: u64,
    /// With fewer requests in the window nothing is concluded.
    pub min_requests: u32,
    /// Failures in the window, in percent, from which the address is left alone.
    pub error_percent: u32,
    /// Connections in a row that could not be made or broke, from which it is.
    pub broken_in_a_row: u32,
    /// For how long, in seconds: the first time, and at most. Each time in a row doubles it.
    pub open_seconds: u64,
    pub max_open_seconds: u64,
    /// Requests that then try whether it works again.
    pub trials: u32,
}

/// Asking an address how it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// What is asked for; any answer below 400 is good. Empty: nothing is.
    pub path: String,
    /// How often, and how long an answer may take, in seconds.
    pub interval_seconds: u64,
    pub timeout_seconds: u64,
    /// Questions in a row without an answer from which the address is down; an answer that says so,
    /// or nobody there to ask, is enough at once.
    pub failures: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at: Vec::new(),
            resolve_seconds: 30,
            keep_host: true,
            ca_file: None,
            cert_file: None,
            key_file: None,
            connect_timeout_seconds: 2,
            read_timeout_seconds: 15,
            write_timeout_seconds: 30,
            idle_timeout_seconds: 60,
            max_in_flight: 1_000,
            max_idle: 100,
            keep_idle_seconds: 15,
            upgrades: vec!["websocket".to_owned()],
            max_upgraded: 1_000,
            upgraded_idle_seconds: 300,
            retry_percent: 20,
            retry_floor: 3,
            breaker: Breaker::default(),
            health: Health::default(),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            window_seconds: 10,
            min_requests: 20,
            error_percent: 50,
            broken_in_a_row: 5,
            open_seconds: 1,
            max_open_seconds: 30,
            trials: 3,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: String::new(),
            interval_seconds: 5,
            timeout_seconds: 2,
            failures: 3,
        }
    }
}

/// More addresses than that are a mistake.
const MAX_URLS: usize = 64;

impl Settings {
    /// Everything that is wrong, each with the key that it is about.
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.at.is_empty() || self.at.len() > MAX_URLS {
            faults.push(format!("at: 1 to {MAX_URLS} addresses are possible"));
        }
        for url in &self.at {
            // Not the URL itself: it may hold a password.
            let host = url.host_str().unwrap_or_default();
            let plain = url.username().is_empty()
                && url.password().is_none()
                && matches!(url.path(), "" | "/")
                && url.query().is_none()
                && url.fragment().is_none();
            if !matches!(url.scheme(), "http" | "https") || host.is_empty() || !plain {
                faults.push(format!(
                    "at: write an address as http://host:port or https://host:port, with nothing \
                     more ({host:?})"
                ));
            }
        }
        if let Err(error) = crate::tls::config(self) {
            faults.push(error.to_string());
        }
        if !self.health.path.is_empty() && !self.health.path.starts_with('/') {
            faults.push("health.path begins with /".to_owned());
        }
        for token in &self.upgrades {
            if !token.bytes().all(|b| b.is_ascii_alphanumeric())
                || token.eq_ignore_ascii_case("h2c")
            {
                faults.push(format!("upgrades: {token:?} cannot be passed on"));
            }
        }
        for (key, value, least, most) in self.ranges() {
            if !(least..=most).contains(&value) {
                faults.push(format!("{key} is {value}: {least} to {most} are possible"));
            }
        }
        faults
    }

    fn ranges(&self) -> [(&'static str, u64, u64, u64); 22] {
        let (breaker, health) = (&self.breaker, &self.health);
        [
            ("resolve_seconds", self.resolve_seconds, 1, 86_400),
            (
                "connect_timeout_seconds",
                self.connect_timeout_seconds,
                1,
                60,
            ),
            ("read_timeout_seconds", self.read_timeout_seconds, 1, 3_600),
            (
                "write_timeout_seconds",
                self.write_timeout_seconds,
                1,
                3_600,
            ),
            ("idle_timeout_seconds", self.idle_timeout_seconds, 1, 86_400),
            ("max_in_flight", self.max_in_flight as u64, 1, 1_000_000),
            ("max_idle", self.max_idle as u64, 0, 10_000),
            ("keep_idle_seconds", self.keep_idle_seconds, 1, 3_600),
            ("max_upgraded", self.max_upgraded as u64, 0, 1_000_000),
            (
                "upgraded_idle_seconds",
                self.upgraded_idle_seconds,
                1,
                86_400,
            ),
            ("retry_percent", self.retry_percent as u64, 0, 100),
            ("retry_floor", self.retry_floor as u64, 0, 1_000),
            ("breaker.window_seconds", breaker.window_seconds, 1, 3_600),
            (
                "breaker.min_requests",
                breaker.min_requests.into(),
                1,
                1_000_000,
            ),
            (
                "breaker.error_percent",
                breaker.error_percent.into(),
                1,
                100,
            ),
            (
                "breaker.broken_in_a_row",
                breaker.broken_in_a_row.into(),
                1,
                1_000,
            ),
            ("breaker.open_seconds", breaker.open_seconds, 1, 3_600),
            (
                "breaker.max_open_seconds",
                breaker.max_open_seconds,
                breaker.open_seconds,
                3_600,
            ),
            ("breaker.trials", breaker.trials.into(), 1, 100),
            ("health.interval_seconds", health.interval_seconds, 1, 3_600),
            ("health.timeout_seconds", health.timeout_seconds, 1, 60),
            ("health.failures", health.failures.into(), 1, 100),
        ]
    }

    pub(crate) fn head_timeout(&self, method: &http::Method) -> Duration {
        Duration::from_secs(if crate::is_safe(method) {
            self.read_timeout_seconds
        } else {
            self.write_timeout_seconds
        })
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Url>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "an address such as \"http://10.0.0.5:8080\", or a list of them"
    )]
    enum OneOrMany {
        One(Url),
        Many(Vec<Url>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(url) => vec![url],
        OneOrMany::Many(urls) => urls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        match toml::from_str::<Settings>(text) {
            Ok(settings) => settings.check().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_is_enough() {
        assert_eq!(faults("at = 'http://127.0.0.1:80'"), "");
        assert_eq!(faults("at = ['http://a', 'https://b:1']"), "");
    }

    #[test]
    fn bad_keys_are_named() {
        for (text, named) in [
            ("", "at:"),
            ("at = []", "at:"),
            ("at = 'http://a/path'", "at:"),
            ("at = 'ftp://a'", "at:"),
            ("at = 'nonsense'", "an address such as"),
            ("at = 'http://a'\nretries = 3", "retries"),
            ("at = 'http://a'\nmax_in_flight = 0", "max_in_flight"),
            (
                "at = 'http://a'\n[breaker]\nerror_percent = 101",
                "breaker.error_percent",
            ),
            (
                "at = 'http://a'\nbreaker = { max_open_seconds = 0 }",
                "breaker.max_open_seconds",
            ),
            ("at = 'http://a'\nhealth = { path = 'live' }", "health.path"),
            ("at = 'http://a'\nupgrades = ['h2c']", "upgrades"),
            ("at = 'https://a'\nca_file = '/nowhere.pem'", "ca_file"),
            ("at = 'https://a'\ncert_file = '/nowhere.pem'", "key_file"),
        ] {
            let said = faults(text);
            assert!(said.contains(named), "{text:?}: {said:?}");
        }
        let secret = faults("at = 'http://me:hunter2@a'");
        assert!(
            secret.contains("at:") && !secret.contains("hunter2"),
            "{secret}"
        );
    }
}
