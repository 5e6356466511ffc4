//! Beginning and ending sessions, and telling of it.

use kernel::{Secret, SessionId, Tx, UserId, secret::token_digest};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    State,
    events::{SessionEnd, SessionEnded, SessionStarted, SignInMethod},
    guesses,
    http::error::Error,
    sign_in::Proven,
    store::{
        self,
        sessions::{Begun, Ended, NewSession},
    },
};

/// By what somebody proved to be the holder of an account, and what must still hold when their session
/// begins.
pub(crate) enum Proof {
    /// The hash that the password was checked against is still the account's.
    Password(String),
    /// The code was not used in the meantime.
    Code(Uuid),
    /// This transaction makes the account.
    Registration,
}

impl Proof {
    fn method(&self) -> SignInMethod {
        match self {
            Self::Password(_) => SignInMethod::Password,
            Self::Code(_) => SignInMethod::Code,
            Self::Registration => SignInMethod::Registration,
        }
    }
}

/// A session that has begun in a transaction.
pub(crate) struct Started {
    pub(crate) session_id: SessionId,
    pub(crate) tokens_expire_at: OffsetDateTime,
    pub(crate) roles: Vec<String>,
    pub(crate) tokens_from: Option<OffsetDateTime>,
}

/// Begins a session of whom the proof names. Without a handle it is used by refresh tokens.
pub(crate) async fn start(
    tx: &mut Tx,
    state: &State,
    holder: Proven,
    handle: Option<&Secret>,
    now: OffsetDateTime,
) -> Result<Started, Error> {
    let Proven {
        user_id,
        proof,
        guess,
    } = holder;
    let config = &state.config;
    let session_id = SessionId(state.db.world().uuid());
    let device = guesses::device();
    let mut session = NewSession {
        session_id,
        user_id,
        password_hash: None,
        device: device.name.as_deref(),
        address: device.address.map(|address| address.to_string()),
        client_digest: &device.digest(&state.keys.familiar_clients),
        handle_digest: handle.map(|handle| token_digest(handle.expose())),
        idle_expires_at: now + config.session_idle,
        expires_at: now + config.session_lifetime,
        tokens_expire_at: now + config.access_token_ttl,
    };
    match &proof {
        Proof::Password(hash) => session.password_hash = Some(hash),
        // Of two who use it at once, the second finds it gone.
        Proof::Code(code_id) => {
            if !store::codes::take(tx, *code_id, user_id).await? {
                return Err(Error::VerificationFailed);
            }
        }
        Proof::Registration => {}
    }
    tx.default_actor(format!("user:{user_id}"));
    let begun = store::sessions::insert(tx, &session, now).await?;
    let Begun {
        roles,
        tokens_from,
        unfamiliar,
        others,
    } = begun.ok_or(Error::InvalidCredentials)?;
    if let Some(guess) = guess {
        guess.succeeded(tx).await?;
    }
    tx.publish(&SessionStarted {
        user_id,
        session_id,
        method: proof.method(),
        device: device.name.clone(),
        unfamiliar,
    });
    if others >= config.max_sessions_per_user {
        let max = config.max_sessions_per_user;
        for ended in store::sessions::end_surplus(tx, user_id, max).await? {
            publish_end(tx, &ended, SessionEnd::Expired);
        }
    }
    Ok(Started {
        session_id,
        tokens_expire_at: session.tokens_expire_at,
        roles,
        tokens_from,
    })
}

/// Ends all sessions of a user, but for one that may stay, and tells of it.
pub(crate) async fn end_all(
    tx: &mut Tx,
    user_id: UserId,
    but: Option<SessionId>,
    reason: SessionEnd,
) -> Result<(), sqlx::Error> {
    for ended in store::sessions::end_all(tx, user_id, but).await? {
        publish_end(tx, &ended, reason);
    }
    Ok(())
}

/// Tells of a session that was ended in this transaction.
pub(crate) fn publish_end(tx: &mut Tx, ended: &Ended, reason: SessionEnd) {
    if reason == SessionEnd::LoggedOut {
        tx.default_actor(format!("user:{}", ended.user_id));
    }
    tx.publish(&SessionEnded {
        user_id: ended.user_id,
        session_id: ended.session_id,
        reason,
        tokens_expire_at: ended.tokens_expire_at,
    });
}
