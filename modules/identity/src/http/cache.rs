//! JSON with what caches may do with it.

use axum::http::{HeaderName, HeaderValue, header};
use kernel::Json;
use time::Duration;

pub(crate) type Cached<T> = ([(HeaderName, HeaderValue); 1], Json<T>);

/// For its recipient alone, and not to be kept.
pub(crate) fn no_store<T>(body: T) -> Cached<T> {
    with(HeaderValue::from_static("no-store"), body)
}

/// For anybody.
pub(crate) fn public<T>(max_age: Duration, body: T) -> Cached<T> {
    let value = format!("public, max-age={}", max_age.whole_seconds());
    with(
        HeaderValue::try_from(value).expect("a number is a header value"),
        body,
    )
}

fn with<T>(value: HeaderValue, body: T) -> Cached<T> {
    ([(header::CACHE_CONTROL, value)], Json(body))
}
