//! `identity.familiar_clients`.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// Deletes at most `limit` that were not seen for long; returns how many.
pub(crate) async fn purge(
    conn: &mut PgConnection,
    seen_before: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM identity.familiar_clients
          WHERE (user_id, client_digest) IN (SELECT user_id, client_digest
                                               FROM identity.familiar_clients
                                              WHERE last_seen_at < $1
                                              ORDER BY last_seen_at
                                              LIMIT $2
                                                FOR UPDATE SKIP LOCKED)",
        seen_before,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
