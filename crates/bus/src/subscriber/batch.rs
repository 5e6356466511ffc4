//! Events of a batch in one transaction.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use kernel::{
    Envelope, HandlerError, Order, RequestContext, Tx, bus::HandleBatch, problem::panic_error,
};
use tracing::Instrument;

use super::{
    Marks, Standing, Subscriber,
    inbox::{Arrival, arrival},
};
use crate::{
    failpoint::{self, Point},
    parked::Lane,
};

/// What became of a transaction.
pub(super) enum Attempt {
    /// So many events took effect: all, unless the transaction was getting long.
    Done(usize),
    Gap {
        at: usize,
        expected: i64,
    },
    Failed {
        at: usize,
        error: HandlerError,
    },
    /// A handler left the transaction broken and told nobody.
    Spoiled(HandlerError),
    /// The handler of a whole log failed.
    Stuck(HandlerError),
    Fenced,
}

/// How far the handlers came, before anything is marked.
enum Effect<'a> {
    Taken { count: usize, marks: Marks<'a> },
    Not(Attempt),
}

impl Subscriber {
    /// Handles the events and stands at `bound`, in one transaction.
    pub(super) async fn attempt(
        &self,
        standing: &mut Standing,
        events: &[Envelope],
        bound: i64,
        epoch: i64,
    ) -> Result<Attempt, sqlx::Error> {
        let Some(mut tx) = self.begin_at(standing, epoch).await? else {
            return Ok(Attempt::Fenced);
        };
        failpoint::reach(self.holder, Point::BatchFenced).await;
        let replay = standing.replays(bound);
        if replay {
            tx.mute();
        }
        let effect = match &self.subscription.order {
            Order::PerSubject(_) => self.take_each(&mut tx, standing, events, replay).await,
            Order::PerPublisher(handler) => Ok(self.take_whole(&mut tx, &**handler, events).await),
        };
        let (count, marks) = match effect {
            Ok(Effect::Taken { count, marks }) => (count, marks),
            Ok(Effect::Not(attempt)) => {
                // Now rather than when the connection is next used: the locks must go. Without a
                // connection they are gone.
                let _ = tx.rollback().await;
                return Ok(attempt);
            }
            Err(error) if spoiled(&error) => return Ok(self.spoiled(error)),
            Err(error) => return Err(error),
        };
        failpoint::reach(self.holder, Point::BatchHandled).await;
        let pos = events.get(count).map_or(bound, |next| next.pos - 1);
        let finished = async {
            self.inbox.mark(&mut tx, &marks).await?;
            let last = events[..count].last();
            self.advance(&mut tx, pos, last).await?;
            failpoint::reach(self.holder, Point::BatchMarked).await;
            tx.commit().await
        };
        match finished.await {
            Ok(()) => {}
            Err(error) if count > 0 && spoiled(&error) => return Ok(self.spoiled(error)),
            Err(error) => return Err(error),
        }
        failpoint::reach(self.holder, Point::BatchCommitted).await;
        standing.stand_at(pos);
        Ok(Attempt::Done(count))
    }

    fn spoiled(&self, error: sqlx::Error) -> Attempt {
        match &self.subscription.order {
            Order::PerSubject(_) => Attempt::Spoiled(error.into()),
            Order::PerPublisher(_) => Attempt::Stuck(error.into()),
        }
    }

    async fn take_whole<'a>(
        &self,
        tx: &mut Tx,
        handler: &dyn HandleBatch,
        events: &'a [Envelope],
    ) -> Effect<'a> {
        if !events.is_empty() {
            let handled = guarded(self.settings.handler_timeout, handler.handle(tx, events));
            let context = RequestContext::root(self.db.world());
            if let Err(error) = context.scope(handled).await {
                return Effect::Not(Attempt::Stuck(error));
            }
        }
        Effect::Taken {
            count: events.len(),
            marks: Marks::default(),
        }
    }

    async fn take_each<'a>(
        &self,
        tx: &mut Tx,
        standing: &Standing,
        events: &'a [Envelope],
        replay: bool,
    ) -> Result<Effect<'a>, sqlx::Error> {
        let begun = tokio::time::Instant::now();
        let mut seen = self.inbox.seen(tx, events).await?;
        let mut marks = Marks::default();
        for (at, event) in events.iter().enumerate() {
            if at > 0 && begun.elapsed() > self.settings.batch_time {
                return Ok(Effect::Taken { count: at, marks });
            }
            let arrival = arrival(&seen, event, standing);
            if matches!(arrival, Arrival::Duplicate) {
                continue;
            }
            let lane = Lane::of(event);
            if self.holds(&lane) {
                self.parked.queue(tx, &lane, event).await?;
                continue;
            }
            if let Arrival::Gap { expected } = arrival {
                return Ok(Effect::Not(Attempt::Gap { at, expected }));
            }
            if let Err(error) = self.handle(tx, event, replay).await {
                return Ok(Effect::Not(Attempt::Failed { at, error }));
            }
            seen.insert(event);
            marks.insert(event);
        }
        Ok(Effect::Taken {
            count: events.len(),
            marks,
        })
    }

    /// Runs the handler of an event's type, if there is one.
    pub(super) async fn handle(
        &self,
        tx: &mut Tx,
        event: &Envelope,
        replay: bool,
    ) -> Result<(), HandlerError> {
        let Order::PerSubject(handlers) = &self.subscription.order else {
            return Ok(());
        };
        // Erased: there is nothing left to act on.
        if event.data.get() == "null" {
            return Ok(());
        }
        let Some(handler) = handlers.get(&*event.event_type) else {
            if self.subscription.knows_other_version(&event.event_type) {
                let unknown = format!("version of {} is not known here", event.event_type);
                return Err(HandlerError::Park(unknown));
            }
            return Ok(());
        };
        let span = tracing::info_span!(
            "event.handle",
            subscription = self.name(),
            event.id = %event.id,
            event.r#type = event.event_type,
        );
        let context = RequestContext::caused_by(self.db.world(), event.id, &event.context);
        let handled = guarded(
            self.settings.handler_timeout,
            handler.handle(tx, event, replay),
        );
        context.scope(handled.instrument(span)).await
    }
}

/// Was the transaction already broken, or broken by what its handlers wrote? A lost connection or a
/// server without room is nobody's fault here.
pub(super) fn spoiled(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    // In a failed transaction; a deferred constraint; a deadlock or the like; an event too large.
    error
        .code()
        .is_some_and(|code| code == "25P02" || code.starts_with("23") || code.starts_with("40"))
}

/// Bounds a handler in time and turns its panic into a failure of this delivery alone.
async fn guarded(
    limit: Duration,
    handler: impl Future<Output = Result<(), HandlerError>>,
) -> Result<(), HandlerError> {
    match tokio::time::timeout(limit, AssertUnwindSafe(handler).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(HandlerError::Failed(panic_error(&*panic))),
        Err(_) => Err(HandlerError::Failed(anyhow::anyhow!(
            "the handler took longer than {limit:?}"
        ))),
    }
}
