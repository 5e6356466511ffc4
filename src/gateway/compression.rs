//! Answers made smaller, where that gives nothing away.
//!
//! Whoever can make a browser ask often, choose a part of the answer and watch its length learns the
//! rest of it from how well the two compress together (BREACH). So nothing is compressed that was asked
//! for with a cookie, that sets one, or that its handler calls `no-store`, as answers with tokens are:
//! a bearer token no browser sends by itself.
//!
//! Event streams are left alone too: an encoder waits for more before it says anything.

use std::io;

use async_compression::{
    Level,
    tokio::bufread::{GzipEncoder, ZstdEncoder},
};
use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use futures::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader};

/// A smaller answer is as fast as it is: it goes in one packet.
const LEAST_BYTES: u64 = 1_024;
/// Of what is read from an encoder at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Half of the time of the usual level, for some percent more bytes.
const GZIP_LEVEL: Level = Level::Precise(4);
const ZSTD_LEVEL: Level = Level::Precise(3);
/// Beside `text/…` and what is JSON or XML by its suffix.
const TYPES: &[&str] = &[
    "application/json",
    "application/javascript",
    "application/xml",
    "image/svg+xml",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Zstd,
}

/// What a request says of compression.
pub struct Wish {
    coding: Option<Coding>,
    /// Something in it may be a secret that a browser sends by itself.
    guarded: bool,
}

impl Wish {
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        Self {
            // An answer to HEAD has no bytes to make fewer.
            coding: (method != Method::HEAD).then(|| best(accepted)).flatten(),
            guarded: headers.contains_key(header::COOKIE),
        }
    }

    /// Compresses the answer, if the client takes it so and it is one to compress.
    pub fn fulfil(self, response: Response) -> Response {
        if !is_worth_it(&response) || self.guarded {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let headers = &mut head.headers;
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        let Some(coding) = self.coding else {
            return Response::from_parts(head, body);
        };
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::ACCEPT_RANGES);
        let reader = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
        let (name, body) = match coding {
            Coding::Gzip => {
                let encoder = GzipEncoder::with_quality(reader, GZIP_LEVEL);
                let stream = ReaderStream::with_capacity(encoder, CHUNK_BYTES);
                ("gzip", Body::from_stream(stream))
            }
            Coding::Zstd => {
                let encoder = ZstdEncoder::with_quality(reader, ZSTD_LEVEL);
                let stream = ReaderStream::with_capacity(encoder, CHUNK_BYTES);
                ("zstd", Body::from_stream(stream))
            }
        };
        let name = HeaderValue::from_static(name);
        headers.insert(header::CONTENT_ENCODING, name);
        Response::from_parts(head, body)
    }
}

/// Is the answer one that is compressed for whoever accepts that?
fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let has = |name: HeaderName| headers.contains_key(name);
    let says = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter();
        let mut values = values.filter_map(|value| value.to_str().ok());
        values.any(|value| value.contains(word))
    };
    // A strong tag names these very bytes, and the client has to give it back in If-Match, where a weak
    // one never matches (RFC 9110 §13.1.1).
    let strong = headers.get(header::ETAG);
    let strong = strong.is_some_and(|tag| !tag.as_bytes().starts_with(b"W/"));
    // One without an end that is known may be long.
    let bytes = response.body().size_hint().upper();
    bytes.is_none_or(|bytes| bytes >= LEAST_BYTES)
        && response.status() != StatusCode::PARTIAL_CONTENT
        && !strong
        && !has(header::CONTENT_ENCODING)
        && !has(header::SET_COOKIE)
        && !says(header::CACHE_CONTROL, "no-store")
        && !says(header::CACHE_CONTROL, "no-transform")
        && headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(is_compressible)
}

fn is_compressible(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence != "text/event-stream"
        && (essence.starts_with("text/")
            || essence.ends_with("+json")
            || essence.ends_with("+xml")
            || TYPES.contains(&&*essence))
}

/// What the client likes best of what there is (RFC 9110 §12.5.3), zstd where it does not care.
fn best<'h>(accepted: impl Iterator<Item = &'h str>) -> Option<Coding> {
    let (mut gzip, mut zstd, mut any) = (None, None, None);
    for item in accepted.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        let quality: f32 = quality.map_or(1.0, |q| q.parse().unwrap_or(0.0));
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(quality),
            "zstd" => zstd = Some(quality),
            "*" => any = Some(quality),
            _ => {}
        }
    }
    let quality = |own: Option<f32>| own.or(any).unwrap_or(0.0);
    let (gzip, zstd) = (quality(gzip), quality(zstd));
    match (gzip > 0.0, zstd > 0.0) {
        (_, true) if zstd >= gzip => Some(Coding::Zstd),
        (true, _) => Some(Coding::Gzip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn the_client_chooses() {
        for (accepted, coding) in [
            ("", None),
            ("identity", None),
            ("br", None),
            ("gzip", Some(Coding::Gzip)),
            ("GZIP;q=0.5, br", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, zstd;q=0.9", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("zstd;q=0, *", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=nonsense", None),
            ("*;q=0, gzip", Some(Coding::Gzip)),
        ] {
            assert_eq!(best([accepted].into_iter()), coding, "{accepted:?}");
        }
    }

    fn encoded(request: &[(HeaderName, &str)], answer: impl IntoResponse) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (name, value) in request {
            headers.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        let answer = Wish::of(&Method::GET, &headers).fulfil(answer.into_response());
        let coding = answer.headers().get(header::CONTENT_ENCODING)?;
        assert!(!answer.headers().contains_key(header::CONTENT_LENGTH));
        assert_eq!(answer.headers()[header::VARY], "accept-encoding");
        Some(coding.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_may_hold_a_secret_or_needs_its_bytes_is_left_alone() {
        let long = || "x".repeat(2_000);
        assert_eq!(encoded(&[], long()).as_deref(), Some("gzip"));
        let weak = [(header::ETAG, "W/\"1\"")];
        assert_eq!(encoded(&[], (weak, long())).as_deref(), Some("gzip"));
        assert_eq!(encoded(&[(header::COOKIE, "session=1")], long()), None);
        assert_eq!(encoded(&[], "x".repeat(1_000)), None);
        for (name, value) in [
            (header::SET_COOKIE, "session=1"),
            (header::CACHE_CONTROL, "no-store"),
            (header::CACHE_CONTROL, "public, no-transform"),
            (header::ETAG, "\"1\""),
            (header::CONTENT_ENCODING, "gzip, br"),
            (header::CONTENT_TYPE, "image/png"),
            (header::CONTENT_TYPE, "text/event-stream"),
        ] {
            let mut answer = long().into_response();
            answer
                .headers_mut()
                .insert(name.clone(), HeaderValue::from_static(value));
            let before = answer.headers().get(header::CONTENT_ENCODING).cloned();
            let wish =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
            let answer = Wish::of(&Method::GET, &wish).fulfil(answer);
            let after = answer.headers().get(header::CONTENT_ENCODING).cloned();
            assert_eq!(before, after, "{name}: {value}");
        }
        let partial = (StatusCode::PARTIAL_CONTENT, long());
        assert_eq!(encoded(&[], partial), None);
    }
}
