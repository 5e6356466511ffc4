//! `identity.failures`.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

/// What guesses are counted by, and how many cost nothing.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) key: [u8; 32],
    pub(crate) free: i32,
}

/// How guesses get slower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    pub(crate) longest: Duration,
    /// After this long without a failure they count from the start.
    pub(crate) memory: Duration,
}

/// Counts a failure with each counter; false when one of them does not allow a guess now, and then the
/// caller rolls back. Guesses at once queue for the rows, in the order of the keys.
pub(crate) async fn count(
    conn: &mut PgConnection,
    counters: &[Counter],
    pauses: Pauses,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let keys: Vec<Vec<u8>> = counters.iter().map(|c| c.key.to_vec()).collect();
    let free: Vec<i32> = counters.iter().map(|c| c.free).collect();
    let done = sqlx::query!(
        "INSERT INTO identity.failures AS f (key, free, failures, failed_at, blocked_until)
         SELECT key, free, 1, $3, NULL
           FROM unnest($1::bytea[], $2::int[]) AS counters (key, free)
          ORDER BY key
         ON CONFLICT (key) DO UPDATE
            SET free = excluded.free,
                failures = CASE WHEN f.failed_at < $4 THEN 1 ELSE f.failures + 1 END,
                failed_at = $3,
                blocked_until = CASE
                    WHEN f.failed_at < $4 OR f.failures < excluded.free THEN NULL
                    ELSE $3 + make_interval(
                        secs => least($5, power(2, least(f.failures - excluded.free, 30))))
                END
          WHERE f.blocked_until IS NULL OR f.blocked_until <= $3",
        &keys,
        &free,
        now,
        now - pauses.memory,
        pauses.longest.as_seconds_f64()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == counters.len() as u64)
}

/// Until when none of them allows a guess.
pub(crate) async fn blocked_until(
    conn: &mut PgConnection,
    counters: &[Counter],
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    let keys: Vec<Vec<u8>> = counters.iter().map(|c| c.key.to_vec()).collect();
    sqlx::query_scalar!(
        "SELECT max(blocked_until) FROM identity.failures WHERE key = ANY ($1) AND blocked_until > $2",
        &keys,
        now
    )
    .fetch_one(conn)
    .await
}

/// Somebody proved who they are: what was counted against their account is forgotten.
pub(crate) async fn forget(conn: &mut PgConnection, key: &[u8; 32]) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM identity.failures WHERE key = $1", &key[..])
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes back one failure that was counted before the guess turned out right.
pub(crate) async fn take_back(conn: &mut PgConnection, key: &[u8; 32]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE identity.failures
            SET failures = greatest(failures - 1, 0), blocked_until = NULL
          WHERE key = $1",
        &key[..]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` that count for nothing any more; returns how many.
pub(crate) async fn purge(
    conn: &mut PgConnection,
    failed_before: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM identity.failures
          WHERE key IN (SELECT key
                          FROM identity.failures
                         WHERE failed_at < $1
                         ORDER BY failed_at
                         LIMIT $2
                           FOR UPDATE SKIP LOCKED)",
        failed_before,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
