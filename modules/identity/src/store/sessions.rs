//! `identity.sessions`.

use kernel::{SessionId, UserId};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::domain::RefreshToken;

/// A session that begins, with its first generation of tokens.
#[derive(Debug)]
pub(crate) struct NewSession<'a> {
    pub(crate) session_id: SessionId,
    pub(crate) user_id: UserId,
    /// The hash that a password was checked against: it must not have been changed since.
    pub(crate) password_hash: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
    pub(crate) address: Option<String>,
    /// Of device and network.
    pub(crate) client_digest: &'a [u8; 32],
    /// Of the handle that a browser's cookie holds.
    pub(crate) handle_digest: Option<[u8; 32]>,
    pub(crate) idle_expires_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) tokens_expire_at: OffsetDateTime,
}

/// A session that has begun.
pub(crate) struct Begun {
    pub(crate) roles: Vec<String>,
    pub(crate) tokens_from: Option<OffsetDateTime>,
    /// The account was used before, and not from such a device and network.
    pub(crate) unfamiliar: bool,
    /// Sessions of the account, this one not counted.
    pub(crate) others: i64,
}

/// A session that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) session_id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) tokens_expire_at: OffsetDateTime,
}

/// Begins a session, and makes the client a familiar one. Nothing when the account has been suspended
/// or deleted, or its password changed, since the holder was asked: whoever does that waits for this
/// transaction, or is waited for.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    session: &NewSession<'_>,
    now: OffsetDateTime,
) -> Result<Option<Begun>, sqlx::Error> {
    sqlx::query_as!(
        Begun,
        r#"WITH account AS (
               SELECT user_id, roles, tokens_from
                 FROM identity.users
                WHERE user_id = $2 AND suspended_at IS NULL
                  AND ($3::text IS NULL OR password_hash = $3)
                  FOR SHARE
           ), begun AS (
               INSERT INTO identity.sessions
                   (session_id, user_id, generation, rotated_at, started_at, last_used_at,
                    idle_expires_at, expires_at, tokens_expire_at, device, address,
                    handle_digest)
               SELECT $1, user_id, 1, $4, $4, $4, $5, $6, $7, $8, $9, $11 FROM account
           ), familiar AS (
               INSERT INTO identity.familiar_clients AS f (user_id, client_digest, last_seen_at)
               SELECT user_id, $10, $4 FROM account
               ON CONFLICT (user_id, client_digest)
                  DO UPDATE SET last_seen_at = greatest(f.last_seen_at, excluded.last_seen_at)
               RETURNING xmax = 0 AS is_new
           )
           SELECT roles, tokens_from,
                  familiar.is_new AND EXISTS (SELECT FROM identity.familiar_clients
                                               WHERE user_id = $2) AS "unfamiliar!",
                  (SELECT count(*) FROM identity.sessions WHERE user_id = $2) AS "others!"
             FROM account, familiar"#,
        session.session_id.0,
        session.user_id.0,
        session.password_hash,
        now,
        session.idle_expires_at,
        session.expires_at,
        session.tokens_expire_at,
        session.device,
        session.address,
        &session.client_digest[..],
        session.handle_digest.as_ref().map(|digest| &digest[..])
    )
    .fetch_optional(conn)
    .await
}

/// Ends the oldest sessions of a user beyond the newest `max_per_user`.
pub(crate) async fn end_surplus(
    conn: &mut PgConnection,
    user_id: UserId,
    max_per_user: i64,
) -> Result<Vec<Ended>, sqlx::Error> {
    // Locked rows are being used or ended just now. Skipping them keeps two sign-ins of one user
    // from waiting for each other; the next one catches up.
    sqlx::query_as!(
        Ended,
        r#"WITH surplus AS (
               SELECT session_id
                 FROM identity.sessions
                WHERE user_id = $1
                ORDER BY session_id DESC
               OFFSET $2
                LIMIT 100
           )
           DELETE FROM identity.sessions
            WHERE session_id IN (SELECT s.session_id
                                   FROM identity.sessions s
                                   JOIN surplus USING (session_id)
                                    FOR UPDATE OF s SKIP LOCKED)
           RETURNING session_id AS "session_id: SessionId", user_id AS "user_id: UserId",
                     tokens_expire_at"#,
        user_id.0,
        max_per_user
    )
    .fetch_all(conn)
    .await
}

/// A session as its owner knows it.
pub(crate) struct Session {
    pub(crate) session_id: SessionId,
    pub(crate) device: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) started_at: OffsetDateTime,
    pub(crate) last_used_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// The living sessions of a user, the newest first; at most `limit`.
pub(crate) async fn of_user(
    conn: &mut PgConnection,
    user_id: UserId,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Session>, sqlx::Error> {
    sqlx::query_as!(
        Session,
        r#"SELECT session_id AS "session_id: SessionId", device, address, started_at,
                  greatest(rotated_at, last_used_at) AS "last_used_at!",
                  idle_expires_at AS expires_at
             FROM identity.sessions
            WHERE user_id = $1 AND idle_expires_at > $2
            ORDER BY session_id DESC
            LIMIT $3"#,
        user_id.0,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Ends one session of a user, if it is theirs.
pub(crate) async fn end_of(
    conn: &mut PgConnection,
    user_id: UserId,
    session_id: SessionId,
) -> Result<Option<Ended>, sqlx::Error> {
    sqlx::query_as!(
        Ended,
        r#"DELETE FROM identity.sessions
            WHERE session_id = $1 AND user_id = $2
           RETURNING session_id AS "session_id: SessionId", user_id AS "user_id: UserId",
                     tokens_expire_at"#,
        session_id.0,
        user_id.0
    )
    .fetch_optional(conn)
    .await
}

/// Ends all sessions of a user, but for one that may stay.
pub(crate) async fn end_all(
    conn: &mut PgConnection,
    user_id: UserId,
    but: Option<SessionId>,
) -> Result<Vec<Ended>, sqlx::Error> {
    // In one order, so that two who end them at once do not wait for each other in a circle.
    sqlx::query_as!(
        Ended,
        r#"DELETE FROM identity.sessions
            WHERE session_id IN (SELECT session_id
                                   FROM identity.sessions
                                  WHERE user_id = $1 AND session_id IS DISTINCT FROM $2
                                  ORDER BY session_id
                                    FOR UPDATE)
           RETURNING session_id AS "session_id: SessionId", user_id AS "user_id: UserId",
                     tokens_expire_at"#,
        user_id.0,
        but.map(|session| session.0)
    )
    .fetch_all(conn)
    .await
}

/// What the handle of a browser's session gives.
pub(crate) struct Exchanged {
    pub(crate) session_id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) roles: Vec<String>,
    pub(crate) tokens_from: Option<OffsetDateTime>,
    pub(crate) tokens_expire_at: OffsetDateTime,
}

/// Uses a browser's session. Nothing when it is over, or there never was one.
pub(crate) async fn exchange(
    conn: &mut PgConnection,
    handle_digest: &[u8; 32],
    idle: Duration,
    access_token: Duration,
    now: OffsetDateTime,
) -> Result<Option<Exchanged>, sqlx::Error> {
    sqlx::query_as!(
        Exchanged,
        r#"UPDATE identity.sessions AS s
              SET last_used_at = greatest(s.last_used_at, $2),
                  idle_expires_at = greatest(s.idle_expires_at, least(s.expires_at, $3)),
                  tokens_expire_at = greatest(s.tokens_expire_at, least(s.expires_at, $4))
             FROM identity.users AS u
            WHERE s.handle_digest = $1
              AND u.user_id = s.user_id
              AND s.idle_expires_at > $2
           RETURNING s.session_id AS "session_id: SessionId", u.user_id AS "user_id: UserId",
                     u.roles, u.tokens_from, least(s.expires_at, $4) AS "tokens_expire_at!""#,
        &handle_digest[..],
        now,
        now + idle,
        now + access_token
    )
    .fetch_optional(conn)
    .await
}

/// What an exchanged refresh token gives.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) user_id: UserId,
    pub(crate) roles: Vec<String>,
    pub(crate) tokens_from: Option<OffsetDateTime>,
    /// Of the refresh token to hand out.
    pub(crate) generation: i64,
    pub(crate) tokens_expire_at: OffsetDateTime,
}

/// How long the use of a refresh token may be repeated, and what it then gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) repeat: Duration,
    pub(crate) idle: Duration,
    pub(crate) access_token: Duration,
}

/// Exchanges a refresh token for its successor, or says the successor again for a while, as long as
/// that was not used itself. Nothing when the session is over or the token older than that.
///
/// One statement, which decides and writes under the row's lock: of any number of uses at once, the
/// first moves the generation on and the others, whose condition is checked anew when they get the
/// row, find themselves repeating it.
pub(crate) async fn rotate(
    conn: &mut PgConnection,
    token: RefreshToken,
    lifetimes: Lifetimes,
    now: OffsetDateTime,
) -> Result<Option<Rotated>, sqlx::Error> {
    sqlx::query_as!(
        Rotated,
        r#"UPDATE identity.sessions AS s
              SET generation = $2::bigint + 1,
                  rotated_at = CASE s.generation WHEN $2::bigint THEN $3 ELSE s.rotated_at END,
                  idle_expires_at = greatest(s.idle_expires_at, least(s.expires_at, $4)),
                  tokens_expire_at = greatest(s.tokens_expire_at, least(s.expires_at, $5))
             FROM identity.users AS u
            WHERE s.session_id = $1
              AND u.user_id = s.user_id
              AND (s.generation = $2::bigint
                   OR s.generation = $2::bigint + 1 AND s.rotated_at > $6)
              AND s.idle_expires_at > $3
           RETURNING u.user_id AS "user_id: UserId", u.roles, u.tokens_from, s.generation,
                     least(s.expires_at, $5) AS "tokens_expire_at!""#,
        token.session.0,
        token.generation,
        now,
        now + lifetimes.idle,
        now + lifetimes.access_token,
        now - lifetimes.repeat
    )
    .fetch_optional(conn)
    .await
}

/// Ends the session if the token's successor was used, or given out longer ago than an answer is
/// repeated: then two parties hold its tokens.
pub(crate) async fn end_replayed(
    conn: &mut PgConnection,
    token: RefreshToken,
    repeat: Duration,
    now: OffsetDateTime,
) -> Result<Option<Ended>, sqlx::Error> {
    sqlx::query_as!(
        Ended,
        r#"DELETE FROM identity.sessions
            WHERE session_id = $1
              AND (generation > $2::bigint + 1
                   OR generation = $2::bigint + 1 AND rotated_at <= $3)
           RETURNING session_id AS "session_id: SessionId", user_id AS "user_id: UserId",
                     tokens_expire_at"#,
        token.session.0,
        token.generation,
        now - repeat
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn end(
    conn: &mut PgConnection,
    session_id: SessionId,
) -> Result<Option<Ended>, sqlx::Error> {
    sqlx::query_as!(
        Ended,
        r#"DELETE FROM identity.sessions
            WHERE session_id = $1
           RETURNING session_id AS "session_id: SessionId", user_id AS "user_id: UserId",
                     tokens_expire_at"#,
        session_id.0
    )
    .fetch_optional(conn)
    .await
}

/// Ends at most `limit` sessions that have expired.
pub(crate) async fn end_expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Ended>, sqlx::Error> {
    // What is locked is being ended by somebody else.
    sqlx::query_as!(
        Ended,
        r#"DELETE FROM identity.sessions
            WHERE session_id IN (SELECT session_id
                                   FROM identity.sessions
                                  WHERE idle_expires_at <= $1
                                  ORDER BY idle_expires_at
                                  LIMIT $2
                                    FOR UPDATE SKIP LOCKED)
           RETURNING session_id AS "session_id: SessionId", user_id AS "user_id: UserId",
                     tokens_expire_at"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}
