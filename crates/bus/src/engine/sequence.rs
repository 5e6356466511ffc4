//! The publisher's side: the sequencer's loop.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Attached, Bus};
use crate::{sequencer, trouble::Trouble};

const MAINTAIN_EVERY: Duration = Duration::from_secs(600);

impl Bus {
    pub(super) async fn run_sequencer(&self, attached: &Attached, stop: &CancellationToken) {
        let mut maintained: Option<Instant> = None;
        let mut called = false;
        let module = attached.db.module();
        let mut trouble = Trouble::of(format!("events of {module} cannot be sequenced"));
        while !stop.is_cancelled() {
            let result = self.sequence(attached, called).await;
            trouble.tell(result.as_ref().err());
            if attached.leases.epoch(sequencer::LEASE).is_some()
                && maintained.is_none_or(|at| at.elapsed() > MAINTAIN_EVERY)
            {
                maintained = Some(Instant::now());
                if let Err(error) = self.maintain(attached).await {
                    tracing::warn!(%error, module = attached.db.module(), "log maintenance failed");
                }
            }
            called = result.unwrap_or_default();
            if !called {
                called = tokio::select! {
                    () = attached.wakeup.outbox.notified() => true,
                    () = tokio::time::sleep(self.settings.poll) => false,
                    () = stop.cancelled() => false,
                };
            }
        }
    }

    async fn maintain(&self, attached: &Attached) -> Result<(), sqlx::Error> {
        let pool = attached.db.bus_pool();
        for subscriber in &attached.subscribers {
            subscriber
                .inbox
                .forget_ids(pool, self.settings.inbox_ids_keep)
                .await?;
        }
        attached.sequencer.maintain(self.settings.log_keep).await
    }

    /// Sequences one batch if this instance leads, else looks how far the leader is. True when
    /// there is more. Unless somebody `called`, most often nothing waits.
    pub(super) async fn sequence(
        &self,
        attached: &Attached,
        called: bool,
    ) -> Result<bool, sqlx::Error> {
        let sequencer = &attached.sequencer;
        let epoch = attached.leases.epoch(sequencer::LEASE);
        let Some(epoch) = epoch.filter(|_| called) else {
            let (head, waiting) = sequencer.look().await?;
            attached.log.moved(|tail| tail.seen(head));
            return Ok(waiting && epoch.is_some());
        };
        let Some(batch) = sequencer.sequence(&attached.leases, epoch).await? else {
            return Ok(false);
        };
        let more = batch.full;
        if attached.log.moved(|tail| tail.put(batch)) {
            // Other instances may hold the subscriptions.
            attached.wakeup.tell_others();
        }
        Ok(more)
    }
}
