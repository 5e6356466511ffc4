//! Pages of other origins that may call the API: `gateway.cors_origins` (Fetch, §3.2).
//!
//! Credentials are never allowed: the API is called with bearer tokens, which a page has to hold itself,
//! and a cookie of ours is nothing that another origin may make use of. Only the API is shared. Pages are
//! for people: the mailbox of a developer, for one, must not be read by whatever site they visit.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use kernel::Problem;
use url::Url;

use super::is_below;

/// What other origins may call, of ours.
const SHARED: &[&str] = &["/api", "/oauth", "/.well-known"];
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Beside those that need no permission. `*` would leave out Authorization.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, \
     Traceparent, Tracestate, X-Request-Id",
);
/// What a page may read of an answer, beside what it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Deprecation, ETag, Idempotency-Key, Link, Location, RateLimit, RateLimit-Policy, Retry-After, \
     Sunset, WWW-Authenticate, X-Request-Id",
);
/// How long a browser may remember the permission, in seconds: the longest that Chromium does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: &str = "*";

/// What is wrong with the origins, by name.
pub fn faults(origins: &[String], development: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for origin in origins {
        let own = Url::parse(origin).map(|url| url.origin().ascii_serialization());
        if origin == ANY {
            if !development {
                faults.push(
                    "gateway.cors_origins: \"*\" is for development; name the origins of your pages"
                        .to_owned(),
                );
            }
        } else if own.as_ref() != Ok(origin) || origin.contains('*') {
            faults.push(format!(
                "gateway.cors_origins: {origin:?} is no origin such as https://app.example.com"
            ));
        }
    }
    faults
}

/// Is this a path of ours that other origins may call?
pub fn is_shared(path: &str) -> bool {
    SHARED.iter().any(|prefix| is_below(path, prefix))
}

pub struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
}

/// What is said to the page that asks.
pub struct Permission {
    /// Nothing for a page of an origin that is not named, and for who sends none.
    allowed: Option<HeaderValue>,
    depends_on_origin: bool,
    preflight: bool,
}

impl Cors {
    /// Nothing where no origin may call.
    pub fn new(origins: &[String]) -> Option<Self> {
        let values = origins.iter().filter_map(|o| HeaderValue::from_str(o).ok());
        (!origins.is_empty()).then(|| Self {
            any: origins.iter().any(|origin| origin == ANY),
            origins: values.collect(),
        })
    }

    pub fn permission(&self, request: &Request) -> Permission {
        let headers = request.headers();
        let origin = headers.get(header::ORIGIN);
        let allowed = match origin {
            Some(_) if self.any => Some(HeaderValue::from_static(ANY)),
            Some(origin) => self.origins.iter().find(|o| *o == origin).cloned(),
            None => None,
        };
        Permission {
            allowed,
            depends_on_origin: !self.any,
            preflight: origin.is_some()
                && *request.method() == Method::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
        }
    }
}

impl Permission {
    /// The answer to a browser that asks before it sends the request itself.
    pub fn preflight(&self) -> Option<Result<Response, Problem>> {
        if !self.preflight {
            return None;
        }
        if self.allowed.is_none() {
            let why = "Pages of this origin may not call here.";
            return Some(Err(Problem::forbidden(why)));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(Ok(response))
    }

    /// Writes it into an answer, in place of what a service behind the edge may have said.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        // Without an Origin too: a cache would give that answer to a page, and refuse it so.
        if self.depends_on_origin {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = self.allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_exact() {
        let faults = |origin: &str, development| faults(&[origin.to_owned()], development).len();
        for good in ["https://app.example.com", "http://localhost:3000"] {
            assert_eq!(faults(good, false), 0, "{good}");
        }
        for bad in [
            "",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://*.example.com",
            "https://APP.example.com",
            "*",
        ] {
            assert_eq!(faults(bad, false), 1, "{bad}");
        }
        assert_eq!(faults("*", true), 0);
    }

    #[test]
    fn pages_are_not_shared() {
        for path in [
            "/api/v1/auth/login",
            "/oauth/token",
            "/.well-known/jwks.json",
        ] {
            assert!(is_shared(path), "{path}");
        }
        for path in ["/", "/setup", "/dev/mailbox/messages", "/apis", "/admin"] {
            assert!(!is_shared(path), "{path}");
        }
    }
}
