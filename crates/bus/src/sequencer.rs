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
        lock_head: "SELECT pos FROM {schema}.head FOR NO KEY UPDATE",
        // `seq` agrees with `keyseq` per subject, so taking the lowest first never leaves an event
        // behind one that follows it.
        move_batch: "
            WITH moved AS (
                DELETE FROM {schema}.outbox
                 WHERE ctid = ANY(ARRAY(SELECT ctid FROM {schema}.outbox ORDER BY seq LIMIT $2))
                RETURNING *
            ), placed AS (
                SELECT m.*, $1 + row_number() OVER (ORDER BY seq) AS pos FROM moved m
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
            UPDATE {schema}.head SET pos = pos + (SELECT count(*) FROM moved) RETURNING pos",
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

    /// Moves one batch. The new head, and whether the batch was full; nothing if the lease is lost.
    pub async fn sequence(
        &self,
        leases: &Leases,
        epoch: i64,
    ) -> Result<Option<(i64, bool)>, sqlx::Error> {
        // A look without a transaction: most polls find nothing.
        let (head, waiting) = self.look().await?;
        if !waiting {
            return Ok(Some((head, false)));
        }
        let mut tx = self.db.begin_for_bus().await?;
        if !leases.fence(&mut tx, LEASE, epoch).await? {
            return Ok(None);
        }
        let before: i64 = sqlx::query_scalar(safe(&self.statements.lock_head))
            .fetch_one(&mut *tx)
            .await?;
        failpoint::reach(leases.holder(), Point::SequencerLocked).await;
        let head: i64 = sqlx::query_scalar(safe(&self.statements.move_batch))
            .bind(before)
            .bind(self.batch)
            .fetch_one(&mut *tx)
            .await?;
        failpoint::reach(leases.holder(), Point::SequencerMoved).await;
        tx.commit().await?;
        failpoint::reach(leases.holder(), Point::SequencerCommitted).await;
        Ok(Some((head, head - before == self.batch)))
    }

    /// The position of the last event in the log.
    pub async fn head(&self) -> Result<i64, sqlx::Error> {
        Ok(self.look().await?.0)
    }

    async fn look(&self) -> Result<(i64, bool), sqlx::Error> {
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
