//! `PUT` and `DELETE /api/v1/users/{id}/roles/{role}`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Path, Problem, UserId, principal::CurrentUser};

use crate::{
    State,
    administration::{Act, act, may_be_granted},
    http::error::Error,
};

/// Gives an account a role.
///
/// `admin` is the one that can be given. It is in the tokens that are issued from then on.
#[utoipa::path(
    put,
    path = "/api/v1/users/{id}/roles/{role}",
    operation_id = "grant_role",
    params(
        ("id" = UserId, Path, description = "The account's id"),
        ("role" = String, Path, description = "The role", example = "admin"),
    ),
    responses(
        (status = 204, description = "The account has the role"),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 404, description = "There is no such account, or no such role", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.grant_role", skip_all)]
pub(crate) async fn grant_role(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path((id, role)): Path<(UserId, String)>,
) -> Result<StatusCode, Error> {
    if !may_be_granted(&role) {
        return Err(Error::NotFound);
    }
    act(&state, caller.id, id, Act::GrantAdmin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a role from an account.
///
/// Tokens that name it are refused from then on; sessions live, and give others.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}/roles/{role}",
    operation_id = "revoke_role",
    params(
        ("id" = UserId, Path, description = "The account's id"),
        ("role" = String, Path, description = "The role", example = "admin"),
    ),
    responses(
        (status = 204, description = "The account does not have the role"),
        (status = 401, description = "Not signed in", body = Problem),
        (status = 403, description = "The role admin is needed", body = Problem),
        (status = 404, description = "There is no such account, or no such role", body = Problem),
        (status = 409, description = "It is the caller's own account: `own-account`", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.revoke_role", skip_all)]
pub(crate) async fn revoke_role(
    Shared(state): Shared<Arc<State>>,
    caller: CurrentUser,
    Path((id, role)): Path<(UserId, String)>,
) -> Result<StatusCode, Error> {
    if !may_be_granted(&role) {
        return Err(Error::NotFound);
    }
    act(&state, caller.id, id, Act::RevokeAdmin).await?;
    Ok(StatusCode::NO_CONTENT)
}
