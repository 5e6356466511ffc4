//! Signing in to NATS, and staying there.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};
use kernel::Secret;
use tokio::sync::watch;

/// How NATS is reached, and what is kept there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `nats://host:port` or `tls://host:port`; the first that answers is used.
    pub urls: Vec<String>,
    /// Begins every subject and stream: installations may share a server.
    pub prefix: String,
    /// Begins the subjects that answers to this process come to: who may listen there may read them.
    pub inbox_prefix: String,
    pub credentials: Credentials,
    pub tls: Tls,
    /// How long streams keep events; the publishers' logs keep them longer.
    pub keep: Duration,
    /// What a stream may take on the server's disk, in bytes; none for no bound of its own.
    pub max_bytes: Option<i64>,
    /// Copies of each stream, in a cluster of servers.
    pub replicas: usize,
}

#[derive(Clone, Debug, Default)]
pub enum Credentials {
    #[default]
    None,
    Password {
        user: String,
        password: Secret,
    },
    Token(Secret),
    /// The seed of an nkey.
    Nkey(Secret),
    /// A JWT and a seed, in the form of the files that `nsc` makes.
    Jwt(Secret),
}

impl Credentials {
    /// Where they come from, for whoever has to correct them.
    fn keys(&self) -> &'static str {
        match self {
            Self::None => {
                "it wants credentials: bus.nats.user and password, token, nkey_secret or credentials"
            }
            Self::Password { .. } => "see bus.nats.user and bus.nats.password",
            Self::Token(_) => "see bus.nats.token",
            Self::Nkey(_) => "see bus.nats.nkey_secret",
            Self::Jwt(_) => "see bus.nats.credentials",
        }
    }
}

/// Servers at `tls://` are verified against these, or the authorities that the machine trusts.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    pub required: bool,
    pub ca_file: Option<PathBuf>,
    /// Certificate and key of this client, for servers that ask.
    pub client: Option<(PathBuf, PathBuf)>,
}

const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// A connection that says nothing for two of these is given up.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The client, and how often it has connected.
pub(super) async fn connect(
    settings: &Settings,
) -> Result<(Client, watch::Receiver<u64>), anyhow::Error> {
    let (counter, connections) = watch::channel(0);
    let connected = options(settings, counter.clone())?;
    match connected.connect(&settings.urls).await {
        Ok(client) => Ok((client, connections)),
        Err(error) if is_tls(&error) => {
            Err(error).with_context(|| format!("TLS with NATS at {}", settings.urls.join(", ")))
        }
        Err(error) if is_refused(&error) => bail!(
            "NATS at {} does not let this process in ({error}): {}",
            settings.urls.join(", "),
            settings.credentials.keys()
        ),
        Err(error) => {
            tracing::warn!(
                %error,
                urls = settings.urls.join(", "),
                "NATS cannot be reached yet: events wait in their logs"
            );
            let patient = options(settings, counter)?.retry_on_initial_connect();
            Ok((patient.connect(&settings.urls).await?, connections))
        }
    }
}

fn is_refused(error: &ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::ServerParse
    )
}

/// Certificates of either side that do not do, files that cannot be read, a server without TLS: another
/// try would fail in the same way.
fn is_tls(error: &ConnectError) -> bool {
    match error.kind() {
        ConnectErrorKind::Tls => true,
        // What rustls does not agree to comes as an I/O error of this kind.
        ConnectErrorKind::Io => error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData),
        _ => false,
    }
}

fn options(
    settings: &Settings,
    counter: watch::Sender<u64>,
) -> Result<ConnectOptions, anyhow::Error> {
    let mut options = ConnectOptions::new()
        .name("banyan")
        .custom_inbox_prefix(&settings.inbox_prefix)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(super::ANSWER_TIMEOUT))
        .require_tls(settings.tls.required)
        .reconnect_delay_callback(|attempts| {
            let exponent = u32::try_from(attempts.min(6)).expect("six at most");
            (Duration::from_millis(25) * 2_u32.pow(exponent)).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            let counter = counter.clone();
            async move { told(&event, &counter) }
        });
    options = match &settings.credentials {
        Credentials::None => options,
        Credentials::Password { user, password } => {
            options.user_and_password(user.clone(), password.expose().to_owned())
        }
        Credentials::Token(token) => options.token(token.expose().to_owned()),
        Credentials::Nkey(seed) => options.nkey(seed.expose().trim().to_owned()),
        Credentials::Jwt(text) => options
            .credentials(text.expose())
            .context("bus.nats.credentials")?,
    };
    if let Some(path) = &settings.tls.ca_file {
        options = options.add_root_certificates(readable("tls_ca_file", path)?);
    }
    if let Some((certificate, key)) = &settings.tls.client {
        options = options.add_client_certificate(
            readable("tls_cert_file", certificate)?,
            readable("tls_key_file", key)?,
        );
    }
    Ok(options)
}

/// The client would not say which file it missed.
fn readable(key: &str, path: &Path) -> Result<PathBuf, anyhow::Error> {
    std::fs::File::open(path).with_context(|| format!("bus.nats.{key}: {}", path.display()))?;
    Ok(path.to_owned())
}

fn told(event: &Event, counter: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            counter.send_modify(|n| *n += 1);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected => tracing::warn!("NATS is away: events wait in their logs"),
        Event::SlowConsumer(_) => tracing::warn!("NATS delivers more than is taken"),
        // What is not allowed fails without a word to who asked for it.
        Event::ServerError(error) => tracing::warn!(
            %error,
            "NATS refuses: docs/nats.md has the rights that each user needs (of \"_INBOX\": \
             bus.nats.inbox_prefix)"
        ),
        other => tracing::debug!(event = %other, "NATS"),
    }
}
