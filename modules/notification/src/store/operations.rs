//! What administrators see of deliveries, and do to them.

use kernel::UserId;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

/// Which deliveries to list; what is none restricts nothing.
#[derive(Default)]
pub(crate) struct Filter<'a> {
    pub(crate) status: Option<&'a str>,
    pub(crate) user_id: Option<UserId>,
    /// In any case: no server in use tells addresses apart by it.
    pub(crate) address: Option<&'a str>,
    pub(crate) template: Option<&'a str>,
    pub(crate) from: Option<OffsetDateTime>,
    pub(crate) to: Option<OffsetDateTime>,
}

/// A delivery without what it says.
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) channel: String,
    pub(crate) user_id: Option<UserId>,
    pub(crate) address: String,
    pub(crate) template: String,
    pub(crate) locale: String,
    pub(crate) status: String,
    pub(crate) attempts: i32,
    pub(crate) next_attempt_at: OffsetDateTime,
    pub(crate) last_error: Option<String>,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) trace_id: String,
    pub(crate) send_id: Option<Uuid>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) finished_at: Option<OffsetDateTime>,
}

/// At most `limit`, newest first, after the one that `before` names.
pub(crate) async fn list(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    before: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let (before_at, before_id) = before.unzip();
    let mut tx = conn.begin().await?;
    // Which index is the right one depends on what the filter holds: a plan for any filter takes none.
    sqlx::query("SET LOCAL plan_cache_mode = force_custom_plan")
        .execute(&mut *tx)
        .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, channel, user_id AS "user_id: UserId", address, template, locale, status,
                  attempts, next_attempt_at, last_error, expires_at, trace_id AS "trace_id!",
                  send_id, created_at, finished_at
             FROM notification.deliveries
            WHERE ($1::text IS NULL OR status = $1)
              AND ($2::uuid IS NULL OR user_id = $2)
              AND ($3::text IS NULL OR template = $3)
              AND created_at >= coalesce($4::timestamptz, '-infinity')
              AND created_at < coalesce($5::timestamptz, 'infinity')
              AND (created_at, id) < (coalesce($6::timestamptz, 'infinity'),
                                      coalesce($7::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
              AND ($9::text IS NULL OR lower(address) = lower($9))
            ORDER BY created_at DESC, id DESC
            LIMIT $8"#,
        filter.status,
        filter.user_id.map(|id| id.0),
        filter.template,
        filter.from,
        filter.to,
        before_at,
        before_id,
        limit,
        filter.address
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows)
}

pub(crate) async fn find(conn: &mut PgConnection, id: Uuid) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, channel, user_id AS "user_id: UserId", address, template, locale, status,
                  attempts, next_attempt_at, last_error, expires_at, trace_id AS "trace_id!",
                  send_id, created_at, finished_at
             FROM notification.deliveries
            WHERE id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await
}

/// A try, and what came of it.
pub(crate) struct Attempt {
    pub(crate) number: i32,
    pub(crate) outcome: String,
    pub(crate) reply: Option<String>,
    pub(crate) ended_at: OffsetDateTime,
}

/// The latest `limit`, in their order.
pub(crate) async fn attempts(
    conn: &mut PgConnection,
    delivery_id: Uuid,
    limit: i64,
) -> Result<Vec<Attempt>, sqlx::Error> {
    let mut attempts = sqlx::query_as!(
        Attempt,
        "SELECT number, outcome, reply, ended_at FROM notification.attempts
          WHERE delivery_id = $1
          ORDER BY id DESC
          LIMIT $2",
        delivery_id,
        limit
    )
    .fetch_all(conn)
    .await?;
    attempts.reverse();
    Ok(attempts)
}

/// Those under way, and those made since, by status.
pub(crate) async fn counts(
    conn: &mut PgConnection,
    since: OffsetDateTime,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT status, count(*) AS "count!" FROM notification.deliveries
            WHERE created_at >= $1 OR status IN ('queued', 'sending')
            GROUP BY status"#,
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.status, row.count))
        .collect())
}

/// Has it tried now, with all its tries before it. What carried a code is over when it has ended: the
/// code is gone. False when its state does not allow it.
pub(crate) async fn retry(
    conn: &mut PgConnection,
    id: Uuid,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE notification.deliveries
            SET status = 'queued',
                attempts = 0,
                next_attempt_at = $2,
                expires_at = CASE WHEN urgent THEN expires_at
                                  ELSE greatest(expires_at, $3) END,
                finished_at = NULL
          WHERE id = $1
            AND (status = 'queued' OR (status IN ('failed', 'suppressed') AND NOT urgent))",
        id,
        now,
        expires_at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What was given up.
pub(crate) struct GivenUp {
    pub(crate) user_id: Option<UserId>,
    pub(crate) channel: String,
    pub(crate) template: String,
    pub(crate) attempts: i32,
}

/// Ends what waits for its next try. Nothing when it does not wait.
pub(crate) async fn give_up(
    conn: &mut PgConnection,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<GivenUp>, sqlx::Error> {
    sqlx::query_as!(
        GivenUp,
        r#"UPDATE notification.deliveries
              SET status = 'failed',
                  last_error = 'given up by an administrator',
                  finished_at = $2,
                  data = data - 'code'
            WHERE id = $1 AND status = 'queued'
           RETURNING user_id AS "user_id: UserId", channel, template, attempts"#,
        id,
        now
    )
    .fetch_optional(conn)
    .await
}
