//! One address: its connections, how many requests it has, and whether it is worth a try.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use url::Url;

use crate::{
    Settings,
    body::Outgoing,
    breaker::{Breaker, Outcome, Passage},
};

pub(crate) type Sender = http1::SendRequest<Outgoing>;

/// One of the configured URLs.
pub(crate) struct Origin {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the Host header has it.
    pub(crate) authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Origin {
    pub(crate) fn new(url: &Url, tls: &Arc<ClientConfig>) -> Option<Self> {
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let tls = match url.scheme() {
            "https" => {
                let name = ServerName::try_from(host.clone()).ok()?;
                Some((TlsConnector::from(Arc::clone(tls)), name))
            }
            _ => None,
        };
        Some(Self {
            port: url.port_or_known_default()?,
            authority: HeaderValue::from_str(url.authority()).ok()?,
            host,
            tls,
        })
    }
}

/// A connection at rest.
struct Idle {
    sender: Sender,
    since: Instant,
}

pub(crate) struct Address {
    pub(crate) origin: Arc<Origin>,
    pub(crate) socket: SocketAddr,
    connect_timeout: Duration,
    keep_idle: Duration,
    max_idle: usize,
    breaker: Mutex<Breaker>,
    idle: Mutex<Vec<Idle>>,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
}

/// Which connection a request goes over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// One at rest, if there is one.
    Any,
    /// A new one: that at rest has just failed.
    New,
}

/// Why an address gave no answer.
pub(crate) enum Failure {
    /// Not a byte was sent: the request is as good as new.
    NotSent(Box<Request<Outgoing>>, String),
    /// Sent, at least in part, and then the connection broke.
    Broken(hyper::Error),
}

impl Address {
    pub(crate) fn new(origin: Arc<Origin>, socket: SocketAddr, settings: &Settings) -> Self {
        let now = Instant::now();
        Self {
            origin,
            socket,
            connect_timeout: Duration::from_secs(settings.connect_timeout_seconds),
            keep_idle: Duration::from_secs(settings.keep_idle_seconds),
            max_idle: settings.max_idle,
            breaker: Mutex::new(Breaker::new(&settings.breaker, &settings.health, now)),
            idle: Mutex::new(Vec::new()),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Requests that were sent here, and those of them that failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.requests), count(&self.failures))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn with_breaker<T>(&self, look: impl FnOnce(&mut Breaker) -> T) -> T {
        look(&mut self.breaker.lock().expect("no holder panics"))
    }

    /// A place for one request, if one may pass.
    pub(crate) fn pass(self: &Arc<Self>) -> Result<Pass, Option<Instant>> {
        match self.with_breaker(|breaker| breaker.pass(Instant::now())) {
            Passage::Shut(until) => Err(until),
            passage => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                self.requests.fetch_add(1, Ordering::Relaxed);
                Ok(Pass {
                    address: Arc::clone(self),
                    trial: passage == Passage::Trial,
                    recorded: false,
                })
            }
        }
    }

    /// Sends a request over a connection at rest, or a new one; returns the connection too.
    pub(crate) async fn send(
        &self,
        mut request: Request<Outgoing>,
        on: Connection,
    ) -> Result<(Response<Incoming>, Sender), Failure> {
        // One that the server closed in the meantime gives the request back, and another is tried:
        // each is taken from the pool, so this ends.
        while on == Connection::Any
            && let Some(mut sender) = self.take()
        {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, sender)),
                Err(error) => request = unsent(error)?.0,
            }
        }
        let mut sender = match self.connect().await {
            Ok(sender) => sender,
            Err(why) => return Err(Failure::NotSent(Box::new(request), why)),
        };
        match sender.try_send_request(request).await {
            Ok(answer) => Ok((answer, sender)),
            Err(error) => {
                let (request, error) = unsent(error)?;
                Err(Failure::NotSent(Box::new(request), error.to_string()))
            }
        }
    }

    /// The connection that rested last: the others may end by being old.
    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().expect("no holder panics");
        while let Some(last) = idle.pop() {
            if last.sender.is_ready() && last.since.elapsed() < self.keep_idle {
                return Some(last.sender);
            }
        }
        None
    }

    /// Takes a connection back after its answer was read whole.
    pub(crate) fn keep(self: &Arc<Self>, mut sender: Sender) {
        if sender.is_ready() {
            self.rest(sender);
        } else if !sender.is_closed() {
            // Its task has yet to see the end of the answer; or the client is still sending, and
            // then this connection is not worth the wait.
            let address = Arc::clone(self);
            tokio::spawn(async move {
                let ready = tokio::time::timeout(address.connect_timeout, sender.ready()).await;
                if matches!(ready, Ok(Ok(()))) {
                    address.rest(sender);
                }
            });
        }
    }

    fn rest(&self, sender: Sender) {
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < self.max_idle {
            idle.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Lets go of connections that have rested for too long.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.lock().expect("no holder panics");
        idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < self.keep_idle);
    }

    async fn connect(&self) -> Result<Sender, String> {
        match tokio::time::timeout(self.connect_timeout, self.try_connect()).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err("the connection took too long".to_owned()),
        }
    }

    async fn try_connect(&self) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.socket).await?;
        stream.set_nodelay(true)?;
        match &self.origin.tls {
            None => handshake(stream).await,
            Some((connector, name)) => {
                handshake(connector.connect(name.clone(), stream).await?).await
            }
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Who waits for an answer is told; nobody else needs to know.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// The request, if nothing of it was sent.
fn unsent(
    mut error: TrySendError<Request<Outgoing>>,
) -> Result<(Request<Outgoing>, hyper::Error), Failure> {
    match error.take_message() {
        Some(request) => Ok((request, error.into_error())),
        None => Err(Failure::Broken(error.into_error())),
    }
}

/// One request on its way to an address, until the last byte of its answer.
pub(crate) struct Pass {
    pub(crate) address: Arc<Address>,
    trial: bool,
    recorded: bool,
}

impl Pass {
    /// How it ended. A failure may follow a success: an answer that broke off.
    pub(crate) fn record(&mut self, outcome: Outcome) {
        self.recorded = true;
        if matches!(outcome, Outcome::Broken | Outcome::Failed) {
            self.address.failures.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        self.address
            .with_breaker(|breaker| breaker.record(now, self.trial, outcome));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.address.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.recorded {
            self.record(Outcome::Unknown);
        }
    }
}
