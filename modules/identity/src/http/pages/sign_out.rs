//! `/sign-out`.

use std::sync::Arc;

use axum::{extract::State as Shared, response::Response};
use kernel::{Form, Principal, browser_session::SessionCookie};
use serde::Deserialize;

use super::{form::see_other, session};
use crate::{State, events::SessionEnd, http::error::Error, sessions, store};

#[derive(Deserialize)]
pub(super) struct SignOutForm {}

/// Ends the session, if it is not over already, and has the browser forget it.
#[tracing::instrument(name = "identity.page.sign_out", skip_all)]
pub(super) async fn submit(
    Shared(state): Shared<Arc<State>>,
    principal: Option<axum::Extension<Principal>>,
    Form(SignOutForm {}): Form<SignOutForm>,
) -> Result<Response, Error> {
    if let Some(axum::Extension(Principal::User { session, .. })) = principal {
        let mut tx = state.db.begin().await?;
        if let Some(ended) = store::sessions::end(&mut tx, session).await? {
            sessions::publish_end(&mut tx, &ended, SessionEnd::LoggedOut);
            tx.commit().await?;
        }
    }
    let cookie = SessionCookie::new(&state.public_url).clear();
    Ok(session::with_cookie(see_other("/sign-in"), cookie))
}
