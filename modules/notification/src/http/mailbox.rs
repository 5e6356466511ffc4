//! What the three routes of the development mailbox share.

use axum::http::{HeaderName, HeaderValue, header};
use kernel::Problem;

use crate::State;

/// Shown at a time.
pub(super) const LIMIT: i64 = 200;

/// Everybody's mail, for anybody: only in development, and only while no mail really leaves.
pub(super) fn check(state: &State) -> Result<(), Problem> {
    if state.has_mailbox {
        Ok(())
    } else {
        Err(Problem::not_found())
    }
}

/// What a page says in place of the edge: it loads nothing from anywhere and runs no script.
pub(super) fn page_headers(policy: &'static str) -> [(HeaderName, HeaderValue); 2] {
    [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]
}
