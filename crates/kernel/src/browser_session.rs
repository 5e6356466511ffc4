//! A browser's session: an opaque handle in a cookie, which the edge exchanges for an access token at
//! identity's internal route. No token reaches the browser.

use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use time::Duration;
use url::Url;
use utoipa::ToSchema;

use crate::secret::Secret;

/// Identity's internal route.
pub const EXCHANGE: &str = "/browser-sessions/exchange";

/// What the edge asks: by its handle, is the session alive?
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ExchangeRequest {
    pub handle: String,
}

/// A token of the session, with which the edge answers its requests for a while.
#[derive(Serialize, Deserialize)]
pub struct ExchangeResponse {
    pub access_token: String,
    /// Seconds since the epoch.
    pub expires_at: i64,
}

/// The cookie that holds the handle.
#[derive(Clone, Copy, Debug)]
pub struct SessionCookie {
    https: bool,
}

impl SessionCookie {
    /// Longer is no handle of ours.
    const MAX_HANDLE_BYTES: usize = 64;

    pub fn new(public_url: &Url) -> Self {
        Self {
            https: public_url.scheme() == "https",
        }
    }

    /// With the prefix, browsers take it from this host alone, and over HTTPS alone (RFC 6265bis
    /// §4.1.3.2): no other host of the domain can plant one. Plain HTTP, in development, cannot have it.
    pub fn name(self) -> &'static str {
        if self.https {
            "__Host-banyan"
        } else {
            "banyan"
        }
    }

    /// `Set-Cookie` for a handle. Scripts do not see it, and requests that other sites make do not carry
    /// it, links to here excepted.
    pub fn set(self, handle: &Secret, lifetime: Duration) -> HeaderValue {
        let secure = if self.https { "; Secure" } else { "" };
        let value = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.name(),
            handle.expose(),
            lifetime.whole_seconds()
        );
        let mut value = HeaderValue::try_from(value).expect("a handle is base64url");
        value.set_sensitive(true);
        value
    }

    /// `Set-Cookie` that takes it away.
    pub fn clear(self) -> HeaderValue {
        self.set(&Secret::new(""), Duration::ZERO)
    }

    /// Takes the handle out of a request's headers: nobody behind the edge needs to see it. Of two, which
    /// a browser sends when a path or a domain had one planted, neither counts.
    pub fn take(self, headers: &mut HeaderMap) -> Option<Secret> {
        let name = self.name();
        let is_ours = |pair: &str| pair.split_once('=').is_some_and(|(n, _)| n.trim() == name);
        let values = headers.get_all(header::COOKIE).iter();
        let values: Vec<String> = values
            .filter_map(|value| Some(value.to_str().ok()?.to_owned()))
            .collect();
        let (ours, others): (Vec<&str>, Vec<&str>) = values
            .iter()
            .flat_map(|value| value.split(';'))
            .partition(|pair| is_ours(pair));
        if ours.is_empty() {
            return None;
        }
        headers.remove(header::COOKIE);
        let others: Vec<&str> = others.into_iter().map(str::trim).collect();
        if let Some(rest) = (!others.is_empty()).then(|| others.join("; ")) {
            let rest = HeaderValue::try_from(rest).expect("it was a header's value");
            headers.insert(header::COOKIE, rest);
        }
        let [pair] = ours[..] else { return None };
        let handle = pair.split_once('=')?.1.trim();
        let base64url = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let plausible = !handle.is_empty()
            && handle.len() <= Self::MAX_HANDLE_BYTES
            && handle.bytes().all(base64url);
        plausible.then(|| Secret::new(handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_is_taken_and_other_cookies_stay() {
        let cookie = SessionCookie::new(&Url::parse("https://a.test").unwrap());
        for (sent, handle, left) in [
            ("__Host-banyan=abc", Some("abc"), None),
            ("a=1; __Host-banyan=abc; b=2", Some("abc"), Some("a=1; b=2")),
            ("a=1", None, Some("a=1")),
            ("banyan=abc", None, Some("banyan=abc")),
            ("__Host-banyan=a; __Host-banyan=b", None, None),
            ("__Host-banyan=a b", None, None),
            ("__Host-banyan=", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, sent.parse().unwrap());
            let taken = cookie.take(&mut headers);
            assert_eq!(taken.as_ref().map(Secret::expose), handle, "{sent}");
            let rest = headers
                .get(header::COOKIE)
                .map(|rest| rest.to_str().unwrap());
            assert_eq!(rest, left, "{sent}");
        }
    }

    #[test]
    fn it_is_for_this_host_and_no_script() {
        let set = |url: &str| {
            let cookie = SessionCookie::new(&Url::parse(url).unwrap());
            let value = cookie.set(&Secret::new("abc"), Duration::DAY);
            value.to_str().unwrap().to_owned()
        };
        assert_eq!(
            set("https://a.test"),
            "__Host-banyan=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400; Secure"
        );
        assert_eq!(
            set("http://localhost:8080"),
            "banyan=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400"
        );
    }
}
