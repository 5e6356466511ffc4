//! `POST /api/v1/users/{id}/suspend`, `…/reinstate` and `…/sign-out`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem, UserId, principal::CurrentUser};

use crate::{
    State,
    administration::{Act, act},
    http::error::Error,
};

/// Shuts an account out.
///
/// All its sessions end, and its tokens are refused from then on. Nothing of it is deleted.
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/suspend",
    operation_id = "suspend_user",
    params(("id" = UserId, Path, description = "The account's id")),
    responses(
        (status = 204, description = "The account is suspended"),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 404, description = "There is no such account", body = Problem),
        (status = 409, description = "It is the caller's own account: `own-account`", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.suspend_user", skip_all)]
pub(crate) async fn suspend_user(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path(id): Path<UserId>,
) -> Result<StatusCode, Error> {
    act(&state, caller.id, id, Act::Suspend).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a suspended account in again.
///
/// Its holder signs in anew.
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/reinstate",
    operation_id = "reinstate_user",
    params(("id" = UserId, Path, description = "The account's id")),
    responses(
        (status = 204, description = "The account may be used"),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 404, description = "There is no such account", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.reinstate_user", skip_all)]
pub(crate) async fn reinstate_user(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path(id): Path<UserId>,
) -> Result<StatusCode, Error> {
    act(&state, caller.id, id, Act::Reinstate).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of an account.
///
/// Its holder may sign in again.
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/sign-out",
    operation_id = "sign_out_user",
    params(("id" = UserId, Path, description = "The account's id")),
    responses(
        (status = 204, description = "Its sessions are over"),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 404, description = "There is no such account", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.sign_out_user", skip_all)]
pub(crate) async fn sign_out_user(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path(id): Path<UserId>,
) -> Result<StatusCode, Error> {
    act(&state, caller.id, id, Act::SignOut).await?;
    Ok(StatusCode::NO_CONTENT)
}
