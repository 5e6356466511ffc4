//! The HTTP client for calls between processes of an installation.

use std::time::Duration;

use reqwest::{Client, Response, redirect::Policy};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Trusts the authorities that the machine trusts (`SSL_CERT_FILE` names others), and follows no
/// redirect and no proxy of the environment: a secret or a key set is not to be had from wherever
/// somebody points.
pub fn client() -> Client {
    let builder = || {
        Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            // Secrets and keys pass here: a proxy of the environment is nobody to trust with them.
            .no_proxy()
            .user_agent(concat!("banyan/", env!("CARGO_PKG_VERSION")))
    };
    builder().build().unwrap_or_else(|error| {
        // Slim containers come without a list of authorities: plain HTTP, which is all that they may
        // need, works without one. HTTPS is refused then, connection by connection.
        tracing::debug!(%error, "no certificate authorities are known");
        let without = builder().tls_certs_only([]).build();
        without.expect("without authorities, nothing is asked of the machine")
    })
}

/// The body of an answer, if it has at most so many bytes.
///
/// # Errors
/// When it has more, or the connection breaks.
pub async fn bounded_body(mut answer: Response, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        anyhow::ensure!(
            body.len() + chunk.len() <= max_bytes,
            "the answer has more than {max_bytes} bytes"
        );
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
