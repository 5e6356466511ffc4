//! Refusals of the token endpoint: problem documents that OAuth clients understand as well.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kernel::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{http::error::Error, signing::SigningError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Why, in the characters that RFC 6749 §5.2 allows: no quotes, no backslashes.
    #[error("the request is not valid: {0}")]
    InvalidRequest(&'static str),
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// Unknown, disabled or with another secret: no telling which.
    #[error("the client is not known by these credentials")]
    InvalidClient,
    #[error("the scope is malformed, or more than the service has")]
    InvalidScope,
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A problem document with the members of RFC 6749 §5.2.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenProblem {
    #[serde(flatten)]
    problem: Problem,
    #[schema(examples("invalid_client"))]
    error: String,
    error_description: String,
}

fn refusal(status: StatusCode, error: &str, title: &str, description: &str) -> Problem {
    Problem::new(status, &error.replace('_', "-"), title)
        .detail(description)
        .member("error", error)
        .member("error_description", description)
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let bad = StatusCode::BAD_REQUEST;
        match error {
            TokenError::InvalidRequest(why) => {
                refusal(bad, "invalid_request", "The request is not valid", why)
            }
            TokenError::UnsupportedGrantType => refusal(
                bad,
                "unsupported_grant_type",
                "The grant type is not supported",
                "Services sign in with grant_type=client_credentials.",
            ),
            TokenError::InvalidClient => refusal(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "The client is not known",
                "There is no service with this id and secret.",
            )
            .header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"banyan\", charset=\"UTF-8\""),
            ),
            TokenError::InvalidScope => refusal(
                bad,
                "invalid_scope",
                "The scope is not possible",
                "It is malformed, or more than the service has.",
            ),
            TokenError::Signing(error) => Error::Signing(error).into(),
            TokenError::Database(error) => error.into(),
        }
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
