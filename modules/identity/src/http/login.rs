//! `POST /api/v1/auth/login`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Json, Problem, Secret};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    State,
    domain::{Email, Password},
    events::{LoginFailed, SignInMethod},
    http::{
        error::Error,
        tokens::{self, TokenReply, TokenResponse},
    },
    store,
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
/// Begins a session. Who is refused is not told whether the address or the password was wrong.
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
    let place = state.passwords.reserve()?;
    // The connection goes back before hashing, which takes longer than all statements together.
    let found = {
        let mut conn = state.db.pool().acquire().await?;
        store::users::credentials(&mut conn, &email).await?
    };
    let (user, hash) = found
        .map(|found| ((found.user_id, found.roles), found.password_hash))
        .unzip();
    let verified = state.passwords.verify(place, password, hash).await?;
    let user_id = user.as_ref().map(|(user_id, _)| *user_id);
    let Some((user_id, roles)) = user.filter(|_| verified) else {
        let mut tx = state.db.begin().await?;
        tx.publish(&LoginFailed { user_id });
        tx.commit().await?;
        return Err(Error::InvalidCredentials);
    };

    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let method = SignInMethod::Password;
    let reply = tokens::begin_session(&state, &mut tx, &keys, user_id, roles, method, now).await?;
    tx.commit().await?;
    Ok(reply)
}
