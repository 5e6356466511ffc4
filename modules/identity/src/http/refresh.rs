//! `POST /api/v1/auth/refresh`.

use std::sync::Arc;

use axum::extract::State as Shared;
use kernel::{Json, Problem, Secret};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    State,
    domain::RefreshToken,
    events::SessionEnd,
    http::{
        error::Error,
        tokens::{self, Generation, TokenReply, TokenResponse},
    },
    sessions,
    store::{self, sessions::Lifetimes},
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshRequest {
    #[schema(value_type = String)]
    refresh_token: Secret,
}

/// Exchanges a refresh token for new tokens.
///
/// A refresh token is good for one exchange; its successor is part of the answer. As long as the
/// successor was not used, the exchange may be repeated and gives the same successor again: an
/// answer that got lost costs nobody their session. A token older than that is in two hands: the
/// session ends for both (RFC 9700 §4.14.2).
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    operation_id = "refresh",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "New tokens of the same session", body = TokenResponse),
        (status = 400, description = "The body is not JSON", body = Problem),
        (status = 401, description = "The session is over, or the token was not issued here: \
                                      `invalid-refresh-token`", body = Problem),
        (status = 415, description = "The body is of another type", body = Problem),
        (status = 422, description = "Fields are missing or unknown", body = Problem),
    )
)]
#[tracing::instrument(name = "identity.refresh", skip_all)]
pub(crate) async fn refresh(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<RefreshRequest>,
) -> Result<TokenReply, Error> {
    let key = &state.keys.refresh_tokens;
    let token = RefreshToken::decode(key, request.refresh_token.expose())
        .ok_or(Error::InvalidRefreshToken)?;
    let keys = state.signer.keys().await?;
    let now = state.db.world().now();
    let rotated = {
        let mut conn = state.db.pool().acquire().await?;
        let lifetimes = Lifetimes {
            repeat: state.config.refresh_repeat,
            idle: state.config.session_idle,
            access_token: state.config.access_token_ttl,
        };
        store::sessions::rotate(&mut conn, token, lifetimes, now).await?
    };
    let Some(rotated) = rotated else {
        end_if_replayed(&state, token, now).await?;
        return Err(Error::InvalidRefreshToken);
    };
    tokens::reply(
        &state,
        &keys,
        Generation {
            user_id: rotated.user_id,
            roles: rotated.roles,
            tokens_from: rotated.tokens_from,
            session_id: token.session,
            generation: rotated.generation,
            tokens_expire_at: rotated.tokens_expire_at,
        },
        now,
    )
}

async fn end_if_replayed(
    state: &State,
    token: RefreshToken,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let repeat = state.config.refresh_repeat;
    let mut tx = state.db.begin().await?;
    if let Some(ended) = store::sessions::end_replayed(&mut tx, token, repeat, now).await? {
        sessions::publish_end(&mut tx, &ended, SessionEnd::TokenReplayed);
        tx.commit().await?;
        tracing::warn!(
            user.id = %ended.user_id,
            session.id = %ended.session_id,
            "refresh token replayed, session ended"
        );
    }
    Ok(())
}
