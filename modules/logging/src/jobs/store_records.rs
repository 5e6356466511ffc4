//! Stores the log records of this process.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{
    Db, World,
    jobs::WorkerRun,
    telemetry::{Dropped, LogBuffer, LogRecord, suppressed},
};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::{domain::MAX_BATCH_RECORDS, store::records, tail};

/// After failures, this many rounds are sat out at most.
const MAX_ROUNDS_OUT: u32 = 25;

pub(crate) struct StoreRecords {
    db: Db,
    world: World,
    logs: Arc<LogBuffer>,
    batch_records: usize,
    retention_days: i32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Taken from the buffer and not known to be stored. While there is one, further records wait
    /// in the buffer, which is bounded, sheds the least important first and counts what it sheds.
    pending: Option<Pending>,
    failures: u32,
    rounds_out: u32,
    /// What the database refused for good.
    refused: Dropped,
}

struct Pending {
    records: Vec<LogRecord>,
    /// Whether the buffer may hold more.
    full: bool,
    /// None of the records is filed under an earlier time.
    oldest: OffsetDateTime,
    /// Known once an attempt came that far: by it a second attempt finds what the first did.
    block: Option<i64>,
}

impl StoreRecords {
    pub(crate) fn new(
        db: Db,
        world: World,
        logs: Arc<LogBuffer>,
        batch_records: usize,
        retention_days: i32,
    ) -> Self {
        let state = Mutex::default();
        Self {
            db,
            world,
            logs,
            batch_records,
            retention_days,
            state,
        }
    }

    /// True when there may be more.
    async fn round(&self) -> bool {
        let state = &mut *self.state.lock().await;
        if state.rounds_out > 0 {
            state.rounds_out -= 1;
            return false;
        }
        if state.pending.is_none() {
            state.pending = self.next(&mut state.refused);
        }
        // It stays in its place while it is being stored: this future may be dropped at any await.
        let Some(pending) = &mut state.pending else {
            return false;
        };
        match self.store(pending).await {
            Ok(()) => {
                let more = pending.full;
                state.pending = None;
                if std::mem::take(&mut state.failures) > 0 {
                    tracing::info!("log records are stored again");
                }
                more
            }
            Err(error) if records::is_refusal(&error) => {
                tracing::error!(%error, records = pending.records.len(), "log records refused");
                for record in &pending.records {
                    *state
                        .refused
                        .entry((record.service.clone(), record.level))
                        .or_default() += 1;
                }
                state.pending = None;
                false
            }
            Err(error) => {
                if state.failures == 0 {
                    tracing::error!(%error, "log records cannot be stored and wait");
                }
                state.failures += 1;
                state.rounds_out = 2_u32.saturating_pow(state.failures).min(MAX_ROUNDS_OUT);
                false
            }
        }
    }

    /// What waits in the buffer, and notes of what was dropped before it got there.
    fn next(&self, refused: &mut Dropped) -> Option<Pending> {
        let now = self.world.now();
        let mut dropped = self.logs.take_dropped();
        for (key, count) in std::mem::take(refused) {
            *dropped.entry(key).or_default() += count;
        }
        let mut records: Vec<_> = dropped
            .into_iter()
            .take(MAX_BATCH_RECORDS - 1)
            .map(|((service, level), count)| LogRecord::dropped(now, service, level, count))
            .collect();
        let room = self.batch_records.min(MAX_BATCH_RECORDS - records.len());
        let taken = self.logs.take(room);
        let full = taken.len() == room;
        records.extend(taken);
        let oldest = records::oldest(&records, now)?;
        Some(Pending {
            records,
            full,
            oldest,
            block: None,
        })
    }

    async fn store(&self, pending: &mut Pending) -> Result<(), sqlx::Error> {
        let mut tx = self.db.begin().await?;
        let batch =
            records::begin_batch(&mut tx, pending.block, pending.oldest, self.retention_days)
                .await?;
        pending.block = Some(batch.block);
        pending.oldest = pending.oldest.min(batch.now);
        if !batch.stored {
            records::copy(&mut tx, &batch, &pending.records).await?;
        }
        tail::announce(&mut tx, &self.db, &batch, &pending.records);
        tx.commit().await
    }
}

#[async_trait]
impl WorkerRun for StoreRecords {
    /// Never fails: the host would log it, and the news of a store that fails would fill the store.
    async fn run(&self) -> anyhow::Result<bool> {
        Ok(suppressed(self.round()).await)
    }
}
