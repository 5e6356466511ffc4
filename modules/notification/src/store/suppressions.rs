//! `notification.suppressions`.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// An address that takes no mail.
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) address: &'a str,
    /// The server's words.
    pub(crate) detail: &'a str,
    pub(crate) delivery_id: Uuid,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// Of two refusals, the later counts.
pub(crate) async fn put(conn: &mut PgConnection, new: &New<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO notification.suppressions AS s
             (id, address, reason, detail, delivery_id, created_at, expires_at)
         VALUES ($1, lower($2), 'bounce', $3, $4, $5, $6)
         ON CONFLICT (address) DO UPDATE
            SET detail = $3, delivery_id = $4, created_at = $5, expires_at = $6",
        new.id,
        new.address,
        new.detail,
        new.delivery_id,
        new.created_at,
        new.expires_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Somebody read what was sent there: it takes mail.
pub(crate) async fn lift_address(
    conn: &mut PgConnection,
    address: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM notification.suppressions WHERE address = lower($1)",
        address
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` that ended before `now`.
pub(crate) async fn purge(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM notification.suppressions
          WHERE id IN (SELECT id FROM notification.suppressions
                        WHERE expires_at <= $1
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED)",
        now,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A suppression as administrators see it.
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) address: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) delivery_id: Uuid,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// At most `limit`, newest first, after the one that `before` names.
pub(crate) async fn list(
    conn: &mut PgConnection,
    address: Option<&str>,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let (before_at, before_id) = before.unzip();
    sqlx::query_as!(
        Row,
        "SELECT id, address, reason, detail, delivery_id, created_at, expires_at
           FROM notification.suppressions
          WHERE ($1::text IS NULL OR address = lower($1))
            AND (created_at, id) < (coalesce($2::timestamptz, 'infinity'),
                                    coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
          ORDER BY created_at DESC, id DESC
          LIMIT $4",
        address,
        before_at,
        before_id,
        limit
    )
    .fetch_all(conn)
    .await
}

/// False when there is none.
pub(crate) async fn lift(conn: &mut PgConnection, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("DELETE FROM notification.suppressions WHERE id = $1", id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
