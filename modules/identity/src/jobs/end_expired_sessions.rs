//! Ends sessions that were not used for too long, or are too old.
//!
//! Such a session cannot be used even before: this tells of its end and makes room.

use async_trait::async_trait;
use kernel::{Db, jobs::JobRun};

use super::MAX_BATCHES;
use crate::{events::SessionEnd, sessions, store};

/// Each is an event, too: a transaction's events are written in one statement.
const BATCH: i64 = 200;

pub(super) struct EndExpiredSessions {
    pub(super) db: Db,
}

#[async_trait]
impl JobRun for EndExpiredSessions {
    async fn run(&self) -> anyhow::Result<()> {
        let now = self.db.world().now();
        for _ in 0..MAX_BATCHES {
            let mut tx = self.db.begin().await?;
            let ended = store::sessions::end_expired(&mut tx, now, BATCH).await?;
            for session in &ended {
                sessions::publish_end(&mut tx, session, SessionEnd::Expired);
            }
            tx.commit().await?;
            if !ended.is_empty() {
                tracing::info!(sessions = ended.len(), "expired sessions ended");
            }
            if i64::try_from(ended.len()).is_ok_and(|count| count < BATCH) {
                break;
            }
        }
        Ok(())
    }
}
