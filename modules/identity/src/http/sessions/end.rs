//! `DELETE /api/v1/auth/sessions/{id}`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem, SessionId, principal::CurrentUser};

use crate::{State, events::SessionEnd, http::error::Error, sessions, store};

/// Ends one of the caller's sessions.
///
/// Its access tokens are refused from then on. It may be the one that asks.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/sessions/{id}",
    operation_id = "end_session",
    params(("id" = SessionId, Path, description = "As listed")),
    responses(
        (status = 204, description = "The session is over"),
        (status = 401, description = "No access token, or its session is over", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
        (status = 404, description = "The caller has no such session", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.end_session", skip_all)]
pub(crate) async fn end_session(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    let ended = store::sessions::end_of(&mut tx, caller.id, id).await?;
    let ended = ended.ok_or(Error::NotFound)?;
    sessions::publish_end(&mut tx, &ended, SessionEnd::Revoked);
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
