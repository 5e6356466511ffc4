//! `POST /api/v1/auth/login/code`.

use std::sync::Arc;

use axum::{extract::State as Shared, http::StatusCode};
use kernel::{FieldError, Json, Problem};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    State,
    codes::{self, Asked},
    domain::{CodePurpose, Email},
    http::error::Error,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeRequest {
    #[schema(max_length = 254, examples("ada@example.org"))]
    pub(crate) email: String,
}

impl CodeRequest {
    pub(crate) fn parse(&self) -> Result<Email, Error> {
        Email::parse(&self.email)
            .map_err(|invalid| Error::Invalid(vec![FieldError::new("/email", invalid)]))
    }
}

/// A code that may be on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CodeResponse {
    /// To be sent with the code.
    id: Uuid,
    /// Until then the code is good.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl From<Asked> for CodeResponse {
    fn from(asked: Asked) -> Self {
        Self {
            id: asked.code_id,
            expires_at: asked.expires_at,
        }
    }
}

/// Asks for a code to sign in with.
///
/// Six digits are mailed to the address if it has an account. The answer is the same, and takes as
/// long, if it has none.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login/code",
    operation_id = "request_sign_in_code",
    request_body = CodeRequest,
    responses(
        (status = 202, description = "If the address has an account, a code is on its way to it",
         body = CodeResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "This can be no address", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.request_sign_in_code", skip_all)]
pub(crate) async fn request_sign_in_code(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<CodeRequest>,
) -> Result<(StatusCode, Json<CodeResponse>), Error> {
    let asked = codes::ask(&state, CodePurpose::SignIn, &request.parse()?).await?;
    Ok((StatusCode::ACCEPTED, Json(asked.into())))
}
