//! `GET /api/v1/auth/sessions`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Problem, SessionId, principal::CurrentUser};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    State,
    http::{
        cache::{self, Cached},
        error::Error,
    },
    store::{self, sessions::Session},
};

/// Where the caller is signed in: all of it, for there is a bound on sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionList {
    /// The newest first.
    items: Vec<SessionView>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    id: SessionId,
    /// Is it the one that asks?
    current: bool,
    /// What signed in, as far as it told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("Firefox on Linux"))]
    device: Option<String>,
    /// From where it signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("192.0.2.7"))]
    address: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_used_at: OffsetDateTime,
    /// When it ends if it is not used.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl SessionView {
    fn new(session: Session, current: SessionId) -> Self {
        Self {
            id: session.session_id,
            current: session.session_id == current,
            device: session.device,
            address: session.address,
            started_at: session.started_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
        }
    }
}

/// Where the caller is signed in.
#[utoipa::path(
    get,
    path = "/api/v1/auth/sessions",
    operation_id = "list_sessions",
    responses(
        (status = 200, description = "The caller's sessions", body = SessionList),
        (status = 401, description = "No access token, or its session is over", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.list_sessions", skip_all)]
pub(crate) async fn list_sessions(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
) -> Result<Cached<SessionList>, Error> {
    let now = state.db.world().now();
    let limit = state.config.max_sessions_per_user;
    let mut conn = state.db.pool().acquire().await?;
    let sessions = store::sessions::of_user(&mut conn, caller.id, now, limit).await?;
    let items = sessions
        .into_iter()
        .map(|session| SessionView::new(session, caller.session))
        .collect();
    Ok(cache::no_store(SessionList { items }))
}
