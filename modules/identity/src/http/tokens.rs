//! The answer to signing in.

use kernel::{SessionId, Tx, UserId};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    State,
    domain::RefreshToken,
    http::{
        cache::{self, Cached},
        error::Error,
    },
    sessions,
    sign_in::Proven,
    signing::{Grant, Holder, Keys},
};

/// Tokens of a session (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenResponse {
    user_id: UserId,
    /// Goes into the header `Authorization: Bearer …`.
    access_token: String,
    #[schema(examples("Bearer"))]
    token_type: &'static str,
    /// Life of the access token, in seconds.
    #[schema(examples(900))]
    expires_in: i64,
    /// Good for one exchange at `/api/v1/auth/refresh`, which gives the next.
    refresh_token: String,
}

/// Tokens are for their holder alone: no cache may keep them (RFC 6749 §5.1).
pub(crate) type TokenReply = Cached<TokenResponse>;

/// Begins a session and gives its first tokens. They are made before the caller commits: a session
/// whose tokens nobody gets would be a row for nothing.
pub(crate) async fn begin_session(
    state: &State,
    tx: &mut Tx,
    keys: &Keys,
    holder: Proven,
    now: OffsetDateTime,
) -> Result<TokenReply, Error> {
    let user_id = holder.user_id;
    let session = sessions::start(tx, state, holder, None, now).await?;
    let first = Generation {
        user_id,
        roles: session.roles,
        tokens_from: session.tokens_from,
        session_id: session.session_id,
        generation: 1,
        tokens_expire_at: session.tokens_expire_at,
    };
    reply(state, keys, first, now)
}

/// A generation of a session's tokens.
pub(crate) struct Generation {
    pub(crate) user_id: UserId,
    pub(crate) roles: Vec<String>,
    /// They are issued then at the earliest.
    pub(crate) tokens_from: Option<OffsetDateTime>,
    pub(crate) session_id: SessionId,
    pub(crate) generation: i64,
    pub(crate) tokens_expire_at: OffsetDateTime,
}

/// `keys` are asked for before a transaction begins: reading them may take a connection.
pub(crate) fn reply(
    state: &State,
    keys: &Keys,
    generation: Generation,
    now: OffsetDateTime,
) -> Result<TokenReply, Error> {
    let Generation {
        user_id,
        roles,
        tokens_from,
        session_id,
        generation,
        tokens_expire_at,
    } = generation;
    let refresh_token = RefreshToken {
        session: session_id,
        generation,
    };
    let access_token = state.signer.sign(
        keys,
        Grant {
            holder: Holder::User {
                user_id,
                session_id,
                roles,
            },
            issued_at: tokens_from.map_or(now, |from| from.max(now)),
            expires_at: tokens_expire_at,
        },
    )?;
    let tokens = TokenResponse {
        user_id,
        access_token: access_token.expose().to_owned(),
        token_type: "Bearer",
        expires_in: (tokens_expire_at - now).whole_seconds(),
        refresh_token: refresh_token
            .encode(&state.keys.refresh_tokens)
            .expose()
            .to_owned(),
    };
    Ok(cache::no_store(tokens))
}
