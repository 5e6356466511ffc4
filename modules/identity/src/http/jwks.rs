//! `GET /.well-known/jwks.json`.

use std::sync::Arc;

use axum::extract::State as Shared;
use jsonwebtoken::jwk::JwkSet;
use kernel::Problem;
use utoipa::ToSchema;

use crate::{
    State,
    http::{
        cache::{self, Cached},
        error::Error,
    },
};

/// The public keys (RFC 7517 §5), each `OKP` on `Ed25519` with `kid`, `alg` and `use`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what jsonwebtoken serialises")]
pub(crate) struct KeySet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// The keys that access tokens are verified with.
///
/// A new key stands here before its first use for as long as an access token lives, and a former
/// one until everything that was signed with it has expired.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "jwks",
    responses(
        (status = 200, description = "The keys; Cache-Control says how long they may be held",
         body = KeySet),
        (status = 503, description = "Not available at the moment", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.jwks", skip_all)]
pub(crate) async fn jwks(Shared(state): Shared<Arc<State>>) -> Result<Cached<JwkSet>, Error> {
    let published = state.signer.keys().await?.published();
    Ok(cache::public(state.signer.cacheable_for(), published))
}
