//! Which requests a browser made for a page of ours, and not for somebody else's.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::problem::Problem;

/// How people reach this installation, as an extension of every request.
#[derive(Clone, Debug)]
pub struct PublicUrl(pub Arc<Url>);

/// What another page's request is answered.
pub fn cross_site() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "cross-site",
        "The request did not come from one of our own pages",
    )
    .detail("Open the page anew, at the address that this installation is known by, and try again.")
}

/// Must be true before a browser's request changes anything, sign-in forms included.
///
/// `Sec-Fetch-Site` decides where it is sent: no page can set it. Browsers leave it out over plain
/// HTTP (save for localhost) and old ones do not know it; then `Origin` must be that of
/// `public_url`, never of the Host header, which rebinding DNS can choose. A request that carries
/// neither is refused.
pub fn is_same_origin(headers: &HeaderMap, public_url: &Url) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    if let Some(site) = sites.next() {
        return site == "same-origin" && sites.next().is_none();
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    // An opaque origin is sent as `null`, and is nobody's.
    let own = public_url.origin();
    own.is_tuple() && origin.as_bytes() == own.ascii_serialization().as_bytes()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_our_own_pages_change_things() {
        const SITE: &str = "sec-fetch-site";
        for (allowed, headers) in [
            (true, &[(SITE, "same-origin")][..]),
            (
                true,
                &[(SITE, "same-origin"), ("origin", "https://proxy.test")],
            ),
            (true, &[("origin", "https://app.test:8443")]),
            (false, &[]),
            (false, &[("host", "app.test:8443")]),
            (false, &[(SITE, "none")]),
            (false, &[(SITE, "same-site")]),
            (false, &[(SITE, "cross-site")]),
            (false, &[(SITE, "")]),
            (
                false,
                &[(SITE, "cross-site"), ("origin", "https://app.test:8443")],
            ),
            (false, &[(SITE, "same-origin"), (SITE, "cross-site")]),
            (false, &[("origin", "null")]),
            (false, &[("origin", "http://app.test:8443")]),
            (false, &[("origin", "https://app.test")]),
            (false, &[("origin", "https://app.test:8443/")]),
            (false, &[("origin", "https://app.test:8443.evil.test")]),
            (false, &[("referer", "https://app.test:8443/setup")]),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            let url = Url::parse("https://app.test:8443/base/").unwrap();
            assert_eq!(is_same_origin(&map, &url), allowed, "{headers:?}");
        }
    }
}
