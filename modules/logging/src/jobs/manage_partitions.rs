//! Makes the next day's partition of log records, summarises the day's, and drops those that are
//! past keeping, with the keys of batches that are.

use std::time::Duration;

use async_trait::async_trait;
use kernel::{Db, jobs::JobRun};
use sqlx::error::DatabaseError;

use crate::store::{partitions, received};

/// To drop a day takes a lock that waits for all who read or store records. It gives up soon, so
/// that those who come after need not wait as well, and tries again between two of them.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct ManagePartitions {
    pub(crate) db: Db,
    pub(crate) retention_days: i32,
}

#[async_trait]
impl JobRun for ManagePartitions {
    async fn run(&self) -> anyhow::Result<()> {
        let mut conn = self.db.pool().acquire().await?;
        partitions::ensure(&mut conn, self.retention_days).await?;
        partitions::summarize(&mut conn).await?;
        received::purge(&mut conn).await?;
        let (mut dropped, mut refused) = (0, 0);
        loop {
            match partitions::drop_oldest(&mut conn, self.retention_days).await {
                Ok(true) => dropped += 1,
                Ok(false) => break,
                Err(error) if is_locked(&error) && refused < ATTEMPTS => {
                    refused += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if dropped > 0 {
            tracing::info!(dropped, "days of log records past keeping were dropped");
        }
        Ok(())
    }
}

/// lock_not_available, or a deadlock with somebody who took the locks the other way round.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}
