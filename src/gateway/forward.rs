//! Handing a request on to another process.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use kernel::{Problem, RequestContext};
use upstream::Upstream;

use crate::{
    app::App,
    gateway::{
        limits::client,
        trace::{FORWARDED_FOR, REQUEST_ID},
    },
};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How a process of ours signs in Via (RFC 9110 §7.6.3), and how many of them a request may pass.
const HOP: &str = "1.1 banyan";
const MAX_HOPS: usize = 5;

/// Sends a request on, with what the edge has established of it: client, request id, trace; and with
/// `more`, such as who the caller is. The answer is what came back, whatever its status; a
/// problem is the edge's own.
pub async fn forward(
    app: &App,
    upstream: &Upstream,
    request: Request,
    more: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Result<Response, Problem> {
    // CONNECT asks for a tunnel, and TRACE shows what was added on the way (RFC 9110 §9.3.8).
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Problem::method_not_allowed());
    }
    let headers = request.headers();
    let via = via(headers)?;
    let address = client(&request).map(|address| address.to_string());
    let trace = RequestContext::with(RequestContext::traceparent);
    // People reach us as public_url says; a proxy in front may have taken TLS off.
    let proto = app.config.host.server.public_url.scheme();
    let proto = HeaderValue::from_str(proto).ok();
    let set = [
        (FORWARDED_FOR, address.and_then(text)),
        (FORWARDED_PROTO, proto),
        (FORWARDED_HOST, headers.get(header::HOST).cloned()),
        (header::VIA, via),
        (REQUEST_ID, headers.get(REQUEST_ID).cloned()),
        (TRACEPARENT, trace.and_then(text)),
    ];
    let set = set.into_iter().filter_map(|(n, v)| Some((n, v?)));
    let answer = upstream.forward(request, set.chain(more)).await;
    answer.map_err(Problem::from)
}

/// Those that the request has passed, and this one; a problem when it goes in circles.
fn via(headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    if !headers.contains_key(header::VIA) {
        return Ok(Some(HeaderValue::from_static(HOP)));
    }
    let passed = headers.get_all(header::VIA).iter();
    let passed = passed.filter_map(|via| via.to_str().ok());
    let mut passed: Vec<&str> = passed
        .flat_map(|via| via.split(',').map(str::trim))
        .collect();
    if passed.iter().filter(|hop| **hop == HOP).count() >= MAX_HOPS {
        tracing::warn!(
            "a request goes in circles: modules.*.at lead back to where it came from, or a client says so"
        );
        return Err(loop_detected());
    }
    passed.push(HOP);
    Ok(text(passed.join(", ")))
}

/// RFC 5842 §7.2.
fn loop_detected() -> Problem {
    let title = "The request goes in circles";
    Problem::new(StatusCode::LOOP_DETECTED, "loop-detected", title)
}

fn text(value: String) -> Option<HeaderValue> {
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_goes_in_circles_ends() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::VIA,
            HeaderValue::from_static("1.0 fred, 1.1 p.example.net"),
        );
        for _ in 0..MAX_HOPS {
            let passed = via(&headers).expect("not yet").expect("a text");
            assert!(
                passed
                    .to_str()
                    .unwrap()
                    .starts_with("1.0 fred, 1.1 p.example.net, 1.1 banyan")
            );
            headers.insert(header::VIA, passed);
        }
        assert!(via(&headers).is_err());
        assert_eq!(via(&HeaderMap::new()).unwrap().unwrap(), HOP);
    }
}
