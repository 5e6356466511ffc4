//! A request is tried, and tried once more where that helps and does no harm.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use http::{Request, Response, header, request};
use http_body_util::LengthLimitError;
use tokio::time::Instant;

use crate::{
    Change, Error, Upstream,
    address::{Address, Connection, Failure, Pass},
    body::{Held, Outgoing, Progress},
    bounds::Flight,
    breaker::Outcome,
    is_safe,
};

/// A request with an Idempotency-Key can be sent twice; its body is kept for that up to this size.
const MAX_KEPT_BODY_BYTES: u64 = 64 * 1024;

/// What a second try needs, where there may be one.
pub(crate) struct Copy {
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

impl Upstream {
    pub(crate) async fn try_twice(
        &self,
        request: Request<Body>,
        mut copy: Option<Copy>,
        change: Option<Change>,
        flight: Flight,
        deadline: Instant,
    ) -> Result<Response<Body>, Error> {
        let (mut request, mut progress) = outgoing(request);
        let mut pass = self.choose(None, deadline).await?;
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
                Err(_) if progress.is_some_and(|body| body.waits_for_client()) => {
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
                    pass.record(Outcome::Broken);
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
                    // Who hangs up on a body may have had enough of it, and of nothing else. Nor does a
                    // request on which the service breaks down say that it cannot be reached: a few
                    // of somebody's must not shut it to all.
                    if progress.as_ref().is_none_or(|body| body.has_ended()) {
                        pass.record(Outcome::Failed);
                    }
                    let again = copy.take().map(|copy| {
                        let (again, its_progress) = outgoing(copy.request());
                        progress = its_progress;
                        again
                    });
                    on = Connection::New;
                    (again, Error::BadGateway(why))
                }
            };
            let Some(again) = again.filter(|_| second.is_none()) else {
                return Err(error);
            };
            second = self.retries.enter(self.retries_allowed());
            if second.is_none() {
                return Err(error);
            }
            // Elsewhere, if there is such a place. Where nobody listens it is no use to ask again.
            pass = match self.choose(Some(&pass.address), deadline).await {
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

    async fn choose(&self, but: Option<&Arc<Address>>, deadline: Instant) -> Result<Pass, Error> {
        let chosen = tokio::time::timeout_at(deadline, self.choice.next(but)).await;
        chosen.unwrap_or(Err(Error::Unavailable {
            retry_after_seconds: 1,
        }))
    }

    fn retries_allowed(&self) -> usize {
        let share = self.in_flight.now() * self.settings.retry_percent / 100;
        share.max(self.settings.retry_floor)
    }
}

fn outgoing(request: Request<Body>) -> (Request<Outgoing>, Option<Arc<Progress>>) {
    let (head, body) = request.into_parts();
    let (body, progress) = Outgoing::new(body);
    (Request::from_parts(head, body), progress)
}

/// What to send, and what to send it again from if that does no harm: a safe request without a
/// body, or one with an Idempotency-Key and a small one. A small body is read whole before anything is
/// asked of the service: it waits for no slow client.
pub(crate) async fn keep(head: &request::Parts, body: Body) -> Result<(Body, Option<Copy>), Error> {
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
    if !small {
        return Ok((body, None));
    }
    let read = axum::body::to_bytes(body, MAX_KEPT_BODY_BYTES as usize).await;
    let bytes = read.map_err(|error| clients_fault(&error))?;
    let again = head.headers.contains_key("idempotency-key");
    let copy = again.then(|| copy(bytes.clone())).flatten();
    Ok((Body::from(bytes), copy))
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
