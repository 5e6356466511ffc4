//! What every request carries and leaves behind: an id, a place in a trace, one line in the log.

use std::{net::IpAddr, panic::AssertUnwindSafe};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use kernel::{Problem, RequestContext, event::Client, principal::ClientAddress};

use crate::{config::Network, gateway::Gateway};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What of a path and of a method goes into the log: anybody can send any.
const LOGGED_PATH_BYTES: usize = 512;
const LOGGED_METHOD_BYTES: usize = 16;
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Only the edge says who somebody is, where from, and where to; from outside it is dropped. The last
/// two name another path than the one that was checked; `proxy` is a variable to scripts (httpoxy,
/// CVE-2016-5385).
const NOT_FROM_OUTSIDE: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "proxy",
    "remote-user",
    "x-remote-user",
    "x-original-url",
    "x-rewrite-url",
];
/// And everything that begins so.
const OURS: &[&str] = &["x-banyan-", "x-forwarded-"];

/// Answers a request of `peer` by `answer`.
pub async fn serve<F: Future<Output = Response>>(
    gateway: &Gateway,
    peer: IpAddr,
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let world = &gateway.app.world;
    let proxies = &gateway.app.config.host.server.trusted_proxies;
    let address = Some(client_address(peer, request.headers(), proxies));
    drop_reserved(request.headers_mut());
    request.extensions_mut().insert(ClientAddress(address));
    request.extensions_mut().insert(gateway.public_url.clone());

    let request_id = request_id(request.headers()).unwrap_or_else(|| {
        HeaderValue::from_str(&world.uuid().to_string()).expect("a UUID is a valid header")
    });
    request.headers_mut().insert(REQUEST_ID, request_id.clone());
    let traceparent = text(request.headers(), "traceparent");
    let mut context = RequestContext::continued(world, traceparent);
    context.client = Some(Client {
        address,
        user_agent: text(request.headers(), header::USER_AGENT.as_str())
            .map(|agent| shortened(agent, 256)),
    });

    let method = shortened(request.method().as_str(), LOGGED_METHOD_BYTES);
    let path = shortened(request.uri().path(), LOGGED_PATH_BYTES);
    let started = std::time::Instant::now();
    let serve = async {
        // A panic ends this request alone.
        let answer = AssertUnwindSafe(answer(request));
        let result = answer.catch_unwind().await;
        let mut response = result.unwrap_or_else(|panic| {
            let mut response = Problem::panicked(&*panic).into_response();
            gateway.security.ours(&mut response);
            response
        });
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, request_id);
        if gateway.is_draining() && status != StatusCode::SWITCHING_PROTOCOLS {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // Health is asked for every few seconds; its lines would drown the others. And a line for each
        // shipment of lines would be shipped in its turn, for ever.
        let quiet = path.starts_with("/health/")
            || path == "/metrics"
            || path.starts_with("/otlp/") && response.status().is_success();
        if !quiet {
            tracing::info!(
                http.method = method,
                http.path = path,
                http.status = status.as_u16(),
                duration_ms = started.elapsed().as_micros() as f64 / 1_000.0,
                "request answered"
            );
        }
        response
    };
    context.scope(serve).await
}

fn drop_reserved(headers: &mut HeaderMap) {
    let reserved: Vec<HeaderName> = headers.keys().filter(|n| is_reserved(n)).cloned().collect();
    for name in reserved {
        headers.remove(name);
    }
}

/// Does only the edge write this header? And nobody one with `_` in it: servers that hand headers on as
/// variables (CGI, WSGI) do not tell it from `-`, and `content_length` would be another length.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    let ours = OURS.iter().any(|prefix| name.starts_with(prefix));
    ours || name.contains('_') || NOT_FROM_OUTSIDE.contains(&name)
}

/// The nearest address in front of our own proxies. Whatever a client wrote further left into the
/// header is hearsay.
fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    let mut address = peer.to_canonical();
    if proxies.is_empty() {
        return address;
    }
    let hops = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).collect();
    for hop in hops.into_iter().rev() {
        if !trusted(address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(hop) => address = hop.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

/// A caller's own id, if it is one that can be searched for and does no harm in a log.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(REQUEST_ID)?;
    let bytes = value.as_bytes();
    let plain = bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    (plain && (8..=64).contains(&bytes.len())).then(|| value.clone())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn shortened(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &str, proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, forwarded.parse().unwrap());
        let proxies: Vec<Network> = proxies
            .iter()
            .map(|p| serde_json::from_value(serde_json::json!(p)).unwrap())
            .collect();
        client_address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn what_only_the_edge_says_is_dropped() {
        let mut headers = HeaderMap::new();
        for name in [
            "accept",
            "forwarded",
            "x_real_ip",
            "x-forwarded-for",
            "x-forwarded-user",
            "x-banyan-principal",
            "x_banyan-roles",
            "content_length",
            "x-original-url",
            "x-request-id",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        drop_reserved(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["accept", "x-request-id"]);
    }

    #[test]
    fn only_our_own_proxies_are_believed() {
        assert_eq!(address("1.2.3.4", "9.9.9.9", &[]), "1.2.3.4");
        assert_eq!(address("1.2.3.4", "9.9.9.9", &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(address("10.0.0.1", "9.9.9.9", &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(
            address("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", &["10.0.0.0/8"]),
            "9.9.9.9"
        );
        assert_eq!(address("10.0.0.1", "nonsense", &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(
            address("::ffff:10.0.0.1", "9.9.9.9", &["10.0.0.0/8"]),
            "9.9.9.9"
        );
    }
}
