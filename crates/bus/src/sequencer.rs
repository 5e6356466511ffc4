//! The sequencer: moves committed events from the outbox into the log, at dense positions.
//!
//! One leader per module does it. Nobody reads the outbox by a cursor: sequence values are taken
//! before commit, and a cursor would skip what commits late.

use kernel::Db;

use crate::{
    failpoint::{self, Point},
    lease::Leases,
    schema::{Schema, safe, statements},
};

/// The lease of a module's sequencer.
pub const LEASE: &str = "sequencer";

statements! {
    /// What the sequencer runs.
    SequencerStatements {
        // One statement, so that no process can rest in the middle. Whoever takes the lease over
        // waits for it; if that came first, `fence` finds no row, and nothing moves. No other
        // transaction changes the head or the last positions, so its snapshot is good enough.
        //
        // `seq` agrees with `keyseq` per subject, so taking the lowest first never leaves an event
        // behind one that follows it.
        move_batch: "
            WITH fence AS (
                SELECT h.pos
                  FROM {schema}.leases l, {schema}.head h
                 WHERE l.name = $1 AND l.holder = $2 AND l.epoch = $3
                   FOR KEY SHARE OF l FOR NO KEY UPDATE OF h
            ), moved AS (
                DELETE FROM {schema}.outbox
                 WHERE ctid = ANY(ARRAY(SELECT ctid FROM {schema}.outbox ORDER BY seq LIMIT $4))
                   AND EXISTS (SELECT FROM fence)
                RETURNING *
            ), placed AS (
                SELECT m.*, f.pos + row_number() OVER (ORDER BY seq) AS pos FROM moved m, fence f
            ), chained AS (
                SELECT p.*, lag(pos) OVER (PARTITION BY topic, subject, keyseq IS NULL ORDER BY pos)
                       AS before
                  FROM placed p
            ), appended AS (
                INSERT INTO {schema}.log
                    (pos, id, topic, type, subject, keyseq, keyprevpos, time, context, data)
                SELECT c.pos, c.id, c.topic, c.type, c.subject, c.keyseq,
                       CASE WHEN c.keyseq IS NOT NULL THEN coalesce(c.before, k.pos) END,
                       c.time, c.context, c.data
                  FROM chained c
                  LEFT JOIN {schema}.key_positions k
                    ON k.topic = c.topic AND k.subject = c.subject
                 ORDER BY c.pos
            ), remembered AS (
                INSERT INTO {schema}.key_positions AS k (topic, subject, pos)
                SELECT topic, subject, max(pos) FROM placed
                 WHERE keyseq IS NOT NULL GROUP BY topic, subject
                ON CONFLICT (topic, subject) DO UPDATE SET pos = excluded.pos
            )
            UPDATE {schema}.head h SET pos = h.pos + (SELECT count(*) FROM moved)
              FROM fence f
             WHERE EXISTS (SELECT FROM moved)
            RETURNING f.pos, h.pos, ARRAY(SELECT DISTINCT topic FROM moved)",
        look: "SELECT pos, EXISTS (SELECT FROM {schema}.outbox) FROM {schema}.head",
        roll: "SELECT {schema}.roll_log('1 day')",
        trim: "SELECT {schema}.trim_log(make_interval(secs => $1))",
        left_behind: "
            SELECT subscription FROM {schema}.cursors
             WHERE updated_at < clock_timestamp() - make_interval(secs => $1)
               AND pos < (SELECT lower_pos - 1 FROM {schema}.log_partitions
                           ORDER BY lower_pos DESC LIMIT 1)",
    }
}

/// A batch that went into the log, after `before` and up to `head`.
#[derive(Debug)]
pub struct Moved {
    pub before: i64,
    pub head: i64,
    pub topics: Vec<String>,
    /// There may be more.
    pub full: bool,
}

/// Fills one module's log.
pub struct Sequencer {
    db: Db,
    statements: SequencerStatements,
    batch: i64,
}

impl Sequencer {
    pub fn new(db: Db, schema: &Schema, batch: i64) -> Self {
        Self {
            db,
            statements: SequencerStatements::new(schema),
            batch,
        }
    }

    /// Moves one batch; none if nothing waits or the lease is lost.
    pub async fn sequence(
        &self,
        leases: &Leases,
        epoch: i64,
    ) -> Result<Option<Moved>, sqlx::Error> {
        let moved: Option<(i64, i64, Vec<String>)> =
            sqlx::query_as(safe(&self.statements.move_batch))
                .bind(LEASE)
                .bind(leases.holder())
                .bind(epoch)
                .bind(self.batch)
                .fetch_optional(self.db.bus_pool())
                .await?;
        let Some((before, head, topics)) = moved else {
            return Ok(None);
        };
        failpoint::reach(leases.holder(), Point::SequencerCommitted).await;
        Ok(Some(Moved {
            before,
            head,
            topics,
            full: head - before == self.batch,
        }))
    }

    /// The position of the last event in the log, and whether some wait to follow it.
    pub async fn look(&self) -> Result<(i64, bool), sqlx::Error> {
        sqlx::query_as(safe(&self.statements.look))
            .fetch_one(self.db.bus_pool())
            .await
    }

    /// Starts the day's partition and drops those that are past keeping.
    pub async fn maintain(&self, keep: std::time::Duration) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.roll))
            .execute(self.db.bus_pool())
            .await?;
        let dropped: i32 = sqlx::query_scalar(safe(&self.statements.trim))
            .bind(keep.as_secs_f64())
            .fetch_one(self.db.bus_pool())
            .await?;
        if dropped > 0 {
            tracing::info!(
                module = self.db.module(),
                dropped,
                "old partitions of the log dropped"
            );
        }
        let left_behind: Vec<String> = sqlx::query_scalar(safe(&self.statements.left_behind))
            .bind(keep.as_secs_f64())
            .fetch_all(self.db.bus_pool())
            .await?;
        for subscription in left_behind {
            tracing::warn!(
                module = self.db.module(),
                subscription,
                "the log is kept for a subscription that does not move; if it is gone for good, \
                 have its row deleted from the module's cursors, as their owner"
            );
        }
        Ok(())
    }
}
