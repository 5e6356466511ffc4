//! `identity.users`, as administrators see and change them.

use kernel::UserId;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// An account as administrators see it.
pub(crate) struct Account {
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    pub(crate) display_name: Option<String>,
    pub(crate) locale: String,
    pub(crate) time_zone: String,
    pub(crate) roles: Vec<String>,
    pub(crate) registered_at: OffsetDateTime,
    pub(crate) suspended_at: Option<OffsetDateTime>,
    pub(crate) has_password: bool,
}

/// Which accounts are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Of `to_tsquery`: beginnings of words.
    pub(crate) words: Option<String>,
    pub(crate) user_id: Option<UserId>,
    pub(crate) role: Option<String>,
    pub(crate) suspended: Option<bool>,
}

/// The newest first, of those older than `before`.
pub(crate) async fn search(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<UserId>,
    limit: i64,
) -> Result<Vec<Account>, sqlx::Error> {
    sqlx::query_as!(
        Account,
        r#"SELECT user_id AS "user_id: UserId", email, display_name, locale, time_zone, roles,
                  registered_at, suspended_at, password_hash IS NOT NULL AS "has_password!"
             FROM identity.users
            WHERE ($1::text IS NULL OR words @@ to_tsquery('simple', $1))
              AND ($2::uuid IS NULL OR user_id = $2)
              AND ($3::text IS NULL OR $3 = ANY (roles))
              AND ($4::boolean IS NULL OR (suspended_at IS NOT NULL) = $4)
              AND ($5::uuid IS NULL OR user_id < $5)
            ORDER BY user_id DESC
            LIMIT $6"#,
        filter.words,
        filter.user_id.map(|id| id.0),
        filter.role,
        filter.suspended,
        before.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}

/// Until the transaction ends nobody else changes who administers, and so it is known that the one who
/// acts still does: of two administrators who shut each other out at once, one comes too late.
pub(crate) async fn lock_administrator(
    conn: &mut PgConnection,
    actor: UserId,
) -> Result<bool, sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('identity.administrators', 0))")
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM identity.users
                           WHERE user_id = $1 AND 'admin' = ANY (roles)
                             AND suspended_at IS NULL) AS "is!""#,
        actor.0
    )
    .fetch_one(conn)
    .await
}

/// What a change found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Made,
    /// It was so before.
    Nothing,
    NoSuchUser,
}

impl Change {
    fn of(rows: u64, exists: bool) -> Self {
        match (rows, exists) {
            (0, false) => Self::NoSuchUser,
            (0, true) => Self::Nothing,
            _ => Self::Made,
        }
    }
}

pub(crate) async fn exists(conn: &mut PgConnection, user_id: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM identity.users WHERE user_id = $1) AS "is!""#,
        user_id.0
    )
    .fetch_one(conn)
    .await
}

/// Shuts an account out: from now on no session of it begins.
pub(crate) async fn suspend(
    conn: &mut PgConnection,
    user_id: UserId,
    now: OffsetDateTime,
) -> Result<Change, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE identity.users SET suspended_at = $2 WHERE user_id = $1 AND suspended_at IS NULL",
        user_id.0,
        now
    )
    .execute(&mut *conn)
    .await?;
    Ok(Change::of(
        done.rows_affected(),
        exists(conn, user_id).await?,
    ))
}

pub(crate) async fn reinstate(
    conn: &mut PgConnection,
    user_id: UserId,
) -> Result<Change, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE identity.users SET suspended_at = NULL
          WHERE user_id = $1 AND suspended_at IS NOT NULL",
        user_id.0
    )
    .execute(&mut *conn)
    .await?;
    Ok(Change::of(
        done.rows_affected(),
        exists(conn, user_id).await?,
    ))
}

pub(crate) async fn grant(
    conn: &mut PgConnection,
    user_id: UserId,
    role: &str,
) -> Result<Change, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE identity.users SET roles = array_append(roles, $2)
          WHERE user_id = $1 AND NOT $2 = ANY (roles)",
        user_id.0,
        role
    )
    .execute(&mut *conn)
    .await?;
    Ok(Change::of(
        done.rows_affected(),
        exists(conn, user_id).await?,
    ))
}

/// Takes a role away. Tokens are issued from `tokens_from` on: those of before name it.
pub(crate) async fn revoke(
    conn: &mut PgConnection,
    user_id: UserId,
    role: &str,
    tokens_from: OffsetDateTime,
) -> Result<Change, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE identity.users
            SET roles = array_remove(roles, $2), tokens_from = greatest(tokens_from, $3)
          WHERE user_id = $1 AND $2 = ANY (roles)",
        user_id.0,
        role,
        tokens_from
    )
    .execute(&mut *conn)
    .await?;
    Ok(Change::of(
        done.rows_affected(),
        exists(conn, user_id).await?,
    ))
}
