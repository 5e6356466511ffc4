//! The session of a browser.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use kernel::{Tx, browser_session::SessionCookie, secret::random_token};
use time::OffsetDateTime;

use crate::{State, http::error::Error, sessions, sign_in::Proven};

/// Begins one, for the cookie that goes with the answer. A handle of its own each time: one that somebody
/// planted in the browser is worth nothing (session fixation).
pub(super) async fn begin(
    state: &State,
    tx: &mut Tx,
    holder: Proven,
    now: OffsetDateTime,
) -> Result<HeaderValue, Error> {
    let handle = random_token(state.db.world());
    sessions::start(tx, state, holder, Some(&handle), now).await?;
    let cookie = SessionCookie::new(&state.public_url);
    Ok(cookie.set(&handle, state.config.session_lifetime))
}

pub(super) fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}
