//! One service in other processes, reached over HTTP/1.1: which of its addresses takes a request,
//! when another is tried, when none is; and bodies, streams and WebSockets passed on as they come.
//!
//! The pool is our own, over hyper's connections, and not hyper-util's client: that one keeps to
//! itself which connection, and so which address, a request went to, and all here hangs on it (load,
//! breaker, a second try elsewhere). A connection is a queue entry and costs no task or box per
//! request; one that the server has closed gives an unsent request back unchanged.

mod address;
mod body;
mod bounds;
mod breaker;
mod choice;
mod error;
mod headers;
mod probe;
mod settings;
mod tls;
mod upgrade;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request,
};
use http_body_util::LengthLimitError;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::{Error, SetupError};
pub use probe::{AddressState, State};
pub use settings::{Breaker, Health, Settings};

use address::{Connection, Failure, Pass};
use body::{Answer, Held, Outgoing};
use bounds::{Count, Flight};
use breaker::Outcome;
use choice::Choice;

/// A request with an Idempotency-Key can be sent twice; its body is kept for that up to this size.
const MAX_KEPT_BODY_BYTES: u64 = 64 * 1024;

/// A service, as one who asks it sees it.
pub struct Upstream {
    name: String,
    settings: Settings,
    choice: Choice,
    in_flight: Count,
    retries: Count,
    upgraded: Count,
    /// Cancelled when answers without an end, and upgraded connections, are to end.
    streams: CancellationToken,
}

/// What a second try needs, where there may be one.
struct Copy {
    head: request::Parts,
    body: Bytes,
}

impl Copy {
    fn request(self) -> Request<Body> {
        // Nothing must stay nothing: no body is not a body of no bytes.
        let body = if self.body.is_empty() {
            Body::empty()
        } else {
            Body::from(self.body)
        };
        Request::from_parts(self.head, body)
    }
}

/// The two sides of a connection that may change its protocol.
struct Change {
    protocol: HeaderValue,
    client: OnUpgrade,
    place: Flight,
}

impl Upstream {
    /// `streams`, once cancelled, ends event streams and upgraded connections.
    pub fn new(
        name: impl Into<String>,
        settings: Settings,
        streams: CancellationToken,
    ) -> Result<Arc<Self>, SetupError> {
        Ok(Arc::new(Self {
            name: name.into(),
            choice: Choice::new(&settings)?,
            settings,
            in_flight: Count::default(),
            retries: Count::default(),
            upgraded: Count::default(),
            streams,
        }))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a request on, and returns its answer as soon as its head is here.
    ///
    /// `set` is written over the client's headers after those of its connection are gone: whatever a
    /// client names in Connection, these arrive.
    pub async fn forward(
        &self,
        request: Request<Body>,
        set: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Response<Body>, Error> {
        let flight = self.in_flight.enter(self.settings.max_in_flight);
        let flight = flight.ok_or(Error::Busy)?;
        let (mut head, body) = request.into_parts();
        let change = self.rewrite(&mut head, set)?;
        let deadline = Instant::now() + self.settings.head_timeout(&head.method);
        let (body, copy) = match tokio::time::timeout_at(deadline, keep(&head, body)).await {
            Ok(kept) => kept?,
            Err(_) => return Err(Error::ClientTimeout),
        };
        let request = Request::from_parts(head, body);
        self.try_twice(request, copy, change, flight, deadline)
            .await
    }

    /// Makes the head that of the next hop.
    fn rewrite(
        &self,
        head: &mut request::Parts,
        set: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Option<Change>, Error> {
        let client = head.extensions.remove::<OnUpgrade>();
        // What the edge knows of a request is no part of it.
        head.extensions.clear();
        // RFC 9112 §3.2.2: an absolute target goes before Host.
        let host = match head.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => head.headers.get(header::HOST).cloned(),
        };
        let protocol = headers::request(&mut head.headers, &self.settings.upgrades);
        head.headers.remove(header::HOST);
        if let Some(host) = host.filter(|_| self.settings.keep_host) {
            head.headers.insert(header::HOST, host);
        }
        for (name, value) in set {
            head.headers.insert(name, value);
        }
        head.uri = match std::mem::take(&mut head.uri).into_parts().path_and_query {
            Some(path) => Uri::from(path),
            None => Uri::default(),
        };
        head.version = Version::HTTP_11;
        let (Some(protocol), Some(client)) = (protocol, client) else {
            return Ok(None);
        };
        let place = self.upgraded.enter(self.settings.max_upgraded);
        let place = place.ok_or(Error::Busy)?;
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(header::CONNECTION, upgrade);
        head.headers.insert(header::UPGRADE, protocol.clone());
        Ok(Some(Change {
            protocol,
            client,
            place,
        }))
    }

    async fn try_twice(
        &self,
        request: Request<Body>,
        mut copy: Option<Copy>,
        change: Option<Change>,
        flight: Flight,
        deadline: Instant,
    ) -> Result<Response<Body>, Error> {
        let (mut request, mut waits) = outgoing(request);
        let mut pass = self.choice.next(None).await?;
        let mut on = Connection::Any;
        let mut second = None;
        loop {
            if !request.headers().contains_key(header::HOST) || !self.settings.keep_host {
                let authority = pass.address.origin.authority.clone();
                request.headers_mut().insert(header::HOST, authority);
            }
            let sent = pass.address.send(request, on);
            let failure = match tokio::time::timeout_at(deadline, sent).await {
                Ok(Ok((answer, sender))) => {
                    let held = Held {
                        pass,
                        _flight: flight,
                        sender: Some(sender),
                    };
                    return self.answer(answer, held, change);
                }
                Ok(Err(failure)) => failure,
                Err(_) if waits.is_some_and(|waits| waits.load(Ordering::Relaxed)) => {
                    return Err(Error::ClientTimeout);
                }
                Err(_) => {
                    pass.record(Outcome::Failed);
                    self.tell(&pass, "no answer in time");
                    return Err(Error::Timeout);
                }
            };
            let (again, error) = match failure {
                Failure::NotSent(request, why) => {
                    self.tell(&pass, &why);
                    let error = Error::Unavailable {
                        retry_after_seconds: 1,
                    };
                    (Some(*request), error)
                }
                Failure::Broken(error) => {
                    if error.is_user() {
                        return Err(clients_fault(&error));
                    }
                    let why = error.to_string();
                    self.tell(&pass, &why);
                    let again = copy.take().map(|copy| {
                        let (again, again_waits) = outgoing(copy.request());
                        waits = again_waits;
                        again
                    });
                    on = Connection::New;
                    (again, Error::BadGateway(why))
                }
            };
            pass.record(Outcome::Broken);
            let Some(again) = again.filter(|_| second.is_none()) else {
                return Err(error);
            };
            second = self.retries.enter(self.retries_allowed());
            if second.is_none() {
                return Err(error);
            }
            // Elsewhere, if there is such a place. Where nobody listens it is no use to ask again.
            pass = match self.choice.next(Some(&pass.address)).await {
                Ok(other) => other,
                Err(_) if on == Connection::New => match pass.address.pass() {
                    Ok(same) => same,
                    Err(_) => return Err(error),
                },
                Err(_) => return Err(error),
            };
            request = again;
        }
    }

    fn retries_allowed(&self) -> usize {
        let share = self.in_flight.now() * self.settings.retry_percent / 100;
        share.max(self.settings.retry_floor)
    }

    /// Makes the answer that of this hop.
    fn answer(
        &self,
        answer: Response<Incoming>,
        mut held: Held,
        change: Option<Change>,
    ) -> Result<Response<Body>, Error> {
        let status = answer.status();
        // With Retry-After it is a refusal in good order.
        let failed = matches!(status.as_u16(), 502..=504)
            && !answer.headers().contains_key(header::RETRY_AFTER);
        held.pass.record(if failed {
            Outcome::Failed
        } else {
            Outcome::Good
        });
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(answer, held.pass, change);
        }
        let (mut head, body) = answer.into_parts();
        headers::response(&mut head.headers);
        head.extensions.clear();
        head.version = Version::HTTP_11;
        let stream = head.headers.get(header::CONTENT_TYPE);
        let stream = stream.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let stop = stream.then(|| self.streams.clone().cancelled_owned());
        let patience = Duration::from_secs(self.settings.idle_timeout_seconds);
        let body = Body::new(Answer::new(body, patience, stop, held));
        Ok(Response::from_parts(head, body))
    }

    /// The upstream changes the protocol: so does the client's connection, once it has read this.
    fn switch(
        &self,
        mut answer: Response<Incoming>,
        pass: Pass,
        change: Option<Change>,
    ) -> Result<Response<Body>, Error> {
        let Some(change) = change else {
            let why = "it changes the protocol unasked";
            self.tell(&pass, why);
            return Err(Error::BadGateway(why.to_owned()));
        };
        let upstream = hyper::upgrade::on(&mut answer);
        let patience = Duration::from_secs(self.settings.upgraded_idle_seconds);
        tokio::spawn(upgrade::join(
            change.client,
            upstream,
            patience,
            self.streams.clone(),
            (pass, change.place),
        ));
        let (mut head, _) = answer.into_parts();
        headers::response(&mut head.headers);
        head.extensions.clear();
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(header::CONNECTION, upgrade);
        head.headers.insert(header::UPGRADE, change.protocol);
        Ok(Response::from_parts(head, Body::empty()))
    }

    fn tell(&self, pass: &Pass, why: &str) {
        let address = pass.address.socket;
        tracing::warn!(upstream = self.name, %address, why, "an upstream did not answer");
    }
}

/// Methods that ask for nothing to be done (RFC 9110 §9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn outgoing(request: Request<Body>) -> (Request<Outgoing>, Option<Arc<AtomicBool>>) {
    let (head, body) = request.into_parts();
    let (body, waits) = Outgoing::new(body);
    (Request::from_parts(head, body), waits)
}

/// What to send, and what to send it again from if that does no harm: a safe request without a
/// body, or one with an Idempotency-Key and a small one.
async fn keep(head: &request::Parts, body: Body) -> Result<(Body, Option<Copy>), Error> {
    let copy = |body| {
        Some(Copy {
            head: head.clone(),
            body,
        })
    };
    if body.is_end_stream() {
        let again = is_safe(&head.method) || head.headers.contains_key("idempotency-key");
        let copy = again.then(|| copy(Bytes::new())).flatten();
        return Ok((body, copy));
    }
    let small = body
        .size_hint()
        .exact()
        .is_some_and(|n| n <= MAX_KEPT_BODY_BYTES);
    if !small || !head.headers.contains_key("idempotency-key") {
        return Ok((body, None));
    }
    let read = axum::body::to_bytes(body, MAX_KEPT_BODY_BYTES as usize).await;
    let bytes = read.map_err(|error| clients_fault(&error))?;
    Ok((Body::from(bytes.clone()), copy(bytes)))
}

/// The client's own body could not be read.
fn clients_fault(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Error::TooLarge;
        }
        cause = error.source();
    }
    Error::ClientBody
}
