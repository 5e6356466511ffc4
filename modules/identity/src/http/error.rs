//! What can go wrong, and what clients are told of it.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kernel::{FieldError, Problem};

use crate::{passwords::HashError, signing::SigningError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("some fields are not valid")]
    Invalid(Vec<FieldError>),
    /// The code is wrong, expired or used, or the registration unknown: no telling which, so that
    /// nothing can be learnt by trying.
    #[error("the verification failed")]
    VerificationFailed,
    /// The code was right, but somebody else proved the address first.
    #[error("the address has an account")]
    EmailTaken,
    #[error("address or password is wrong")]
    InvalidCredentials,
    #[error("too many wrong guesses")]
    TooManyAttempts { retry_after: u32 },
    /// Told to nobody but who proved to be the holder.
    #[error("the account is suspended")]
    Suspended,
    #[error("nobody signs in with a password here")]
    PasswordSignInOff,
    #[error("nobody registers here")]
    RegistrationClosed,
    #[error("there is no such thing of the caller's")]
    NotFound,
    /// Administrators do not shut themselves out.
    #[error("this is the caller's own account")]
    OwnAccount,
    /// Not any more: the token still says so.
    #[error("the caller is no administrator")]
    NoAdministrator,
    #[error("the refresh token is not valid")]
    InvalidRefreshToken,
    /// The access token is good, but what it stands for is gone.
    #[error("the session or its user is gone")]
    SessionGone,
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(errors) => Self::validation(errors),
            Error::VerificationFailed => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "verification-failed",
                "The code is not right",
            )
            .detail("It is wrong, expired or used, or was tried too often. Ask for a new one."),
            Error::EmailTaken => Self::new(
                StatusCode::CONFLICT,
                "email-taken",
                "The address has an account",
            )
            .detail("It was registered in the meantime. Sign in instead."),
            // RFC 9110 §15.5.2 asks for WWW-Authenticate, which would name a scheme that does not
            // apply: these credentials travel in the body.
            Error::InvalidCredentials => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid-credentials",
                "Address or password is wrong",
            ),
            Error::TooManyAttempts { retry_after } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many wrong guesses",
            )
            .detail("Wait a little, or sign in with a code sent by mail.")
            .retry_after(retry_after),
            Error::Suspended => Self::new(
                StatusCode::FORBIDDEN,
                "account-suspended",
                "The account is suspended",
            )
            .detail("Ask whoever looks after this installation."),
            Error::PasswordSignInOff => Self::new(
                StatusCode::FORBIDDEN,
                "password-sign-in-off",
                "Nobody signs in with a password here",
            )
            .detail("Ask for a code by mail instead."),
            Error::RegistrationClosed => Self::new(
                StatusCode::FORBIDDEN,
                "registration-closed",
                "Nobody can register here",
            )
            .detail("Ask whoever looks after this installation for an account."),
            Error::NotFound => Self::not_found(),
            Error::OwnAccount => Self::new(
                StatusCode::CONFLICT,
                "own-account",
                "This is your own account",
            )
            .detail("Another administrator has to do it, so that there is always one."),
            Error::NoAdministrator => Self::forbidden("This needs the role admin."),
            Error::InvalidRefreshToken => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid-refresh-token",
                "The refresh token is not valid",
            )
            .detail("Its session is over, or it was not issued here. Sign in again."),
            Error::SessionGone => Self::invalid_token(),
            Error::Hash(HashError::Busy) => {
                Self::unavailable("Too many passwords wait to be checked.", 1)
            }
            Error::Hash(error @ (HashError::Unknown(_) | HashError::Abandoned)) => {
                Self::internal(error)
            }
            Error::Signing(SigningError::Database(error)) | Error::Database(error) => error.into(),
            Error::Signing(
                error @ (SigningError::Undecryptable(_)
                | SigningError::NoKey
                | SigningError::Token(_)),
            ) => Self::internal(error),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
