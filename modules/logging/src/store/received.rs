//! Batches that came over OTLP/HTTP, by their keys.

use sqlx::PgConnection;
use uuid::Uuid;

/// Enters a batch, in the transaction that stores it. If it is here already, how many of its
/// records were refused then. Waits for another attempt that is still at it.
pub(crate) async fn enter(
    conn: &mut PgConnection,
    sender: &str,
    key: Uuid,
    rejected: i32,
) -> Result<Option<i32>, sqlx::Error> {
    let entered = sqlx::query!(
        "INSERT INTO logging.received_batches (sender, key, rejected) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
        sender,
        key,
        rejected
    )
    .execute(&mut *conn)
    .await?;
    if entered.rows_affected() == 1 {
        return Ok(None);
    }
    sqlx::query_scalar!(
        "SELECT rejected FROM logging.received_batches WHERE sender = $1 AND key = $2",
        sender,
        key
    )
    .fetch_optional(conn)
    .await
}

/// Forgets batches of which no second attempt is expected any more: a day is longer than most
/// outages that shippers sit out.
pub(crate) async fn purge(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM logging.received_batches
          WHERE received_at < clock_timestamp() - interval '24 hours'"
    )
    .execute(conn)
    .await?;
    Ok(())
}
