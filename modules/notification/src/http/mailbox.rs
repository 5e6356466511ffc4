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

/// Headers of a page that loads nothing from anywhere and runs no script.
pub(super) fn page_headers(policy: &'static str) -> [(HeaderName, HeaderValue); 4] {
    [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        // The page shows mails in a frame of its own origin.
        (
            header::X_FRAME_OPTIONS,
            HeaderValue::from_static("SAMEORIGIN"),
        ),
    ]
}
