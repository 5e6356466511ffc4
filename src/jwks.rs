//! Where identity publishes its keys, as a source for verifiers of other processes.

use anyhow::Context;
use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use kernel::KeySource;
use reqwest::{Client, header};
use url::Url;

use crate::http_client::bounded_body;

/// Some hundred keys; a key set holds two or three.
const MAX_BYTES: usize = 64 * 1024;

/// An address that answers a key set (RFC 7517 §5).
pub struct JwksEndpoint {
    url: Url,
    http: Client,
}

impl JwksEndpoint {
    pub fn new(url: Url, http: Client) -> Self {
        Self { url, http }
    }
}

#[async_trait]
impl KeySource for JwksEndpoint {
    async fn fetch(&self) -> anyhow::Result<JwkSet> {
        let request = self.http.get(self.url.clone());
        let request = request.header(header::ACCEPT, "application/jwk-set+json, application/json");
        let answer = request.send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{} answers {status}", self.url);
        let body = bounded_body(answer, MAX_BYTES).await?;
        // Keys of kinds that this program does not know are in it: the verifier passes over them.
        serde_json::from_slice(&body).with_context(|| format!("{} answers no key set", self.url))
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, response::Redirect, routing::get};
    use jsonwebtoken::jwk::Jwk;

    use super::*;
    use crate::http_client;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"one",
                          "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    /// What comes of an answer like this: the kids, or the error.
    async fn fetched(path: &str) -> anyhow::Result<Vec<String>> {
        let good = format!(r#"{{"keys":[{KEY},{{"kty":"new","kid":"two"}}]}}"#);
        let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(MAX_BYTES));
        let router = Router::new()
            .route("/good", get(|| async { good }))
            .route("/long", get(|| async { long }))
            .route("/text", get(|| async { "keys" }))
            .route("/down", get(|| async { StatusCode::BAD_GATEWAY }))
            .route("/moved", get(|| async { Redirect::temporary("/good") }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}{path}", listener.local_addr()?).parse()?;
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let endpoint = JwksEndpoint::new(url, http_client::client());
        let set = endpoint.fetch().await;
        server.abort();
        let kid = |jwk: Jwk| jwk.common.key_id.expect("a kid");
        Ok(set?.keys.into_iter().map(kid).collect())
    }

    #[tokio::test]
    async fn only_a_key_set_within_bounds_is_one() {
        assert_eq!(fetched("/good").await.unwrap(), ["one", "two"]);
        for (path, why) in [
            ("/long", "more than"),
            ("/text", "no key set"),
            ("/down", "502"),
            ("/moved", "307"),
            ("/missing", "404"),
        ] {
            let error = format!("{:#}", fetched(path).await.unwrap_err());
            assert!(error.contains(why), "{path}: {error}");
        }
    }
}
