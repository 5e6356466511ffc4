//! `POST /browser-sessions/exchange`: the edge turns a browser's cookie into an access token.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{
    Json, Secret,
    browser_session::{ExchangeRequest, ExchangeResponse},
    secret::token_digest,
};

use crate::{
    State,
    http::error::Error,
    signing::{Grant, Holder},
    store,
};

/// Nothing rotates: tabs that ask at once are all answered, and the edge keeps the token for a while.
#[tracing::instrument(name = "identity.exchange_browser_session", skip_all)]
pub(crate) async fn exchange(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<ExchangeRequest>,
) -> Result<Json<ExchangeResponse>, Error> {
    let handle = Secret::new(request.handle);
    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let exchanged = {
        let digest = token_digest(handle.expose());
        let (idle, ttl) = (state.config.session_idle, state.config.access_token_ttl);
        let mut conn = state.db.pool().acquire().await?;
        store::sessions::exchange(&mut conn, &digest, idle, ttl, now).await?
    };
    let session = exchanged.ok_or(Error::NotFound)?;
    let grant = Grant {
        holder: Holder::User {
            user_id: session.user_id,
            session_id: session.session_id,
            roles: session.roles,
        },
        issued_at: session.tokens_from.map_or(now, |from| from.max(now)),
        expires_at: session.tokens_expire_at,
    };
    let access_token = state.signer.sign(&keys, grant)?;
    Ok(Json(ExchangeResponse {
        access_token: access_token.expose().to_owned(),
        expires_at: session.tokens_expire_at.unix_timestamp(),
    }))
}
