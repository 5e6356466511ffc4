//! The subscriber's side: a subscription's way through its publisher's log.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Attached, Bus};
use crate::{
    failpoint::{self, Point},
    replay,
    source::{Error, Page, Source},
    subscriber::{Outcome, Retried, Standing, State, Subscriber},
    trouble::Trouble,
};

/// How long a subscription to a whole log waits after a failure, at most.
const STUCK_DELAY_MAX: Duration = Duration::from_secs(30);

/// An idle subscription looks at its lanes once in so many looks at where it stands.
const LANES_EVERY: u32 = 60;

/// What a step of a subscription came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Moved,
    Idle,
    /// To be loaded anew: another instance took over, or somebody changed it.
    Fenced,
    Stuck,
}

impl Bus {
    pub(super) async fn run_subscription(
        &self,
        attached: &Attached,
        subscriber: &Subscriber,
        stop: &CancellationToken,
    ) {
        let mut lease = attached.leases.watch(subscriber.lease());
        let mut attachments = self.attached.subscribe();
        let name = subscriber.cursor_name();
        let mut trouble = Trouble::of(format!("subscription {name} cannot go on"));
        while !stop.is_cancelled() {
            let epoch = *lease.borrow_and_update();
            let source = self.source_for(subscriber);
            let (Some(epoch), Some(source)) = (epoch, source) else {
                tokio::select! {
                    _ = lease.changed() => {}
                    _ = attachments.changed() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            };
            let followed = self
                .follow(subscriber, &*source, epoch, &mut lease, stop)
                .await;
            trouble.tell(followed.as_ref().err());
            if followed.is_err() {
                tokio::select! {
                    () = tokio::time::sleep(self.glance()) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// Follows the publisher's log until the lease is lost, the publisher is replaced or it is time
    /// to stop.
    async fn follow(
        &self,
        subscriber: &Subscriber,
        source: &dyn Source,
        epoch: i64,
        lease: &mut watch::Receiver<Option<i64>>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut tail = source.tail();
        let mut standing = begin(subscriber, source).await?;
        let mut agreed = standing.last;
        let mut looked = Instant::now();
        let mut looks = 0_u32;
        let mut told = (Instant::now(), None);
        let mut failures = 0;
        loop {
            if stop.is_cancelled() || *lease.borrow() != Some(epoch) || source.ended() {
                return Ok(());
            }
            tail.mark_unchanged();
            let step = self
                .step(subscriber, source, &mut standing, epoch, false)
                .await?;
            if told.0.elapsed() > self.glance() && told.1 != Some(standing.reached) {
                subscriber.catch_up(&mut standing, epoch).await?;
                let cursor = subscriber.cursor_name();
                // Only for trimming: a publisher that is away is told when it is back.
                if let Err(error) = source.acknowledge(&cursor, standing.pos).await {
                    tracing::debug!(%error, cursor, "how far it has come could not be told");
                }
                told = (Instant::now(), Some(standing.reached));
                failpoint::reach(subscriber.holder, Point::BatchAcknowledged).await;
            }
            let pause = match step {
                Step::Moved => {
                    failures = 0;
                    continue;
                }
                Step::Fenced => {
                    standing = begin(subscriber, source).await?;
                    self.settings.poll
                }
                Step::Stuck => {
                    failures += 1;
                    let bound = self.settings.backoff_base * (1 << failures.min(6));
                    bound.min(STUCK_DELAY_MAX)
                }
                Step::Idle => self.idle_time(subscriber).await?,
            };
            tokio::select! {
                _ = tail.changed(), if step == Step::Idle => {
                    if subscriber.topics().is_none() {
                        let more = tokio::time::sleep(self.settings.gather);
                        stop.run_until_cancelled(more).await;
                    }
                }
                () = tokio::time::sleep(pause) => {}
                _ = lease.changed() => {}
                () = stop.cancelled() => {}
            }
            // It may have been paused, set back or replayed meanwhile.
            if step == Step::Idle && looked.elapsed() >= self.glance() {
                let now = subscriber.load().await?.ok_or(sqlx::Error::RowNotFound)?;
                if now.state != standing.state || now.pos < standing.pos {
                    source.attend(attended(&now)).await?;
                }
                if now.last != agreed {
                    subscriber.agree(source, &now).await?;
                    agreed = now.last;
                }
                standing = now;
                // Lanes may have been emptied by hand. There may be many, and to believe that one is
                // held still does no harm.
                looks += 1;
                if looks.is_multiple_of(LANES_EVERY) && subscriber.holds_lanes() {
                    subscriber.load_held().await?;
                }
                looked = Instant::now();
            }
        }
    }

    /// Until the next look, if nobody calls.
    async fn idle_time(&self, subscriber: &Subscriber) -> Result<Duration, Error> {
        if !subscriber.holds_lanes() {
            return Ok(self.glance());
        }
        let due = subscriber.parked.next_due(subscriber.db.bus_pool()).await?;
        Ok(due.map_or(self.glance(), |due| {
            due.max(Duration::from_millis(10)).min(self.glance())
        }))
    }

    /// One batch of a subscription, or the retries that are due.
    pub(super) async fn step(
        &self,
        subscriber: &Subscriber,
        source: &dyn Source,
        standing: &mut Standing,
        epoch: i64,
        now: bool,
    ) -> Result<Step, Error> {
        match standing.state {
            State::Running => {}
            State::Paused => return Ok(Step::Fenced),
            State::Replaying => {
                if !replay::restart(subscriber, standing, source, epoch).await? {
                    return Ok(Step::Fenced);
                }
                *standing = begin(subscriber, source).await?;
                return Ok(Step::Moved);
            }
        }
        let retried = if subscriber.holds_lanes() {
            subscriber.retry_due(standing, epoch, now).await?
        } else {
            Retried::Nothing
        };
        if retried == Retried::Fenced {
            return Ok(Step::Fenced);
        }
        let (head, wants) = {
            let tail = source.tail();
            let tail = tail.borrow();
            let wants = tail.wants(standing.reached, subscriber.topics());
            (tail.head(), wants)
        };
        // What is fed again and what is new do not share a transaction.
        let end = match standing.replay_until {
            Some(until) if standing.reached < until => until.min(head),
            _ => head,
        };
        if standing.reached >= end {
            let moved = retried == Retried::Moved;
            return Ok(if moved { Step::Moved } else { Step::Idle });
        }
        if !wants {
            standing.reached = end;
            return Ok(Step::Moved);
        }
        let Page { events, until } = source
            .read(
                standing.reached,
                end,
                subscriber.topics(),
                self.settings.batch,
            )
            .await?;
        failpoint::reach(subscriber.holder, Point::BatchRead).await;
        if events.is_empty() {
            standing.reached = until;
            return Ok(Step::Moved);
        }
        match subscriber.process(standing, &events, until, epoch).await? {
            Outcome::Handled => Ok(Step::Moved),
            Outcome::Fenced => Ok(Step::Fenced),
            Outcome::Stuck => Ok(Step::Stuck),
            Outcome::Gap { at, expected } => {
                let event = &events[at];
                let start = standing.start_of(event.topic());
                let missing = source
                    .find(event.topic(), &event.subject, expected, start)
                    .await?;
                let gone_on = match missing {
                    Some(pos) if pos < event.pos => {
                        subscriber.rewind(standing, pos - 1, epoch).await?
                    }
                    _ => {
                        subscriber
                            .park_gap(standing, event, expected, epoch)
                            .await?
                    }
                };
                Ok(if gone_on { Step::Moved } else { Step::Fenced })
            }
        }
    }
}

/// Learns where the subscription stands, and has its source ready for it.
pub(super) async fn begin(subscriber: &Subscriber, source: &dyn Source) -> Result<Standing, Error> {
    let standing = subscriber.begin(source).await?;
    subscriber.agree(source, &standing).await?;
    source.attend(attended(&standing)).await?;
    Ok(standing)
}

/// From where the subscription reads on, if it does.
fn attended(standing: &Standing) -> Option<i64> {
    (standing.state == State::Running).then_some(standing.reached)
}
