//! `/account`: the account at a glance.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Fragment, Language, html, principal::CurrentUser};
use time::OffsetDateTime;

use super::texts;
use crate::{State, http::error::Error, store};

#[derive(Template)]
#[template(path = "pages/account.html")]
struct Page {
    l: Language,
    email: String,
    registered_at: OffsetDateTime,
    roles: Vec<String>,
    sessions: usize,
    has_password: bool,
    by_password: bool,
}

#[tracing::instrument(name = "identity.page.account", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    caller: CurrentUser,
) -> Result<Response, Error> {
    let now = state.db.world().now();
    let mut conn = state.db.pool().acquire().await?;
    let user = store::users::of_session(&mut conn, caller.id, caller.session, now)
        .await?
        .ok_or(Error::SessionGone)?;
    let limit = state.config.max_sessions_per_user;
    let sessions = store::sessions::of_user(&mut conn, caller.id, now, limit).await?;
    let page = Page {
        l: language,
        email: user.email,
        registered_at: user.registered_at,
        roles: user.roles,
        sessions: sessions.len(),
        has_password: store::users::has_password(&mut conn, caller.id).await?,
        by_password: state.config.password_sign_in,
    };
    Ok(Fragment::page(
        texts::ACCOUNT.of(&language),
        language,
        &page,
    ))
}
