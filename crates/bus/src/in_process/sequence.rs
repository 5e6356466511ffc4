//! The publisher's side: the sequencer's loop.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Attached, InProcess, Trouble};
use crate::sequencer;

const MAINTAIN_EVERY: Duration = Duration::from_secs(600);

impl InProcess {
    pub(super) async fn run_sequencer(&self, attached: &Attached, stop: &CancellationToken) {
        let mut maintained: Option<Instant> = None;
        let module = attached.db.module();
        let mut trouble = Trouble::of(format!("events of {module} cannot be sequenced"));
        while !stop.is_cancelled() {
            let result = self.sequence(attached).await;
            trouble.tell(result.as_ref().err());
            if attached.leases.epoch(sequencer::LEASE).is_some()
                && maintained.is_none_or(|at| at.elapsed() > MAINTAIN_EVERY)
            {
                maintained = Some(Instant::now());
                if let Err(error) = self.maintain(attached).await {
                    tracing::warn!(%error, module = attached.db.module(), "log maintenance failed");
                }
            }
            if !result.unwrap_or_default() {
                tokio::select! {
                    () = attached.wakeup.outbox.notified() => {}
                    () = tokio::time::sleep(self.settings.poll) => {}
                    () = stop.cancelled() => {}
                }
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
    /// there is more.
    pub(super) async fn sequence(&self, attached: &Attached) -> Result<bool, sqlx::Error> {
        let (head, more) = match attached.leases.epoch(sequencer::LEASE) {
            Some(epoch) => match attached.sequencer.sequence(&attached.leases, epoch).await? {
                Some(sequenced) => sequenced,
                None => return Ok(false),
            },
            None => (attached.sequencer.head().await?, false),
        };
        let moved = attached
            .head
            .send_if_modified(|known| head > std::mem::replace(known, head.max(*known)));
        if moved && attached.leases.epoch(sequencer::LEASE).is_some() {
            // Other instances may hold the subscriptions.
            attached.wakeup.moved();
        }
        Ok(more)
    }
}
