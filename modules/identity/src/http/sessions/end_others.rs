//! `DELETE /api/v1/auth/sessions`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Problem, principal::CurrentUser};

use crate::{State, events::SessionEnd, http::error::Error, sessions};

/// Ends all of the caller's sessions but the one that asks.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/sessions",
    operation_id = "end_other_sessions",
    responses(
        (status = 204, description = "The other sessions are over"),
        (status = 401, description = "No access token, or its session is over", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.end_other_sessions", skip_all)]
pub(crate) async fn end_other_sessions(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
) -> Result<StatusCode, Error> {
    let mut tx = state.db.begin().await?;
    let reason = SessionEnd::Revoked;
    sessions::end_all(&mut tx, caller.id, Some(caller.session), reason).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
