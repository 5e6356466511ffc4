//! Entity tags (RFC 9110 §8.8.3): strong ones.

use axum::http::{HeaderMap, HeaderValue, header};
use kernel::{
    Problem,
    context::hex,
    etag::{Condition, precondition_failed},
    secret::token_digest,
};

use crate::domain::Profile;

/// Of what the owner sees: of the account and the version. `/me` is another's profile to another
/// caller, so the account is part of the tag: two people who share a browser must not be told that
/// the one's profile is still the other's.
pub(crate) fn of_profile(profile: &Profile) -> HeaderValue {
    let tag = format!("\"{}.{}\"", profile.user_id.0.simple(), profile.version);
    HeaderValue::try_from(tag).expect("hex digits and quotes")
}

/// Of the body itself, where a version would tell of changes that are not shown.
pub(crate) fn of_body(body: &str) -> HeaderValue {
    let tag = format!("\"{}\"", hex(&token_digest(body)[..16]));
    HeaderValue::try_from(tag).expect("hex digits and quotes")
}

/// For edits that need no condition: one that is given holds.
pub(crate) fn check_if_given(request: &HeaderMap, profile: &Profile) -> Result<(), Problem> {
    match Condition::strong(request, header::IF_MATCH) {
        Some(condition) if !condition.holds(&of_profile(profile)) => Err(precondition_failed()),
        _ => Ok(()),
    }
}
