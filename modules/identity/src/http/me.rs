//! `GET /api/v1/auth/me`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Problem, UserId, principal::CurrentUser};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    State,
    http::{
        cache::{self, Cached},
        error::Error,
    },
    store,
};

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeResponse {
    user_id: UserId,
    #[schema(examples("ada@example.org"))]
    email: String,
    /// As given when registering.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[schema(examples(json!(["user"])))]
    roles: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    registered_at: OffsetDateTime,
}

/// The caller's own account.
#[utoipa::path(
    get,
    path = "/api/v1/auth/me",
    operation_id = "me",
    responses(
        (status = 200, description = "The account", body = MeResponse),
        (status = 401, description = "No access token, or its session is over", body = Problem),
        (status = 403, description = "The caller is not a person", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.me", skip_all)]
pub(crate) async fn me(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
) -> Result<Cached<MeResponse>, Error> {
    let now = state.db.world().now();
    let mut conn = state.db.pool().acquire().await?;
    let user = store::users::of_session(&mut conn, caller.id, caller.session, now)
        .await?
        .ok_or(Error::SessionGone)?;
    Ok(cache::no_store(MeResponse {
        user_id: user.user_id,
        email: user.email,
        display_name: user.display_name,
        roles: user.roles,
        registered_at: user.registered_at,
    }))
}
