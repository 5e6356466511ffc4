//! The days of log records.

use sqlx::PgConnection;

/// Makes today's and tomorrow's partition where they are missing.
pub(crate) async fn ensure(conn: &mut PgConnection, keep_days: i32) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"SELECT opens AS "opens!" FROM logging.ensure_partitions(clock_timestamp(), $1)"#,
        keep_days
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Summarises what is new, so that searches can pass it over.
pub(crate) async fn summarize(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT logging.summarize_partitions()")
        .execute(conn)
        .await?;
    Ok(())
}

/// Drops the oldest day that is past keeping; false when there is none. Fails rather than waits
/// for long when records are being read or stored.
pub(crate) async fn drop_oldest(
    conn: &mut PgConnection,
    keep_days: i32,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT logging.drop_oldest_partition($1) AS "dropped!""#,
        keep_days
    )
    .fetch_one(conn)
    .await
}
