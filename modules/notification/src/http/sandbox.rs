//! Mails as documents that can do nothing, for frames in our pages.

use axum::{
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};

/// The mail runs in a sandbox of its own origin, opened alone or in a frame: no script, no form, no
/// cookie, nothing loaded from elsewhere. Its links open outside, as from a mail program.
const POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
     style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
);

/// The HTML of a mail.
pub(super) fn document(html: String) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Html(html)).into_response()
}
