//! Why a request was not answered.

use http::StatusCode;
use kernel::Problem;

/// The settings cannot be used; the text names the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(pub(crate) String);

/// What became of a request instead of an answer. What it says is for our log alone, and it is
/// written there by who takes it; the [`Problem`] says nothing of the inside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no address can take a request")]
    Unavailable { retry_after_seconds: u32 },
    #[error("as many requests are in flight as may be")]
    Busy,
    #[error("the answer took too long")]
    Timeout,
    #[error("the answer is broken: {0}")]
    BadGateway(String),
    /// The client's body did not arrive in time.
    #[error("the client did not send its body in time")]
    ClientTimeout,
    #[error("the client's body is larger than it may be")]
    TooLarge,
    #[error("the client's body broke off")]
    ClientBody,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable {
                retry_after_seconds,
            } => Self::unavailable(
                "The service behind this address does not answer.",
                retry_after_seconds,
            ),
            Error::Busy => {
                Self::unavailable("The service behind this address has too much to do.", 1)
            }
            Error::Timeout => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "The answer took too long",
            )
            .retry_after(1),
            Error::BadGateway(_) => Self::new(
                StatusCode::BAD_GATEWAY,
                "bad-gateway",
                "The service behind this address gave no proper answer",
            )
            .retry_after(1),
            Error::ClientTimeout => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "The request took too long to arrive",
            ),
            Error::TooLarge => Self::payload_too_large(),
            Error::ClientBody => Self::malformed("The body broke off."),
        }
    }
}
