//! Events that could not be handled, and what waits behind them.
//!
//! A failing event is copied out of the stream into its *lane* (its subject, or itself when it has
//! no order), so that other subjects flow. The lane's first event is tried again with backoff; when
//! that is given up, the lane is parked until a person retries or skips.

use std::{collections::HashSet, time::Duration};

use kernel::Envelope;
use sqlx::{PgConnection, PgPool, Row, types::Json};
use time::OffsetDateTime;

use crate::{
    schema::{Schema, safe, statements},
    subscriber::{Inbox, Marks, Verdict},
};

/// What must be handled in order: a topic's subject, or one unordered event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    pub topic: String,
    pub lane: String,
}

impl Lane {
    pub fn of(event: &Envelope) -> Self {
        let lane = match event.keyseq {
            Some(_) => event.subject.clone(),
            None => event.id.to_string(),
        };
        Self {
            topic: event.topic().to_owned(),
            lane,
        }
    }
}

statements! {
    /// What keeps lanes.
    ParkedStatements {
        lanes: "SELECT DISTINCT topic, lane FROM {schema}.parked WHERE subscription = $1",
        // The caller holds the subscription's row, so nobody removes a head meanwhile. The envelope
        // comes as text: sqlx would send JSON as jsonb, which writes it anew.
        queue: "
            INSERT INTO {schema}.parked (subscription, topic, lane, pos, envelope, status)
            SELECT $1, $2, $3, $4, $5::text::json,
                   CASE WHEN EXISTS (SELECT FROM {schema}.parked
                                      WHERE subscription = $1 AND topic = $2 AND lane = $3)
                        THEN 'waiting' ELSE 'retrying' END
            ON CONFLICT DO NOTHING",
        due: "
            SELECT topic, lane, envelope, attempts, deferrals,
                   extract(epoch FROM clock_timestamp() - parked_at)::float8 AS age
              FROM {schema}.parked
             WHERE subscription = $1 AND status = 'retrying'
               AND ($2 OR next_attempt_at <= clock_timestamp())
             ORDER BY next_attempt_at LIMIT 100",
        next_due: "
            SELECT greatest(0, extract(epoch FROM min(next_attempt_at) - clock_timestamp()))::float8
              FROM {schema}.parked WHERE subscription = $1 AND status = 'retrying'",
        put_back: "
            UPDATE {schema}.parked
               SET status = CASE WHEN $5 THEN 'parked' ELSE 'retrying' END,
                   attempts = $6, deferrals = $7, error = $8,
                   next_attempt_at = clock_timestamp() + make_interval(secs => $9)
             WHERE subscription = $1 AND topic = $2 AND lane = $3 AND pos = $4
               AND status <> 'waiting'",
        remove: "
            DELETE FROM {schema}.parked
             WHERE subscription = $1 AND topic = $2 AND lane = $3 AND pos = $4",
        promote: "
            UPDATE {schema}.parked SET status = 'retrying', next_attempt_at = clock_timestamp()
             WHERE subscription = $1 AND topic = $2 AND lane = $3
               AND pos = (SELECT min(pos) FROM {schema}.parked
                           WHERE subscription = $1 AND topic = $2 AND lane = $3)",
        list: "
            SELECT p.subscription, p.topic, p.lane, p.pos, p.envelope, p.status, p.attempts,
                   p.error, p.parked_at, p.next_attempt_at,
                   (SELECT count(*) FROM {schema}.parked w
                     WHERE w.subscription = p.subscription AND w.topic = p.topic
                       AND w.lane = p.lane AND w.status = 'waiting') AS waiting
              FROM {schema}.parked p
             WHERE p.status <> 'waiting'
             ORDER BY p.parked_at, p.subscription, p.topic, p.lane LIMIT $1",
        lock_subscription: "
            SELECT true FROM {schema}.subscriptions WHERE name = $1 FOR NO KEY UPDATE",
        head: "
            SELECT envelope FROM {schema}.parked
             WHERE subscription = $1 AND topic = $2 AND lane = $3 AND status <> 'waiting'",
        retry: "
            UPDATE {schema}.parked
               SET status = 'retrying', attempts = 0, deferrals = 0,
                   parked_at = clock_timestamp(), next_attempt_at = clock_timestamp()
             WHERE subscription = $1 AND topic = $2 AND lane = $3 AND status <> 'waiting'",
    }
}

/// The lanes of one subscription.
#[derive(Debug)]
pub struct Parked {
    subscription: String,
    statements: ParkedStatements,
}

/// The first event of a lane, due to be tried again.
pub(crate) struct Due {
    pub(crate) lane: Lane,
    pub(crate) envelope: Envelope,
    pub(crate) attempts: i32,
    pub(crate) deferrals: i32,
    pub(crate) age: Duration,
}

/// A lane as a person sees it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ParkedLane {
    pub subscription: String,
    pub topic: String,
    pub lane: String,
    pub event_id: String,
    pub event_type: String,
    pub pos: i64,
    pub status: String,
    pub attempts: i32,
    pub error: Option<String>,
    /// Events that wait behind the first.
    pub waiting: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub parked_at: OffsetDateTime,
}

impl Parked {
    pub fn new(schema: &Schema, subscription: &str) -> Self {
        Self {
            subscription: subscription.to_owned(),
            statements: ParkedStatements::new(schema),
        }
    }

    pub(crate) async fn lanes(&self, pool: &PgPool) -> Result<HashSet<Lane>, sqlx::Error> {
        let rows = sqlx::query(safe(&self.statements.lanes))
            .bind(&self.subscription)
            .fetch_all(pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Lane {
                    topic: row.try_get("topic")?,
                    lane: row.try_get("lane")?,
                })
            })
            .collect()
    }

    /// Puts an event at the end of its lane.
    pub(crate) async fn queue(
        &self,
        tx: &mut PgConnection,
        lane: &Lane,
        event: &Envelope,
    ) -> Result<(), sqlx::Error> {
        let envelope = serde_json::to_string(event).expect("an envelope is plain data");
        sqlx::query(safe(&self.statements.queue))
            .bind(&self.subscription)
            .bind(&lane.topic)
            .bind(&lane.lane)
            .bind(event.pos)
            .bind(envelope)
            .execute(tx)
            .await?;
        Ok(())
    }

    pub(crate) async fn due(&self, pool: &PgPool, now: bool) -> Result<Vec<Due>, sqlx::Error> {
        let rows = sqlx::query(safe(&self.statements.due))
            .bind(&self.subscription)
            .bind(now)
            .fetch_all(pool)
            .await?;
        rows.iter()
            .map(|row| {
                let Json(envelope) = row.try_get("envelope")?;
                Ok(Due {
                    lane: Lane {
                        topic: row.try_get("topic")?,
                        lane: row.try_get("lane")?,
                    },
                    envelope,
                    attempts: row.try_get("attempts")?,
                    deferrals: row.try_get("deferrals")?,
                    age: Duration::from_secs_f64(row.try_get::<f64, _>("age")?.max(0.0)),
                })
            })
            .collect()
    }

    /// How long until a lane is to be tried again.
    pub(crate) async fn next_due(&self, pool: &PgPool) -> Result<Option<Duration>, sqlx::Error> {
        let seconds: Option<f64> = sqlx::query_scalar(safe(&self.statements.next_due))
            .bind(&self.subscription)
            .fetch_one(pool)
            .await?;
        Ok(seconds.map(Duration::from_secs_f64))
    }

    pub(crate) async fn put_back(
        &self,
        tx: &mut PgConnection,
        lane: &Lane,
        pos: i64,
        verdict: &Verdict,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.put_back))
            .bind(&self.subscription)
            .bind(&lane.topic)
            .bind(&lane.lane)
            .bind(pos)
            .bind(verdict.park)
            .bind(verdict.attempts)
            .bind(verdict.deferrals)
            .bind(&verdict.error)
            .bind(verdict.delay.as_secs_f64())
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Removes the lane's first event and lets the next one up. True when there is none. Somebody
    /// may have removed it meanwhile: then the lane is left as it is.
    pub(crate) async fn remove_head(
        &self,
        tx: &mut PgConnection,
        lane: &Lane,
        pos: i64,
    ) -> Result<bool, sqlx::Error> {
        let removed = sqlx::query(safe(&self.statements.remove))
            .bind(&self.subscription)
            .bind(&lane.topic)
            .bind(&lane.lane)
            .bind(pos)
            .execute(&mut *tx)
            .await?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        let promoted = sqlx::query(safe(&self.statements.promote))
            .bind(&self.subscription)
            .bind(&lane.topic)
            .bind(&lane.lane)
            .execute(tx)
            .await?;
        Ok(promoted.rows_affected() == 0)
    }
}

/// The lanes of a module's subscriptions that have failed, oldest first.
pub async fn list(
    pool: &PgPool,
    schema: &Schema,
    limit: i64,
) -> Result<Vec<ParkedLane>, sqlx::Error> {
    let statements = ParkedStatements::new(schema);
    let rows = sqlx::query(safe(&statements.list))
        .bind(limit)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            let Json(envelope): Json<Envelope> = row.try_get("envelope")?;
            Ok(ParkedLane {
                subscription: row.try_get("subscription")?,
                topic: row.try_get("topic")?,
                lane: row.try_get("lane")?,
                event_id: envelope.id.to_string(),
                event_type: envelope.event_type,
                pos: row.try_get("pos")?,
                status: row.try_get("status")?,
                attempts: row.try_get("attempts")?,
                error: row.try_get("error")?,
                waiting: row.try_get("waiting")?,
                parked_at: row.try_get("parked_at")?,
            })
        })
        .collect()
}

/// Has a lane tried again from its first event, at once. False when there is no such lane.
pub async fn retry(
    conn: &mut PgConnection,
    schema: &Schema,
    subscription: &str,
    lane: &Lane,
) -> Result<bool, sqlx::Error> {
    let statements = ParkedStatements::new(schema);
    let done = sqlx::query(safe(&statements.retry))
        .bind(subscription)
        .bind(&lane.topic)
        .bind(&lane.lane)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Passes over the first event of a lane; those behind it are tried. To be called in a transaction.
/// The event that was skipped, or nothing when there is no such lane.
pub async fn skip(
    tx: &mut PgConnection,
    schema: &Schema,
    subscription: &str,
    lane: &Lane,
) -> Result<Option<Envelope>, sqlx::Error> {
    let parked = Parked::new(schema, subscription);
    let statements = &parked.statements;
    sqlx::query(safe(&statements.lock_subscription))
        .bind(subscription)
        .execute(&mut *tx)
        .await?;
    let head: Option<Json<Envelope>> = sqlx::query_scalar(safe(&statements.head))
        .bind(subscription)
        .bind(&lane.topic)
        .bind(&lane.lane)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(Json(event)) = head else {
        return Ok(None);
    };
    let inbox = Inbox::new(schema, subscription);
    inbox.mark(tx, &Marks::of(&event)).await?;
    parked.remove_head(tx, lane, event.pos).await?;
    Ok(Some(event))
}
