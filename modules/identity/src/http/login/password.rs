//! `POST /api/v1/auth/login`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Json, Problem, Secret};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    State,
    domain::{Email, Password},
    http::{
        error::Error,
        tokens::{self, TokenReply, TokenResponse},
    },
    sign_in,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    #[schema(examples("ada@example.org"))]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// Signs in with address and password.
///
/// Begins a session. Who is refused is not told whether the address or the password was wrong. After some
/// wrong passwords in a row at one account, or from one network, each further one costs a pause.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    operation_id = "login",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 401, description = "Address or password is wrong: `invalid-credentials`",
         body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "Fields are missing or unknown", body = Problem),
        (status = 403, description = "The account is suspended: `account-suspended`; or passwords are \
                                      not used here: `password-sign-in-off`", body = Problem),
        (status = 429, description = "Too many wrong guesses: `too-many-attempts`, see Retry-After",
         body = Problem),
        (status = 503, description = "Too many are signing in; see Retry-After", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.login", skip_all)]
pub(crate) async fn login(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<LoginRequest>,
) -> Result<TokenReply, Error> {
    // What can be no account's is refused without further ado: whoever sends it knows as much.
    let (Ok(email), Some(password)) = (
        Email::parse(&request.email),
        Password::typed(&request.password),
    ) else {
        return Err(Error::InvalidCredentials);
    };
    let holder = sign_in::check_password(&state, &email, password).await?;
    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let reply = tokens::begin_session(&state, &mut tx, &keys, holder, now).await?;
    tx.commit().await?;
    Ok(reply)
}
