//! What came back, made an answer of this hop.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use crate::{
    Change, Error, Upstream,
    address::Pass,
    body::{Answer, Held},
    breaker::Outcome,
    headers, upgrade,
};

impl Upstream {
    /// Makes the answer that of this hop.
    pub(crate) fn answer(
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
}
