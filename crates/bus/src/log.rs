//! Reading a publisher's log in its database.

use kernel::{Envelope, EventId, event::EventContext};
use serde_json::value::RawValue;
use sqlx::{PgPool, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    schema::{Schema, safe, statements},
    source::Page,
};

/// Positions looked at for one page, in its limits: a reader may want few of their topics. The
/// server's estimates lag behind a log that grows fast: told to read to its end, it may sort the
/// whole backlog for each page.
const READ_AHEAD: i64 = 4;

statements! {
    /// What readers of the log and keepers of cursors run.
    LogStatements {
        read: "
            SELECT pos, id, type, subject, keyseq, keyprevpos, time, context, data
              FROM {schema}.log
             WHERE pos > $1 AND pos <= $2 AND ($3::text[] IS NULL OR topic = ANY($3))
             ORDER BY pos LIMIT $4",
        // The head in the same statement: between two, an empty log could get its first event,
        // which would then lie before the oldest.
        before_oldest: "
            SELECT coalesce((SELECT pos - 1 FROM {schema}.log ORDER BY pos LIMIT 1),
                            (SELECT pos FROM {schema}.head))",
        head: "SELECT pos FROM {schema}.head",
        log_id: "SELECT log_id FROM {schema}.head",
        find: "
            SELECT pos FROM {schema}.log
             WHERE subject = $2 AND topic = $1 AND keyseq >= $3 AND pos > $4
             ORDER BY keyseq LIMIT 1",
        // OFFSET keeps the planner from walking the log from its beginning to find the minimum.
        before_recent: "
            SELECT coalesce(
                (SELECT min(pos) - 1 FROM (
                    SELECT pos FROM {schema}.log
                     WHERE sequenced_at >= clock_timestamp() - make_interval(secs => $1)
                    OFFSET 0) AS recent),
                (SELECT pos FROM {schema}.head))",
        age_after: "
            SELECT extract(epoch FROM clock_timestamp() - sequenced_at)::float8
              FROM {schema}.log WHERE pos > $1 ORDER BY pos LIMIT 1",
        slowest_cursor: "SELECT min(pos) FROM {schema}.cursors",
        hold: "
            INSERT INTO {schema}.cursors (subscription, pos) VALUES ($1, $2)
            ON CONFLICT (subscription) DO UPDATE
               SET pos = excluded.pos, updated_at = clock_timestamp()",
        acknowledge: "
            INSERT INTO {schema}.cursors AS c (subscription, pos) VALUES ($1, $2)
            ON CONFLICT (subscription) DO UPDATE
               SET pos = excluded.pos, updated_at = clock_timestamp()
             WHERE c.pos < excluded.pos",
    }
}

/// A module's log, for reading.
#[derive(Debug)]
pub struct Log {
    pool: PgPool,
    statements: LogStatements,
}

impl Log {
    pub fn new(pool: PgPool, schema: &Schema) -> Self {
        Self {
            pool,
            statements: LogStatements::new(schema),
        }
    }

    /// Events after `after` up to `until`, of the topics or of all: a page of at most `limit`.
    pub async fn read(
        &self,
        after: i64,
        until: i64,
        topics: Option<&[String]>,
        limit: i64,
    ) -> Result<Page, sqlx::Error> {
        let until = until.min(after + READ_AHEAD * limit);
        let events: Vec<Envelope> = sqlx::query(safe(&self.statements.read))
            .bind(after)
            .bind(until)
            .bind(topics)
            .bind(limit)
            .try_map(envelope)
            .fetch_all(&self.pool)
            .await?;
        let full = i64::try_from(events.len()).is_ok_and(|n| n == limit);
        let until = match events.last() {
            Some(last) if full => last.pos,
            _ => until,
        };
        Ok(Page { events, until })
    }

    /// How old the oldest event after `pos` is, in seconds since it was sequenced.
    pub async fn age_after(&self, pos: i64) -> Result<Option<f64>, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.age_after))
            .bind(pos)
            .fetch_optional(&self.pool)
            .await
    }

    /// How far the slowest subscriber has come, as far as it told.
    pub async fn slowest_cursor(&self) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.slowest_cursor))
            .fetch_one(&self.pool)
            .await
    }

    /// The position before the oldest event that is still kept.
    pub async fn before_oldest(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.before_oldest))
            .fetch_one(&self.pool)
            .await
    }

    /// The position of the last event.
    pub async fn head(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.head))
            .fetch_one(&self.pool)
            .await
    }

    /// Which log it is.
    pub async fn log_id(&self) -> Result<Uuid, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.log_id))
            .fetch_one(&self.pool)
            .await
    }

    /// Where a subject's first event stands that has at least this number and lies after `after`.
    pub async fn find(
        &self,
        topic: &str,
        subject: &str,
        keyseq: i64,
        after: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.find))
            .bind(topic)
            .bind(subject)
            .bind(keyseq)
            .bind(after)
            .fetch_optional(&self.pool)
            .await
    }

    /// The position before the first event of the last `lookback`.
    pub async fn before_recent(&self, lookback: std::time::Duration) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(safe(&self.statements.before_recent))
            .bind(lookback.as_secs_f64())
            .fetch_one(&self.pool)
            .await
    }

    /// Has the publisher keep what lies after `pos`. Returns the position from which on it does: a
    /// trim may have come first.
    pub async fn hold(&self, subscriber: &str, pos: i64) -> Result<i64, sqlx::Error> {
        sqlx::query(safe(&self.statements.hold))
            .bind(subscriber)
            .bind(pos)
            .execute(&self.pool)
            .await?;
        Ok(pos.max(self.before_oldest().await?))
    }

    /// Tells the publisher how far a subscriber has come, so that it may trim. Never goes back.
    pub async fn acknowledge(&self, subscriber: &str, pos: i64) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.acknowledge))
            .bind(subscriber)
            .bind(pos)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn envelope(row: PgRow) -> Result<Envelope, sqlx::Error> {
    let event_type: String = row.try_get("type")?;
    let Json(context): Json<EventContext> = row.try_get("context")?;
    let Json(data): Json<Box<RawValue>> = row.try_get("data")?;
    Ok(Envelope {
        id: EventId(row.try_get::<Uuid, _>("id")?),
        source: event_type.split('.').next().unwrap_or_default().to_owned(),
        event_type,
        subject: row.try_get("subject")?,
        time: row.try_get("time")?,
        pos: row.try_get("pos")?,
        keyseq: row.try_get("keyseq")?,
        keyprevpos: row.try_get("keyprevpos")?,
        context,
        data,
    })
}
