//! Rows that have been kept long enough go.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::{Db, Job, idempotency, jobs::JobRun};

use crate::{config::Config, store};

/// Deleted at a time: short transactions, each with few locks.
const BATCH: i64 = 1_000;
/// Batches in one run; what is left waits for the next.
const MAX_BATCHES: usize = 200;

pub(crate) fn jobs(db: &Db, config: &Config) -> Vec<Job> {
    // Apart from the full hour, when everything else runs.
    [
        ("purge_deliveries", "0 17 * * * *", What::Deliveries),
        ("purge_notifications", "0 37 * * * *", What::Notifications),
        ("purge_sends", "0 27 * * * *", What::Sends),
        (
            "purge_idempotency_keys",
            "0 47 * * * *",
            What::IdempotencyKeys,
        ),
        ("purge_suppressions", "0 57 * * * *", What::Suppressions),
        ("purge_mailbox", "30 */10 * * * *", What::Mailbox),
    ]
    .into_iter()
    .map(|(name, schedule, what)| {
        let purge = Purge {
            db: db.clone(),
            config: config.clone(),
            what,
        };
        Job {
            name,
            schedule,
            run: Arc::new(purge),
        }
    })
    .collect()
}

enum What {
    Deliveries,
    Notifications,
    Sends,
    IdempotencyKeys,
    Suppressions,
    Mailbox,
}

struct Purge {
    db: Db,
    config: Config,
    what: What,
}

#[async_trait]
impl JobRun for Purge {
    async fn run(&self) -> anyhow::Result<()> {
        let now = self.db.world().now();
        let mut conn = self.db.pool().acquire().await?;
        let mut deleted = 0;
        for _ in 0..MAX_BATCHES {
            let batch = match self.what {
                What::Deliveries => {
                    let before = now - self.config.delivery_retention();
                    store::deliveries::purge(&mut conn, before, BATCH).await?
                }
                What::Notifications => {
                    let before = now - self.config.notification_retention();
                    store::notifications::purge(&mut conn, before, BATCH).await?
                }
                What::Sends => {
                    let before = now - self.config.delivery_retention();
                    store::sends::purge(&mut conn, before, BATCH).await?
                }
                What::IdempotencyKeys => {
                    idempotency::purge(&mut conn, self.db.module(), now, BATCH).await?
                }
                What::Suppressions => store::suppressions::purge(&mut conn, now, BATCH).await?,
                What::Mailbox => {
                    let keep = i64::from(self.config.mailbox_max_messages);
                    store::mailbox::purge(&mut conn, keep).await?
                }
            };
            deleted += batch;
            if batch == 0 {
                break;
            }
        }
        if deleted > 0 {
            tracing::info!(deleted, "old rows purged");
        }
        Ok(())
    }
}
