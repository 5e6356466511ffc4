//! What ends at this hop, and what goes on (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Of this connection alone, whatever Connection names. Framing is among them: it is written anew
/// for the next connection, so that no two readers can disagree on where a message ends
/// (RFC 9112 §11.2).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes from a request what is not for the next server; returns the protocol that it wants to
/// change to, if that is one of `upgrades`.
pub(crate) fn request(headers: &mut HeaderMap, upgrades: &[String]) -> Option<HeaderValue> {
    let upgrade = wanted(headers, upgrades);
    strip(headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove("http2-settings");
    upgrade
}

/// Takes from an answer what is not for the client.
pub(crate) fn response(headers: &mut HeaderMap) {
    // The length stays only where it is the body's: an answer to HEAD keeps it, with no body.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    strip(headers);
}

fn strip(headers: &mut HeaderMap) {
    let named = named(headers);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
}

/// The fields that Connection names, beyond those that every connection may name.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, header::CONNECTION)
        .filter(|token| {
            !["close", "keep-alive", "upgrade"]
                .iter()
                .any(|usual| token.eq_ignore_ascii_case(usual))
        })
        .filter_map(|token| token.parse().ok())
        .collect()
}

fn wanted(headers: &HeaderMap, upgrades: &[String]) -> Option<HeaderValue> {
    let value = headers.get(header::UPGRADE)?;
    let asked = tokens(headers, header::CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
    let mut protocols = tokens(headers, header::UPGRADE);
    let known = |protocol: &str| upgrades.iter().any(|u| u.eq_ignore_ascii_case(protocol));
    // One alone: of a list the server might choose what is not to pass.
    let protocol = protocols.next()?;
    (asked && protocols.next().is_none() && known(protocol)).then(|| value.clone())
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn what_belongs_to_a_connection_ends_with_it() {
        let mut headers = map(&[
            ("accept", "*/*"),
            ("connection", "keep-alive, X-Mine"),
            ("connection", "te"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("upgrade", "websocket"),
        ]);
        assert_eq!(request(&mut headers, &["websocket".to_owned()]), None);
        assert_eq!(names(&headers), ["accept"]);

        let mut headers = map(&[("content-length", "3"), ("transfer-encoding", "chunked")]);
        response(&mut headers);
        assert!(headers.is_empty());
        let mut headers = map(&[("content-length", "3"), ("connection", "close")]);
        response(&mut headers);
        assert_eq!(names(&headers), ["content-length"]);
    }

    #[test]
    fn only_a_known_protocol_is_changed_to() {
        let known = ["websocket".to_owned()];
        for (connection, upgrade, passes) in [
            ("Upgrade", "WebSocket", true),
            ("keep-alive, Upgrade", "websocket", true),
            ("keep-alive", "websocket", false),
            ("Upgrade", "h2c", false),
            ("Upgrade", "h2c, websocket", false),
            ("Upgrade", "websocket, h2c", false),
        ] {
            let mut headers = map(&[("connection", connection), ("upgrade", upgrade)]);
            let wanted = request(&mut headers, &known);
            assert_eq!(wanted.is_some(), passes, "{connection}: {upgrade}");
            assert!(headers.is_empty());
        }
    }
}
