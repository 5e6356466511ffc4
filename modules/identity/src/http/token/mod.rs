//! `POST /oauth/token`: services sign in (RFC 6749 §4.4).

mod error;
mod request;

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use self::{
    error::{TokenError, TokenProblem},
    request::{ClientCredentials, TokenRequest},
};
use crate::{
    State,
    domain::{Scopes, ServiceSecret},
    http::cache::{self, Cached},
    signing::{Grant, Holder},
    store::{self, services::Credentials},
};

/// An access token for a service (RFC 6749 §5.1). There is no refresh token: the secret gives the
/// next.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceTokenResponse {
    /// Goes into the header `Authorization: Bearer …`.
    access_token: String,
    #[schema(examples("Bearer"))]
    token_type: &'static str,
    /// Life of the access token, in seconds.
    #[schema(examples(900))]
    expires_in: i64,
    /// What the token allows, separated by spaces.
    #[schema(examples("logs:write"))]
    scope: String,
}

/// Signs in a service with its client credentials.
///
/// As RFC 6749 §4.4 has it: a form, with id and secret in `Authorization: Basic` (§2.3.1), or in the
/// form. Errors are problem documents that also have the members `error` and `error_description` of
/// RFC 6749 §5.2: clients of either find what they know.
#[utoipa::path(
    post,
    path = "/oauth/token",
    operation_id = "token",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Signed in", body = ServiceTokenResponse),
        (status = 400, description = "`invalid_request`, `unsupported_grant_type`, or \
                                      `invalid_scope`: more than the service has",
         body = TokenProblem),
        (status = 401, description = "`invalid_client`: there is no such service, its secret is \
                                      another, or it is disabled", body = TokenProblem),
        (status = 503, description = "Not available at the moment", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.token", skip_all)]
pub(crate) async fn token(
    Shared(state): Shared<Arc<State>>,
    request: ClientCredentials,
) -> Result<Cached<ServiceTokenResponse>, TokenError> {
    // Before the look at the service: what is revoked in between must meet this token.
    let now = state.db.world().now();
    let found = {
        let mut conn = state.db.pool().acquire().await?;
        store::services::credentials(&mut conn, &request.client_id, now).await?
    };
    let good = is_good(&request.secret, found.as_ref());
    // Only names that we gave: people paste secrets into the wrong field.
    let known = found
        .as_ref()
        .map_or("unknown", |_| request.client_id.as_str());
    let Some(service) = found.filter(|_| good) else {
        tracing::info!(service.id = known, "service refused");
        return Err(TokenError::InvalidClient);
    };
    let all = Scopes::stored(service.scopes);
    let scopes = request.scopes.unwrap_or_else(|| all.clone());
    if !all.includes(&scopes) {
        return Err(TokenError::InvalidScope);
    }
    let keys = state.signer.keys().await?;
    let scope = scopes.joined();
    let lifetime = state.config.access_token_ttl;
    let access_token = state.signer.sign(
        &keys,
        Grant {
            holder: Holder::Service {
                client_id: request.client_id,
                scopes,
            },
            issued_at: service.tokens_from.map_or(now, |from| from.max(now)),
            expires_at: now + lifetime,
        },
    )?;
    Ok(cache::no_store(ServiceTokenResponse {
        access_token: access_token.expose().to_owned(),
        token_type: "Bearer",
        expires_in: lifetime.whole_seconds(),
        scope,
    }))
}

/// The same as `/oauth/token`, where it was before.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token",
    operation_id = "token_before",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Signed in", body = ServiceTokenResponse),
        (status = 400, description = "As of `/oauth/token`", body = TokenProblem),
        (status = 401, description = "As of `/oauth/token`", body = TokenProblem),
        (status = 503, description = "Not available at the moment", body = Problem),
    )
)]
pub(crate) async fn token_before(
    state: Shared<Arc<State>>,
    request: ClientCredentials,
) -> Result<Cached<ServiceTokenResponse>, TokenError> {
    token(state, request).await
}

/// As much work for a service that is not there as for one with another secret.
fn is_good(secret: &ServiceSecret, service: Option<&Credentials>) -> bool {
    let digest = service.map_or(&[0; 32][..], |service| &service.secret_digest);
    let previous = service.and_then(|service| service.previous_digest.as_deref());
    let current = secret.matches(digest);
    let previous = secret.matches(previous.unwrap_or(&[0; 32]));
    service.is_some() && (current || previous)
}
