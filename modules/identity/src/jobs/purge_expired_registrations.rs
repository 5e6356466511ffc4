//! Deletes registrations that nobody proved in time.

use async_trait::async_trait;
use kernel::{Db, jobs::JobRun};

use super::MAX_BATCHES;
use crate::store;

const BATCH: i64 = 1_000;

pub(super) struct PurgeExpiredRegistrations {
    pub(super) db: Db,
}

#[async_trait]
impl JobRun for PurgeExpiredRegistrations {
    async fn run(&self) -> anyhow::Result<()> {
        let now = self.db.world().now();
        let mut conn = self.db.pool().acquire().await?;
        let mut purged = 0;
        for _ in 0..MAX_BATCHES {
            let batch = store::registrations::purge_expired(&mut conn, now, BATCH).await?;
            purged += batch;
            if batch < BATCH.unsigned_abs() {
                break;
            }
        }
        if purged > 0 {
            tracing::info!(registrations = purged, "expired registrations purged");
        }
        Ok(())
    }
}
