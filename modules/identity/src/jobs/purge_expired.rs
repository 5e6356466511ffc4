//! Deletes what has expired: registrations and codes that nobody proved in time, failures that count for
//! nothing any more, clients that were not seen for long.

use async_trait::async_trait;
use kernel::{Db, jobs::JobRun};
use time::Duration;

use super::MAX_BATCHES;
use crate::store;

const BATCH: i64 = 1_000;

pub(super) struct PurgeExpired {
    pub(super) db: Db,
    pub(super) failures_memory: Duration,
    pub(super) familiar_client_memory: Duration,
}

#[async_trait]
impl JobRun for PurgeExpired {
    async fn run(&self) -> anyhow::Result<()> {
        let now = self.db.world().now();
        let failed_before = now - self.failures_memory;
        let seen_before = now - self.familiar_client_memory;
        let mut conn = self.db.pool().acquire().await?;
        let mut purged = [0; 4];
        for _ in 0..MAX_BATCHES {
            let batches = [
                store::registrations::purge_expired(&mut conn, now, BATCH).await?,
                store::codes::purge_expired(&mut conn, now, BATCH).await?,
                store::failures::purge(&mut conn, failed_before, BATCH).await?,
                store::familiar_clients::purge(&mut conn, seen_before, BATCH).await?,
            ];
            for (purged, batch) in purged.iter_mut().zip(batches) {
                *purged += batch;
            }
            if batches.iter().all(|batch| *batch < BATCH.unsigned_abs()) {
                break;
            }
        }
        let [registrations, codes, failures, familiar_clients] = purged;
        if purged.iter().any(|purged| *purged > 0) {
            tracing::info!(
                registrations,
                codes,
                failures,
                familiar_clients,
                "what had expired was purged"
            );
        }
        Ok(())
    }
}
