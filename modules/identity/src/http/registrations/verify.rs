//! `POST /api/v1/auth/registrations/{id}/verify`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Json, Path, Problem, Secret, UserId, secret::constant_time_eq};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    State, accounts,
    domain::{USER, VerificationCode},
    events::SignInMethod,
    http::{
        error::Error,
        tokens::{self, TokenReply, TokenResponse},
    },
    store::{self, users::NewUser},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest {
    /// Six digits; spaces and dashes do not matter.
    #[schema(value_type = String, examples("123456"))]
    code: Secret,
}

/// Proves the address, which makes the account and signs in.
///
/// Only the client that registered knows the registration's id, and only the mailbox the code: the
/// password that was given when registering is the account's because it takes both.
#[utoipa::path(
    post,
    path = "/api/v1/auth/registrations/{id}/verify",
    operation_id = "verify",
    params(("id" = Uuid, Path, description = "As given when registering")),
    request_body = VerifyRequest,
    responses(
        (status = 201, description = "The account exists and is signed in", body = TokenResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 404, description = "The id is not one", body = Problem),
        (status = 409, description = "Another registration of the address was proven first: \
                                      `email-taken`", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "The code is wrong, expired, used or was tried too often, or \
                                      the registration is unknown: `verification-failed`",
         body = Problem),
    )
)]
#[tracing::instrument(name = "identity.verify", skip_all)]
pub(crate) async fn verify(
    Shared(state): Shared<Arc<State>>,
    Path(id): Path<Uuid>,
    Json(request): Json<VerifyRequest>,
) -> Result<(StatusCode, TokenReply), Error> {
    let code = VerificationCode::parse(request.code.expose()).ok_or(Error::VerificationFailed)?;
    let digest = code.digest(&state.keys.verification_codes, id);
    let keys = state.signer.keys().await?;
    let world = state.db.world();
    let now = world.now();

    let mut tx = state.db.begin().await?;
    let attempted = store::registrations::attempt(&mut tx, id, now)
        .await?
        .ok_or(Error::VerificationFailed)?;
    let right = constant_time_eq(&digest, &attempted.code_digest);
    // No hash: the address had an account, and the code was never mailed. A lucky guess is wrong.
    let Some(password_hash) = attempted.password_hash.filter(|_| right) else {
        // Committed, so that the attempt counts.
        tx.commit().await?;
        return Err(Error::VerificationFailed);
    };

    let user_id = UserId(world.uuid());
    let roles = vec![USER.to_owned()];
    let user = NewUser {
        user_id,
        email: &attempted.email,
        password_hash: &password_hash,
        display_name: attempted.display_name.as_deref(),
        locale: &attempted.locale,
        time_zone: &attempted.time_zone,
        roles: &roles,
    };
    if !accounts::create(&mut tx, &user, now).await? {
        // Rolled back: the code stays good for hearing the same again.
        return Err(Error::EmailTaken);
    }
    store::registrations::delete(&mut tx, id).await?;
    let method = SignInMethod::Registration;
    let reply = tokens::begin_session(&state, &mut tx, &keys, user_id, roles, method, now).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, reply))
}
