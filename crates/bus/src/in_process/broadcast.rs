//! Broadcasts: what every process reads for itself.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use kernel::{Broadcast, Db, event::topic_of};
use tokio_util::sync::CancellationToken;

use super::InProcess;
use crate::{log::Log, schema::Schema, trouble::Trouble};

/// Events read at once.
const BATCH: i64 = 256;

/// A broadcast and how far this process has read.
pub(super) struct Following {
    log: Log,
    broadcast: Broadcast,
    topics: Vec<String>,
    pos: tokio::sync::Mutex<i64>,
}

impl InProcess {
    pub(super) async fn follow_broadcast(
        &self,
        publisher: &Db,
        broadcast: Broadcast,
    ) -> anyhow::Result<()> {
        let schema = Schema::new(publisher.module())?;
        let log = Log::new(publisher.bus_pool().clone(), &schema);
        let pos = log.before_recent(broadcast.lookback).await?;
        let mut topics: Vec<_> = broadcast
            .types
            .iter()
            .map(|t| topic_of(t).to_owned())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        let following = Arc::new(Following {
            log,
            broadcast,
            topics,
            pos: tokio::sync::Mutex::new(pos),
        });
        following.advance().await?;
        self.broadcasts
            .lock()
            .expect("no holder panics")
            .push(following);
        Ok(())
    }

    /// Hands out what is new. One that fails holds up none of the others.
    pub(super) async fn advance_broadcasts(&self) -> Result<(), sqlx::Error> {
        let broadcasts = self.broadcasts.lock().expect("no holder panics").clone();
        let mut result = Ok(());
        for following in broadcasts {
            match following.advance().await {
                // Its module restarts, and will register anew.
                Err(sqlx::Error::PoolClosed) => {
                    let mut all = self.broadcasts.lock().expect("no holder panics");
                    all.retain(|other| !Arc::ptr_eq(other, &following));
                }
                Err(error) => result = Err(error),
                Ok(()) => {}
            }
        }
        result
    }

    /// Follows the broadcasts of this process until the token is cancelled.
    pub async fn run_broadcasts(&self, shutdown: CancellationToken) {
        let mut trouble = Trouble::of("broadcasts cannot be followed".to_owned());
        while !shutdown.is_cancelled() {
            let result = self.advance_broadcasts().await;
            trouble.tell(result.as_ref().err());
            tokio::select! {
                () = tokio::time::sleep(self.settings.poll) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

impl Following {
    async fn advance(&self) -> Result<(), sqlx::Error> {
        let mut pos = self.pos.lock().await;
        loop {
            let head = self.log.head().await?;
            if *pos >= head {
                return Ok(());
            }
            let events = self.log.read(*pos, head, Some(&self.topics), BATCH).await?;
            for event in &events {
                if self.broadcast.types.contains(&&*event.event_type) {
                    // What one event does to it must not cost the process all that follow.
                    let handled =
                        catch_unwind(AssertUnwindSafe(|| (self.broadcast.handler)(event)));
                    if handled.is_err() {
                        tracing::error!(
                            event.id = %event.id,
                            broadcast = self.broadcast.name,
                            "broadcast handler panicked"
                        );
                    }
                }
            }
            *pos = match events.last() {
                Some(last) if i64::try_from(events.len()).is_ok_and(|n| n == BATCH) => last.pos,
                _ => head,
            };
        }
    }
}
