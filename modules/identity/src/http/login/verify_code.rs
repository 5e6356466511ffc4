//! `POST /api/v1/auth/login/code/verify`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Json, Problem, Secret};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    State, codes,
    domain::CodePurpose,
    http::{
        error::Error,
        tokens::{self, TokenReply, TokenResponse},
    },
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyCodeRequest {
    /// As given when the code was asked for.
    id: Uuid,
    /// Six digits; spaces and dashes do not matter.
    #[schema(value_type = String, examples("123456"))]
    code: Secret,
}

/// Signs in with a code that was mailed.
///
/// It is good once, for some minutes and for few tries.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login/code/verify",
    operation_id = "sign_in_with_code",
    request_body = VerifyCodeRequest,
    responses(
        (status = 200, description = "Signed in", body = TokenResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "The code is wrong, expired, used or was tried too often: \
                                      `verification-failed`", body = Problem),
        (status = 429, description = "Too many wrong guesses: `too-many-attempts`, see Retry-After",
         body = Problem),
    )
)]
#[tracing::instrument(name = "identity.sign_in_with_code", skip_all)]
pub(crate) async fn sign_in_with_code(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<VerifyCodeRequest>,
) -> Result<TokenReply, Error> {
    let code = request.code.expose();
    let holder = codes::check(&state, CodePurpose::SignIn, request.id, code).await?;
    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let mut tx = state.db.begin().await?;
    let reply = tokens::begin_session(&state, &mut tx, &keys, holder, now).await?;
    tx.commit().await?;
    Ok(reply)
}
