//! `POST /api/v1/auth/registrations/{id}/verify`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{FieldError, Json, Path, Problem, Secret, Tx, UserId, secret::constant_time_eq};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    State, accounts,
    domain::{Password, USER, VerificationCode},
    http::{
        error::Error,
        tokens::{self, TokenReply, TokenResponse},
    },
    sessions::Proof,
    sign_in::Proven,
    store::{self, users::NewUser},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest {
    /// Six digits; spaces and dashes do not matter.
    #[schema(value_type = String, examples("123456"))]
    code: Secret,
    /// Takes the place of the one that was given when registering. A client that did not register
    /// itself, but was opened by the link in the mail, asks the person for one: else whoever registered
    /// a stranger's address would know the password.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 256)]
    password: Option<Secret>,
}

/// Proves the address, which makes the account and signs in.
///
/// Only the client that registered, and who reads the mail, know the registration's id, and only the
/// mailbox the code.
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
    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let (mut tx, holder) = prove(&state, id, &request.code, request.password.as_ref()).await?;
    let reply = tokens::begin_session(&state, &mut tx, &keys, holder, now).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, reply))
}

/// Makes the account, if the code is right, in a transaction in which the caller begins its first
/// session.
pub(crate) async fn prove(
    state: &State,
    id: Uuid,
    code: &Secret,
    password: Option<&Secret>,
) -> Result<(Tx, Proven), Error> {
    let password = match password {
        Some(password) => Some(
            Password::parse(password, &[])
                .map_err(|invalid| Error::Invalid(vec![FieldError::new("/password", invalid)]))?,
        ),
        None => None,
    };
    let code = VerificationCode::parse(code.expose()).ok_or(Error::VerificationFailed)?;
    let digest = code.digest(&state.keys.verification_codes, id);
    let world = state.db.world();
    let now = world.now();

    let mut tx = state.db.begin().await?;
    let attempted = store::registrations::attempt(&mut tx, id, now)
        .await?
        .ok_or(Error::VerificationFailed)?;
    // Of an address that had an account, the code was never mailed: a lucky guess is wrong.
    let free = attempted.existing_user_id.is_none();
    if !(constant_time_eq(&digest, &attempted.code_digest) && free) {
        // Committed, so that the attempt counts.
        tx.commit().await?;
        return Err(Error::VerificationFailed);
    }
    let password_hash = match password {
        // The row stays locked meanwhile, which only others who try this very code notice.
        Some(password) => {
            let place = state.passwords.reserve()?;
            Some(state.passwords.hash(place, password).await?)
        }
        None => attempted.password_hash,
    };

    let user_id = UserId(world.uuid());
    let roles = vec![USER.to_owned()];
    let user = NewUser {
        user_id,
        email: &attempted.email,
        password_hash: password_hash.as_deref(),
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
    let holder = Proven {
        user_id,
        proof: Proof::Registration,
        guess: None,
    };
    Ok((tx, holder))
}
