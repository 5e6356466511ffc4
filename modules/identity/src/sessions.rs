//! Beginning and ending sessions, and telling of it.

use kernel::{SessionId, Tx, UserId};
use time::OffsetDateTime;

use crate::{
    config::Config,
    events::{SessionEnd, SessionEnded, SessionStarted, SignInMethod},
    store::{
        self,
        sessions::{Ended, NewSession},
    },
};

/// Begins a session of the user.
pub(crate) async fn start(
    tx: &mut Tx,
    config: &Config,
    session_id: SessionId,
    user_id: UserId,
    method: SignInMethod,
    now: OffsetDateTime,
) -> Result<NewSession, sqlx::Error> {
    let session = NewSession {
        session_id,
        user_id,
        idle_expires_at: now + config.session_idle,
        expires_at: now + config.session_lifetime,
        tokens_expire_at: now + config.access_token_ttl,
    };
    tx.default_actor(format!("user:{user_id}"));
    let surplus = store::sessions::insert(tx, &session, config.max_sessions_per_user, now).await?;
    tx.publish(&SessionStarted {
        user_id,
        session_id,
        method,
        device: None,
        unfamiliar: false,
    });
    for ended in surplus {
        publish_end(tx, &ended, SessionEnd::Expired);
    }
    Ok(session)
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
