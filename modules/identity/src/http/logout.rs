//! `POST /api/v1/auth/logout`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Json, Problem, Secret};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{State, domain::RefreshToken, events::SessionEnd, http::error::Error, sessions, store};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogoutRequest {
    /// Any of the session's: an old one ends it as well.
    #[schema(value_type = String)]
    refresh_token: Secret,
}

/// Ends a session.
///
/// Its access tokens are refused from then on. Ending what is over already, or was never there,
/// is answered alike.
#[utoipa::path(
    post,
    path = "/api/v1/auth/logout",
    operation_id = "logout",
    request_body = LogoutRequest,
    responses(
        (status = 204, description = "The session is over"),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "Fields are missing or unknown", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.logout", skip_all)]
pub(crate) async fn logout(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<LogoutRequest>,
) -> Result<StatusCode, Error> {
    let key = &state.keys.refresh_tokens;
    if let Some(token) = RefreshToken::decode(key, request.refresh_token.expose()) {
        let mut tx = state.db.begin().await?;
        if let Some(ended) = store::sessions::end(&mut tx, token.session).await? {
            sessions::publish_end(&mut tx, &ended, SessionEnd::LoggedOut);
            tx.commit().await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
