//! `[bus]`: how events travel.

use std::{path::PathBuf, time::Duration};

use bus::transport::nats;
use kernel::Secret;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    pub transport: Transport,
    pub lease_seconds: u64,
    pub batch: i64,
    pub log_keep_days: u64,
    pub nats: Nats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    InProcess,
    Nats,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    pub urls: Vec<String>,
    pub prefix: String,
    pub inbox_prefix: String,
    pub user: String,
    pub password: Secret,
    pub token: Secret,
    pub nkey_secret: Secret,
    pub credentials: Secret,
    pub tls_required: bool,
    pub tls_ca_file: PathBuf,
    pub tls_cert_file: PathBuf,
    pub tls_key_file: PathBuf,
    pub keep_days: u64,
    pub stream_max_bytes: i64,
    pub replicas: usize,
}

impl Nats {
    pub fn settings(&self) -> nats::Settings {
        let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        nats::Settings {
            urls: self.urls.clone(),
            prefix: self.prefix.clone(),
            inbox_prefix: self.inbox_prefix.clone(),
            credentials: self.credentials(),
            tls: nats::Tls {
                required: self.tls_required,
                ca_file: file(&self.tls_ca_file),
                client: file(&self.tls_cert_file).zip(file(&self.tls_key_file)),
            },
            keep: Duration::from_secs(self.keep_days * 24 * 3_600),
            max_bytes: (self.stream_max_bytes > 0).then_some(self.stream_max_bytes),
            replicas: self.replicas,
        }
    }

    /// Does it sign in as somebody? A client's certificate may say who it is as well.
    pub(super) fn has_credentials(&self) -> bool {
        let certificate = !self.tls_cert_file.as_os_str().is_empty();
        certificate || !matches!(self.credentials(), nats::Credentials::None)
    }

    fn credentials(&self) -> nats::Credentials {
        if !self.user.is_empty() {
            return nats::Credentials::Password {
                user: self.user.clone(),
                password: self.password.clone(),
            };
        }
        let given = |secret: &Secret| (!secret.expose().is_empty()).then(|| secret.clone());
        None.or_else(|| given(&self.token).map(nats::Credentials::Token))
            .or_else(|| given(&self.nkey_secret).map(nats::Credentials::Nkey))
            .or_else(|| given(&self.credentials).map(nats::Credentials::Jwt))
            .unwrap_or_default()
    }

    /// What is wrong with it, if it is used.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut need = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        need(
            !self.urls.is_empty(),
            "bus.nats.urls must name a server: nats://host:4222",
        );
        let known = |url: &String| url.starts_with("nats://") || url.starts_with("tls://");
        need(
            self.urls.iter().all(known),
            "bus.nats.urls must begin with nats:// or tls://",
        );
        need(
            self.urls.iter().all(|url| !url.contains('@')),
            "bus.nats.urls hold no credentials: they have keys of their own",
        );
        let named = self.prefix.len() <= 32
            && self.prefix.starts_with(|c: char| c.is_ascii_lowercase())
            && self
                .prefix
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        need(
            named,
            "bus.nats.prefix is lowercase letters, digits and _, from a letter, at most 32",
        );
        // What a subject's token may be, and no more.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        need(
            (1..=64).contains(&self.inbox_prefix.len()) && self.inbox_prefix.bytes().all(plain),
            "bus.nats.inbox_prefix is letters, digits, _ and -, at most 64",
        );
        let ways = [
            &self.token,
            &self.nkey_secret,
            &self.credentials,
            &self.password,
        ];
        let ways = ways.iter().filter(|way| !way.expose().is_empty()).count();
        need(
            ways <= 1,
            "bus.nats has more than one of password, token, nkey_secret and credentials: keep one",
        );
        need(
            self.user.is_empty() == self.password.expose().is_empty(),
            "bus.nats.user and bus.nats.password go together",
        );
        need(
            self.tls_cert_file.as_os_str().is_empty() == self.tls_key_file.as_os_str().is_empty(),
            "bus.nats.tls_cert_file and bus.nats.tls_key_file go together",
        );
        need(
            (1..=365).contains(&self.keep_days),
            "bus.nats.keep_days: 1 to 365 are possible",
        );
        need(
            (1..=5).contains(&self.replicas),
            "bus.nats.replicas: 1 to 5 are possible",
        );
        need(
            self.stream_max_bytes >= 0,
            "bus.nats.stream_max_bytes is 0, for no bound, or more",
        );
        faults
    }
}
