//! `POST /api/v1/auth/password/forgot`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{Json, Problem};

use crate::{
    State, codes,
    domain::CodePurpose,
    http::{
        error::Error,
        login::code::{CodeRequest, CodeResponse},
    },
};

/// Asks for a code to set a new password with.
///
/// Six digits are mailed to the address if it has an account. The answer is the same, and takes as
/// long, if it has none. The password stays as it is until the code came back.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password/forgot",
    operation_id = "forgot_password",
    request_body = CodeRequest,
    responses(
        (status = 202, description = "If the address has an account, a code is on its way to it",
         body = CodeResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "This can be no address", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.forgot_password", skip_all)]
pub(crate) async fn forgot_password(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<CodeRequest>,
) -> Result<(StatusCode, Json<CodeResponse>), Error> {
    let asked = codes::ask(&state, CodePurpose::PasswordReset, &request.parse()?).await?;
    Ok((StatusCode::ACCEPTED, Json(asked.into())))
}
