//! `POST /api/v1/auth/password/reset`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Json, Problem, Secret, Tx};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::parse_new;
use crate::{
    State, codes,
    domain::CodePurpose,
    events::{PasswordChange, PasswordChanged, SessionEnd},
    http::{
        error::Error,
        tokens::{self, TokenReply, TokenResponse},
    },
    sessions,
    sign_in::Proven,
    store,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetPasswordRequest {
    /// As given when the code was asked for.
    id: Uuid,
    /// Six digits; spaces and dashes do not matter.
    #[schema(value_type = String, examples("123456"))]
    code: Secret,
    /// At least 8 characters, at most 256 bytes, and none of the common ones.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 256)]
    new_password: Secret,
}

/// Sets a new password with a code that was mailed, and signs in.
///
/// All sessions of the account end.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password/reset",
    operation_id = "reset_password",
    request_body = ResetPasswordRequest,
    responses(
        (status = 200, description = "The password is set; signed in", body = TokenResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "The password will not do: `validation-failed`; or the code is \
                                      wrong, expired, used or was tried too often: \
                                      `verification-failed`", body = Problem),
        (status = 429, description = "Too many wrong guesses: `too-many-attempts`, see Retry-After",
         body = Problem),
        (status = 503, description = "Too many passwords wait to be hashed; see Retry-After",
         body = Problem),
    )
)]
#[tracing::instrument(name = "identity.reset_password", skip_all)]
pub(crate) async fn reset_password(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<ResetPasswordRequest>,
) -> Result<TokenReply, Error> {
    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let ResetPasswordRequest {
        id,
        code,
        new_password,
    } = request;
    let (mut tx, holder) = set(&state, id, &code, &new_password).await?;
    let reply = tokens::begin_session(&state, &mut tx, &keys, holder, now).await?;
    tx.commit().await?;
    Ok(reply)
}

/// Sets the password, if the code is right, in a transaction in which the caller begins a session: that
/// uses the code up.
pub(crate) async fn set(
    state: &State,
    id: Uuid,
    code: &Secret,
    new_password: &Secret,
) -> Result<(Tx, Proven), Error> {
    let password = parse_new(new_password, &[])?;
    let place = state.passwords.reserve()?;
    let purpose = CodePurpose::PasswordReset;
    let holder = codes::check(state, purpose, id, code.expose()).await?;
    let user_id = holder.user_id;
    let hash = state.passwords.hash(place, password).await?;

    let mut tx = state.db.begin().await?;
    tx.default_actor(format!("user:{user_id}"));
    store::users::set_password(&mut tx, user_id, &hash).await?;
    sessions::end_all(&mut tx, user_id, None, SessionEnd::PasswordChanged).await?;
    tx.publish(&PasswordChanged {
        user_id,
        change: PasswordChange::Reset,
    });
    Ok((tx, holder))
}
