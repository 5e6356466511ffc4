//! Broadcasts: what every process reads for itself.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use kernel::{Broadcast, event::topic_of};
use tokio_util::sync::CancellationToken;

use super::Bus;
use crate::{
    source::{Error, Source},
    transport::Reader,
    trouble::Trouble,
};

/// Events read at once.
const BATCH: i64 = 256;

/// A broadcast and how far this process has read.
pub(super) struct Following {
    broadcast: Broadcast,
    reader: Reader,
    standing: tokio::sync::Mutex<Standing>,
}

struct Standing {
    source: Arc<dyn Source>,
    pos: i64,
}

impl Bus {
    pub(super) async fn follow_broadcast(&self, broadcast: Broadcast) -> Result<(), Error> {
        let mut topics: Vec<_> = broadcast
            .types
            .iter()
            .map(|t| topic_of(t).to_owned())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        let reader = Reader {
            name: broadcast.name.to_owned(),
            durable: false,
            topics: Some(topics),
        };
        let source = self
            .source(&broadcast.publisher, &reader)
            .ok_or_else(|| Error::Transport(format!("{} is not there", broadcast.publisher)))?;
        let pos = source.before_recent(broadcast.lookback).await?;
        source.attend(Some(pos)).await?;
        let following = Arc::new(Following {
            broadcast,
            reader,
            standing: tokio::sync::Mutex::new(Standing { source, pos }),
        });
        following.advance(self, true).await?;
        self.broadcasts
            .lock()
            .expect("no holder panics")
            .push(following);
        Ok(())
    }

    /// Hands out what is new; `now` asks the publisher what is. One that fails holds up none of the
    /// others.
    pub(super) async fn advance_broadcasts(&self, now: bool) -> Result<(), Error> {
        let broadcasts = self.broadcasts.lock().expect("no holder panics").clone();
        let mut result = Ok(());
        for following in broadcasts {
            result = following.advance(self, now).await.and(result);
        }
        result
    }

    /// Follows the broadcasts of this process until the token is cancelled.
    pub async fn run_broadcasts(&self, shutdown: CancellationToken) {
        let mut trouble = Trouble::of("broadcasts cannot be followed".to_owned());
        while !shutdown.is_cancelled() {
            let result = self.advance_broadcasts(false).await;
            trouble.tell(result.as_ref().err());
            tokio::select! {
                () = tokio::time::sleep(self.settings.poll) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

impl Following {
    async fn advance(&self, bus: &Bus, now: bool) -> Result<(), Error> {
        let Standing { source, pos } = &mut *self.standing.lock().await;
        if source.ended() {
            // The publisher restarts, or has.
            let Some(next) = bus.source(&self.broadcast.publisher, &self.reader) else {
                return Ok(());
            };
            next.attend(Some(*pos)).await?;
            *source = next;
        }
        loop {
            let head = match now {
                true => source.head().await?,
                false => source.latest().await?,
            };
            if *pos >= head {
                return Ok(());
            }
            let topics = self.reader.topics.as_deref();
            let page = source.read(*pos, head, topics, BATCH).await?;
            for event in &page.events {
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
            *pos = page.until;
        }
    }
}
