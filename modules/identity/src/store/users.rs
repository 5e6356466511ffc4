//! `identity.users`.

use kernel::{SessionId, UserId};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::Email;

/// An account that is to be.
pub(crate) struct NewUser<'a> {
    pub(crate) user_id: UserId,
    pub(crate) email: &'a str,
    pub(crate) password_hash: &'a str,
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

/// What signing in needs.
pub(crate) struct Credentials {
    pub(crate) user_id: UserId,
    pub(crate) password_hash: String,
    pub(crate) roles: Vec<String>,
}

pub(crate) async fn credentials(
    conn: &mut PgConnection,
    email: &Email,
) -> Result<Option<Credentials>, sqlx::Error> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT user_id AS "user_id: UserId", password_hash, roles
             FROM identity.users
            WHERE email_canonical = $1"#,
        email.canonical()
    )
    .fetch_optional(conn)
    .await
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
