//! `identity.users`.

use kernel::{SessionId, UserId};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::Email;

/// An account that is to be.
pub(crate) struct NewUser<'a> {
    pub(crate) user_id: UserId,
    pub(crate) email: &'a str,
    pub(crate) password_hash: Option<&'a str>,
    pub(crate) display_name: Option<&'a str>,
    pub(crate) locale: &'a str,
    pub(crate) time_zone: &'a str,
    pub(crate) roles: &'a [String],
}

/// False when the address has an account: then nothing is written, and the transaction goes on.
/// Waits for others who are making one with the same address just now.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    user: &NewUser<'_>,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO identity.users
             (user_id, email, password_hash, display_name, locale, time_zone, roles, registered_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT ON CONSTRAINT users_email_canonical_key DO NOTHING",
        user.user_id.0,
        user.email,
        user.password_hash,
        user.display_name,
        user.locale,
        user.time_zone,
        user.roles,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a wrong password would count against: the account, for strangers or for a familiar client, and
/// the network.
#[derive(Clone, Copy)]
pub(crate) struct Counters<'a> {
    pub(crate) stranger: &'a [u8; 32],
    pub(crate) friend: &'a [u8; 32],
    pub(crate) network: Option<&'a [u8; 32]>,
}

/// What signing in with a password needs; the same for an address without an account, but for it.
pub(crate) struct Look {
    pub(crate) user_id: Option<UserId>,
    pub(crate) password_hash: Option<String>,
    pub(crate) suspended: bool,
    /// The account was used from this client before.
    pub(crate) familiar: bool,
    /// No guess is allowed before.
    pub(crate) blocked_until: Option<OffsetDateTime>,
    /// So much has failed that a further failure costs a pause.
    pub(crate) costs_pauses: bool,
}

pub(crate) async fn look(
    conn: &mut PgConnection,
    email: &Email,
    client_digest: &[u8; 32],
    counters: Counters<'_>,
    now: OffsetDateTime,
) -> Result<Look, sqlx::Error> {
    sqlx::query_as!(
        Look,
        r#"SELECT u.user_id AS "user_id?: UserId", u.password_hash AS "password_hash?",
                  u.suspended_at IS NOT NULL AS "suspended!",
                  c.user_id IS NOT NULL AS "familiar!",
                  CASE WHEN greatest(a.blocked_until, n.blocked_until) > $6
                       THEN greatest(a.blocked_until, n.blocked_until) END AS blocked_until,
                  coalesce(a.failures >= a.free, false) OR coalesce(n.failures >= n.free, false)
                      AS "costs_pauses!"
             FROM (VALUES (1)) AS one
             LEFT JOIN identity.users AS u ON u.email_canonical = $1
             LEFT JOIN identity.familiar_clients AS c
                    ON c.user_id = u.user_id AND c.client_digest = $2
             LEFT JOIN identity.failures AS a
                    ON a.key = CASE WHEN c.user_id IS NULL THEN $3::bytea ELSE $4::bytea END
             LEFT JOIN identity.failures AS n ON n.key = $5"#,
        email.canonical(),
        &client_digest[..],
        &counters.stranger[..],
        &counters.friend[..],
        counters.network.map(|key| &key[..]),
        now
    )
    .fetch_one(conn)
    .await
}

/// Puts a hash of the same password in place of one; false when it was replaced in the meantime.
pub(crate) async fn replace_hash(
    conn: &mut PgConnection,
    user_id: UserId,
    old: &str,
    new: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE identity.users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2",
        user_id.0,
        old,
        new
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn has_password(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM identity.users
                           WHERE user_id = $1 AND password_hash IS NOT NULL) AS "has!""#,
        user_id.0
    )
    .fetch_one(conn)
    .await
}

/// Sets another password, whatever it was before.
pub(crate) async fn set_password(
    conn: &mut PgConnection,
    user_id: UserId,
    password_hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE identity.users SET password_hash = $2 WHERE user_id = $1",
        user_id.0,
        password_hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An account as its owner, administrators and other modules see it.
pub(crate) struct User {
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    pub(crate) display_name: Option<String>,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) roles: Vec<String>,
    pub(crate) registered_at: OffsetDateTime,
}

/// The user of a session that is alive.
pub(crate) async fn of_session(
    conn: &mut PgConnection,
    user_id: UserId,
    session_id: SessionId,
    now: OffsetDateTime,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"SELECT u.user_id AS "user_id: UserId", u.email, u.display_name, u.locale, u.time_zone,
                  u.roles, u.registered_at
             FROM identity.sessions s
             JOIN identity.users u USING (user_id)
            WHERE s.session_id = $1 AND s.user_id = $2 AND s.idle_expires_at > $3"#,
        session_id.0,
        user_id.0,
        now
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn page(
    conn: &mut PgConnection,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"SELECT user_id AS "user_id: UserId", email, display_name, locale, time_zone, roles,
                  registered_at
             FROM identity.users
            WHERE user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
            ORDER BY user_id
            LIMIT $2"#,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// As [`page`], locked against changes until the transaction ends: what is told of them in it must
/// not be older than what a change tells before it.
pub(crate) async fn lock_page(
    conn: &mut PgConnection,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"SELECT user_id AS "user_id: UserId", email, display_name, locale, time_zone, roles,
                  registered_at
             FROM identity.users
            WHERE user_id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
            ORDER BY user_id
            LIMIT $2
              FOR SHARE"#,
        after.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// What became of granting a role.
#[derive(Debug)]
pub(crate) enum Grant {
    Granted(UserId),
    AlreadyHeld(UserId),
    NoSuchUser,
}

/// Gives the role to whoever has the address.
pub(crate) async fn grant_role(
    conn: &mut PgConnection,
    email: &Email,
    role: &str,
) -> Result<Grant, sqlx::Error> {
    // Locked first: of two grants at once, the second sees the role of the first.
    let user = sqlx::query!(
        r#"SELECT user_id AS "user_id: UserId", $2 = ANY (roles) AS "held!"
             FROM identity.users
            WHERE email_canonical = $1
              FOR NO KEY UPDATE"#,
        email.canonical(),
        role
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(user) = user else {
        return Ok(Grant::NoSuchUser);
    };
    if user.held {
        return Ok(Grant::AlreadyHeld(user.user_id));
    }
    sqlx::query!(
        "UPDATE identity.users SET roles = array_append(roles, $2) WHERE user_id = $1",
        user.user_id.0,
        role
    )
    .execute(conn)
    .await?;
    Ok(Grant::Granted(user.user_id))
}

pub(crate) async fn has_admin(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM identity.users WHERE 'admin' = ANY (roles)) AS "exists!""#
    )
    .fetch_one(conn)
    .await
}
