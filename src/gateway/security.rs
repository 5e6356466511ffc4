//! What answers tell browsers to be careful with. This is the one place for it: a handler sets only what is
//! to be stricter, or another, than here.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use url::Url;

/// For what is no page: nothing of it may run, load or be framed, should somebody open it as one.
const DATA: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// For pages: everything comes from here, nothing stands in the page itself, and nobody frames it
/// (clickjacking).
const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
);
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    // Of what is loaded as an image or a script. Who calls the API from elsewhere asks by CORS, to which
    // this does not matter.
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];
/// A year, for this host alone: what else has its name, its owner knows.
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub struct Security {
    /// Do people come by HTTPS? Then never otherwise (RFC 6797).
    https: bool,
}

impl Security {
    pub fn new(public_url: &Url) -> Self {
        Self {
            https: public_url.scheme() == "https",
        }
    }

    /// For an answer of ours: whatever its handler did not say.
    pub fn ours(&self, response: &mut Response) {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let headers = response.headers_mut();
        headers.reserve(ALWAYS.len() + 4);
        let page = headers.get(header::CONTENT_TYPE);
        let page = page.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let policy = if page { PAGE } else { DATA };
        unless_said(headers, header::CONTENT_SECURITY_POLICY, policy);
        for (name, value) in ALWAYS {
            unless_said(headers, name, value);
        }
        // In an answer that changes nothing it would be said of the one that is stored.
        if status != StatusCode::NOT_MODIFIED {
            unless_said(headers, header::CACHE_CONTROL, NO_STORE);
        }
        self.transport(headers);
    }

    /// For an answer of a service outside, which speaks for itself. But the host is ours, and how it is
    /// reached.
    pub fn outside(&self, response: &mut Response) {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.transport(response.headers_mut());
        }
    }

    fn transport(&self, headers: &mut HeaderMap) {
        if self.https {
            unless_said(headers, header::STRICT_TRANSPORT_SECURITY, TRANSPORT);
        }
    }
}

fn unless_said(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.entry(name).or_insert(value);
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        response::{Html, IntoResponse},
    };

    use super::*;

    fn with(public_url: &str, mut response: Response, ours: bool) -> HeaderMap {
        let security = Security::new(&public_url.parse().unwrap());
        if ours {
            security.ours(&mut response);
        } else {
            security.outside(&mut response);
        }
        response.into_parts().0.headers
    }

    #[test]
    fn what_a_handler_says_stays() {
        let own = [
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
            (header::CACHE_CONTROL, "public"),
        ];
        let page = with("https://a.test", (own, Html("")).into_response(), true);
        assert_eq!(page[header::CONTENT_SECURITY_POLICY], "default-src 'none'");
        assert_eq!(page[header::CACHE_CONTROL], "public");
        assert_eq!(page[header::REFERRER_POLICY], "same-origin");
        assert_eq!(page[header::STRICT_TRANSPORT_SECURITY], TRANSPORT);
        assert_eq!(
            page.get_all(header::CONTENT_SECURITY_POLICY).iter().count(),
            1
        );
    }

    #[test]
    fn pages_and_data_have_each_their_policy() {
        let page = with("http://a.test", Html("").into_response(), true);
        assert_eq!(page[header::CONTENT_SECURITY_POLICY], PAGE);
        let data = with("http://a.test", axum::Json(1).into_response(), true);
        assert_eq!(data[header::CONTENT_SECURITY_POLICY], DATA);
        assert_eq!(data[header::CACHE_CONTROL], "no-store");
        assert!(!data.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn nothing_is_said_of_another_answer_or_for_another_service() {
        let unchanged = StatusCode::NOT_MODIFIED.into_response();
        assert!(!with("http://a.test", unchanged, true).contains_key(header::CACHE_CONTROL));
        let switched = || StatusCode::SWITCHING_PROTOCOLS.into_response();
        assert!(with("https://a.test", switched(), true).is_empty());
        assert!(with("https://a.test", switched(), false).is_empty());
        let outside = with("https://a.test", Response::new(Body::empty()), false);
        assert_eq!(outside.len(), 1);
        assert_eq!(outside[header::STRICT_TRANSPORT_SECURITY], TRANSPORT);
        let own = [(header::STRICT_TRANSPORT_SECURITY, "max-age=0")].into_response();
        let outside = with("https://a.test", own, false);
        assert_eq!(outside[header::STRICT_TRANSPORT_SECURITY], "max-age=0");
    }
}
