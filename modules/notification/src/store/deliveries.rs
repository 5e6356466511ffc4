//! `notification.deliveries`: the row is the job.

use std::time::Duration;

use kernel::{EventId, UserId};
use serde_json::Value;
use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Claimed, Outcome, Preferences};

/// A delivery to be queued.
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) user_id: Option<UserId>,
    pub(crate) address: &'a str,
    pub(crate) template: &'a str,
    pub(crate) locale: &'a str,
    pub(crate) data: &'a Value,
    pub(crate) urgent: bool,
    /// Known not to be wanted: kept to tell why nothing was sent.
    pub(crate) muted: bool,
    /// Not for addresses that are known to take no mail.
    pub(crate) suppressible: bool,
    pub(crate) idempotency_key: &'a str,
    pub(crate) message_id: &'a str,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) traceparent: &'a str,
    pub(crate) correlation_id: &'a str,
    pub(crate) event_id: EventId,
    /// The request of a service that it is part of.
    pub(crate) send_id: Option<Uuid>,
    pub(crate) created_at: OffsetDateTime,
}

/// Its status: to be sent, or why it is not. Nothing when a delivery with its key is there already.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    new: &New<'_>,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "WITH fate AS (
             SELECT CASE WHEN $15 THEN 'muted'
                         WHEN $17 AND EXISTS (SELECT FROM notification.suppressions
                                               WHERE address = lower($3) AND expires_at > $14)
                              THEN 'suppressed'
                         ELSE 'queued' END AS status
         )
         INSERT INTO notification.deliveries
             (id, channel, user_id, address, template, locale, data, urgent, idempotency_key,
              message_id, expires_at, traceparent, correlation_id, event_id, created_at,
              next_attempt_at, send_id, status, finished_at)
         SELECT $1, 'email', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                $14::timestamptz, $14::timestamptz, $16, status,
                CASE WHEN status <> 'queued' THEN $14::timestamptz END
           FROM fate
         ON CONFLICT (idempotency_key) DO NOTHING
         RETURNING status",
        new.id,
        new.user_id.map(|id| id.0),
        new.address,
        new.template,
        new.locale,
        new.data,
        new.urgent,
        new.idempotency_key,
        new.message_id,
        new.expires_at,
        new.traceparent,
        new.correlation_id,
        new.event_id.0,
        new.created_at,
        new.muted,
        new.send_id,
        new.suppressible
    )
    .fetch_optional(conn)
    .await
}

/// Takes up to `limit` deliveries: what a lost worker left, then the urgent, then the others.
pub(crate) async fn claim(
    conn: &mut PgConnection,
    lease: Uuid,
    lease_for: Duration,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let lease_for = PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(lease_for.as_micros()).unwrap_or(i64::MAX),
    };
    let rows = sqlx::query!(
        r#"WITH lost AS MATERIALIZED (
               SELECT id FROM notification.deliveries
                WHERE status = 'sending' AND leased_until <= statement_timestamp()
                ORDER BY leased_until
                LIMIT $4
                  FOR UPDATE SKIP LOCKED
           ), urgent AS MATERIALIZED (
               SELECT id FROM notification.deliveries
                WHERE status = 'queued' AND urgent AND next_attempt_at <= $3
                ORDER BY next_attempt_at
                LIMIT $4 - (SELECT count(*) FROM lost)
                  FOR UPDATE SKIP LOCKED
           ), other AS MATERIALIZED (
               SELECT id FROM notification.deliveries
                WHERE status = 'queued' AND NOT urgent AND next_attempt_at <= $3
                ORDER BY next_attempt_at
                LIMIT $4 - (SELECT count(*) FROM lost) - (SELECT count(*) FROM urgent)
                  FOR UPDATE SKIP LOCKED
           )
           UPDATE notification.deliveries AS d
              SET status = 'sending',
                  lease = $1,
                  leased_until = clock_timestamp() + $2::interval,
                  attempts = attempts + 1
            WHERE id IN (SELECT id FROM lost UNION ALL SELECT id FROM urgent
                         UNION ALL SELECT id FROM other)
           RETURNING id, lease AS "lease!", channel, user_id AS "user_id: UserId", address,
                     template, locale, data, message_id, attempts AS attempt, expires_at,
                     traceparent, correlation_id, event_id AS "event_id: EventId",
                     coalesce((SELECT muted FROM notification.preferences AS p
                                WHERE p.user_id = d.user_id), '{}') AS "muted!",
                     EXISTS (SELECT FROM notification.suppressions AS s
                              WHERE s.address = lower(d.address) AND s.expires_at > $3)
                         AS "suppressed!""#,
        lease,
        lease_for,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| Claimed {
        id: row.id,
        lease: row.lease,
        channel: row.channel,
        user_id: row.user_id,
        address: row.address,
        template: row.template,
        locale: row.locale,
        data: row.data,
        message_id: row.message_id,
        preferences: Preferences::from_column(row.muted),
        suppressed: row.suppressed,
        attempt: row.attempt,
        expires_at: row.expires_at,
        traceparent: row.traceparent,
        correlation_id: row.correlation_id,
        event_id: row.event_id,
    });
    Ok(claimed.collect())
}

/// Writes down what came of tries, each under the lease that it began with, and adds them to the
/// timelines. Returns the ids of those that counted.
pub(crate) async fn settle(
    conn: &mut PgConnection,
    tries: &[(Claimed, Outcome)],
    now: OffsetDateTime,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ids: Vec<_> = tries.iter().map(|(claimed, _)| claimed.id).collect();
    let leases: Vec<_> = tries.iter().map(|(claimed, _)| claimed.lease).collect();
    let statuses: Vec<_> = tries
        .iter()
        .map(|(_, outcome)| outcome.status().to_owned())
        .collect();
    let errors: Vec<_> = tries
        .iter()
        .map(|(_, outcome)| outcome.error().map(str::to_owned))
        .collect();
    let next: Vec<_> = tries
        .iter()
        .map(|(_, outcome)| match outcome {
            Outcome::Retry { at, .. } => Some(*at),
            _ => None,
        })
        .collect();
    let settled = sqlx::query_scalar!(
        "UPDATE notification.deliveries AS d
            SET status = o.status,
                lease = NULL,
                leased_until = NULL,
                last_error = coalesce(o.error, d.last_error),
                next_attempt_at = coalesce(o.next_attempt_at, d.next_attempt_at),
                finished_at = CASE WHEN o.next_attempt_at IS NULL THEN $6::timestamptz END,
                -- A sealed secret goes with its purpose.
                data = CASE WHEN o.next_attempt_at IS NULL THEN d.data - 'code' ELSE d.data END
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
                AS o (id, lease, status, error, next_attempt_at)
          WHERE d.id = o.id AND d.lease = o.lease
         RETURNING d.id",
        &ids,
        &leases,
        &statuses,
        &errors as &[Option<String>],
        &next as &[Option<OffsetDateTime>],
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    let numbers: Vec<_> = tries.iter().map(|(claimed, _)| claimed.attempt).collect();
    let replies: Vec<_> = tries
        .iter()
        .map(|(_, outcome)| outcome.reply().map(str::to_owned))
        .collect();
    sqlx::query!(
        "INSERT INTO notification.attempts (delivery_id, number, outcome, reply, ended_at)
         SELECT delivery_id, number, outcome, reply, $5
           FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[])
                AS t (delivery_id, number, outcome, reply)
          WHERE delivery_id = ANY ($6)",
        &ids,
        &numbers,
        &statuses,
        &replies as &[Option<String>],
        now,
        &settled
    )
    .execute(conn)
    .await?;
    Ok(settled)
}

/// Is nothing due and nothing on its way?
pub(crate) async fn is_idle(
    conn: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (SELECT FROM notification.deliveries WHERE status = 'sending')
              AND NOT EXISTS (SELECT FROM notification.deliveries
                               WHERE status = 'queued' AND urgent AND next_attempt_at <= $1)
              AND NOT EXISTS (SELECT FROM notification.deliveries
                               WHERE status = 'queued' AND NOT urgent AND next_attempt_at <= $1)
              AS "idle!""#,
        now
    )
    .fetch_one(conn)
    .await
}

/// Deletes at most `limit` of those that ended before `before`.
pub(crate) async fn purge(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM notification.deliveries
          WHERE id IN (SELECT id FROM notification.deliveries
                        WHERE finished_at < $1
                        ORDER BY finished_at
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED)",
        before,
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
