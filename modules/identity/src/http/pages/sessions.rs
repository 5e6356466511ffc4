//! `/account/sessions`: where one is signed in.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State as Shared, response::Response};
use kernel::{Form, Fragment, Language, Path, Query, SessionId, html, principal::CurrentUser};
use serde::Deserialize;

use super::{form::see_other, texts};
use crate::{
    State,
    events::SessionEnd,
    http::error::Error,
    sessions,
    store::{self, sessions::Session},
};

#[derive(Template)]
#[template(path = "pages/sessions.html")]
struct Page {
    l: Language,
    current: SessionId,
    sessions: Vec<Session>,
    done: Option<Done>,
}

/// What was just done.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    One,
    Others,
}

#[derive(Deserialize)]
pub(super) struct Params {
    done: Option<Done>,
}

#[tracing::instrument(name = "identity.page.sessions", skip_all)]
pub(super) async fn page(
    Shared(state): Shared<Arc<State>>,
    language: Language,
    caller: CurrentUser,
    Query(params): Query<Params>,
) -> Result<Response, Error> {
    let now = state.db.world().now();
    let limit = state.config.max_sessions_per_user;
    let mut conn = state.db.pool().acquire().await?;
    let page = Page {
        l: language,
        current: caller.session,
        sessions: store::sessions::of_user(&mut conn, caller.id, now, limit).await?,
        done: params.done,
    };
    Ok(Fragment::page(
        texts::SESSIONS.of(&language),
        language,
        &page,
    ))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[tracing::instrument(name = "identity.page.end_session", skip_all)]
pub(super) async fn end(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path(id): Path<SessionId>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Error> {
    let mut tx = state.db.begin().await?;
    // One that is over already is what was asked for.
    if let Some(ended) = store::sessions::end_of(&mut tx, caller.id, id).await? {
        sessions::publish_end(&mut tx, &ended, SessionEnd::Revoked);
        tx.commit().await?;
    }
    Ok(see_other("/account/sessions?done=one"))
}

#[tracing::instrument(name = "identity.page.end_other_sessions", skip_all)]
pub(super) async fn end_others(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Error> {
    let mut tx = state.db.begin().await?;
    let reason = SessionEnd::Revoked;
    sessions::end_all(&mut tx, caller.id, Some(caller.session), reason).await?;
    tx.commit().await?;
    Ok(see_other("/account/sessions?done=others"))
}
