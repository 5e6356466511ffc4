//! What failed: out of the way of other subjects, tried again with backoff, then parked.

use std::time::Duration;

use kernel::{Envelope, HandlerError};
use sqlx::PgConnection;

use super::{Marks, Standing, State, Subscriber, batch::spoiled};
use crate::{
    Settings,
    failpoint::{self, Point},
    parked::{Due, Lane},
};

/// How long an event waits for what it builds on before it is tried again, at most.
const DEFERRAL_DELAY_MAX: Duration = Duration::from_secs(5);

/// What is to happen with an event that failed.
pub(crate) struct Verdict {
    pub(crate) attempts: i32,
    pub(crate) deferrals: i32,
    pub(crate) park: bool,
    pub(crate) delay: Duration,
    pub(crate) error: String,
}

/// What became of the lanes that were due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retried {
    /// None was due, or all wait on for what they build on.
    Nothing,
    Moved,
    Fenced,
}

impl Subscriber {
    /// Copies an event that failed for the first time into its lane and goes on behind it. False
    /// when fenced.
    pub(super) async fn park_failed(
        &self,
        standing: &mut Standing,
        event: &Envelope,
        error: &HandlerError,
        epoch: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(mut tx) = self.begin_at(standing, epoch).await? else {
            return Ok(false);
        };
        let lane = self.park(&mut tx, event, error).await?;
        self.advance(&mut tx, event.pos, Some(event)).await?;
        failpoint::reach(self.holder, Point::FailureParked).await;
        tx.commit().await?;
        failpoint::reach(self.holder, Point::FailureCommitted).await;
        self.held.lock().expect("no holder panics").insert(lane);
        standing.stand_at(event.pos);
        Ok(true)
    }

    /// Parks a subject whose earlier events are no longer in the log. False when fenced.
    pub(crate) async fn park_gap(
        &self,
        standing: &Standing,
        event: &Envelope,
        expected: i64,
        epoch: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(mut tx) = self.begin_at(standing, epoch).await? else {
            return Ok(false);
        };
        let error = HandlerError::Park(format!(
            "event {expected} of the subject is no longer in the log: have the publisher restate, \
             then skip"
        ));
        let lane = self.park(&mut tx, event, &error).await?;
        tx.commit().await?;
        self.held.lock().expect("no holder panics").insert(lane);
        Ok(true)
    }

    async fn park(
        &self,
        tx: &mut PgConnection,
        event: &Envelope,
        error: &HandlerError,
    ) -> Result<Lane, sqlx::Error> {
        let lane = Lane::of(event);
        let verdict = self.verdict(error, 0, 0, Duration::ZERO);
        self.parked.queue(tx, &lane, event).await?;
        self.parked.put_back(tx, &lane, event.pos, &verdict).await?;
        self.tell_failure(event, error, verdict.park);
        Ok(lane)
    }

    /// Tries the first event of each lane that is due, for about as long as a batch may take.
    ///
    /// `now`: everything that is to be tried again is due, whatever its backoff.
    pub(crate) async fn retry_due(
        &self,
        standing: &Standing,
        epoch: i64,
        now: bool,
    ) -> Result<Retried, sqlx::Error> {
        let begun = tokio::time::Instant::now();
        let mut retried = Retried::Nothing;
        for due in self.parked.due(self.db.bus_pool(), now).await? {
            failpoint::reach(self.holder, Point::RetryDue).await;
            match self.retry(&due, standing, epoch).await? {
                Retried::Fenced => return Ok(Retried::Fenced),
                Retried::Moved => retried = Retried::Moved,
                Retried::Nothing => {}
            }
            // New events must not wait for many that hang.
            if !now && begun.elapsed() > self.settings.batch_time {
                break;
            }
        }
        Ok(retried)
    }

    async fn retry(
        &self,
        due: &Due,
        standing: &Standing,
        epoch: i64,
    ) -> Result<Retried, sqlx::Error> {
        let Some((mut tx, _)) = self.begin_fenced(epoch, State::Running).await? else {
            return Ok(Retried::Fenced);
        };
        let replay = standing.replays(due.envelope.pos);
        if replay {
            tx.mute();
        }
        let seen = self
            .inbox
            .seen(&mut tx, std::slice::from_ref(&due.envelope))
            .await?;
        let handled = if seen.contains(&due.envelope) {
            Ok(())
        } else {
            self.handle(&mut tx, &due.envelope, replay).await
        };
        if let Err(error) = handled {
            let _ = tx.rollback().await;
            failpoint::reach(self.holder, Point::RetryRolledBack).await;
            return self.put_back(due, &error, epoch).await;
        }
        failpoint::reach(self.holder, Point::RetryHandled).await;
        let finished = async {
            self.inbox.mark(&mut tx, &Marks::of(&due.envelope)).await?;
            let lane_ended = self
                .parked
                .remove_head(&mut tx, &due.lane, due.envelope.pos)
                .await?;
            failpoint::reach(self.holder, Point::RetryMoved).await;
            tx.commit().await?;
            Ok(lane_ended)
        };
        let lane_ended = match finished.await {
            Ok(lane_ended) => lane_ended,
            Err(error) if spoiled(&error) => {
                return self.put_back(due, &error.into(), epoch).await;
            }
            Err(error) => return Err(error),
        };
        failpoint::reach(self.holder, Point::RetryCommitted).await;
        if lane_ended {
            self.held
                .lock()
                .expect("no holder panics")
                .remove(&due.lane);
        }
        Ok(Retried::Moved)
    }

    async fn put_back(
        &self,
        due: &Due,
        error: &HandlerError,
        epoch: i64,
    ) -> Result<Retried, sqlx::Error> {
        let Some((mut tx, _)) = self.begin_fenced(epoch, State::Running).await? else {
            return Ok(Retried::Fenced);
        };
        let verdict = self.verdict(error, due.attempts, due.deferrals, due.age);
        self.parked
            .put_back(&mut tx, &due.lane, due.envelope.pos, &verdict)
            .await?;
        failpoint::reach(self.holder, Point::RetryPutBack).await;
        tx.commit().await?;
        self.tell_failure(&due.envelope, error, verdict.park);
        if matches!(error, HandlerError::Defer(_)) && !verdict.park {
            Ok(Retried::Nothing)
        } else {
            Ok(Retried::Moved)
        }
    }

    fn tell_failure(&self, event: &Envelope, error: &HandlerError, parked: bool) {
        if let (HandlerError::Defer(what), false) = (error, parked) {
            tracing::debug!(event.id = %event.id, subscription = self.name(), what, "event waits");
            return;
        }
        tracing::warn!(
            event.id = %event.id,
            event.r#type = event.event_type,
            subscription = self.cursor_name(),
            error = describe(error),
            parked,
            "event could not be handled"
        );
    }

    fn verdict(
        &self,
        error: &HandlerError,
        attempts: i32,
        deferrals: i32,
        age: Duration,
    ) -> Verdict {
        let tried = Tried {
            attempts,
            deferrals,
            age,
        };
        let spread = self.db.world().below(1_000) + 1;
        verdict(
            &self.settings,
            self.subscription.max_attempts,
            error,
            &tried,
            spread,
        )
    }
}

/// How it went so far.
struct Tried {
    attempts: i32,
    deferrals: i32,
    age: Duration,
}

/// What is to happen after a failure: exponential backoff with full jitter, then a person. `spread`
/// is a thousandth of the bound, from 1 to 1,000.
fn verdict(
    settings: &Settings,
    max_attempts: i32,
    error: &HandlerError,
    tried: &Tried,
    spread: u32,
) -> Verdict {
    let Tried {
        mut attempts,
        mut deferrals,
        age,
    } = *tried;
    let mut delay_max = settings.backoff_max;
    let (park, exponent) = match error {
        HandlerError::Defer(_) => {
            deferrals += 1;
            // What it waits for may come at any time, and is not made worse by being asked for.
            delay_max = delay_max.min(DEFERRAL_DELAY_MAX);
            (age > settings.defer_max, tried.deferrals)
        }
        HandlerError::Park(_) => {
            attempts += 1;
            (true, 0)
        }
        HandlerError::Failed(_) => {
            attempts += 1;
            (attempts >= max_attempts, tried.attempts)
        }
    };
    let doubled = settings.backoff_base * (1 << exponent.clamp(0, 16).unsigned_abs());
    Verdict {
        attempts,
        deferrals,
        park,
        delay: doubled.min(delay_max) * spread / 1_000,
        error: describe(error),
    }
}

/// An error with its sources, bounded.
pub(super) fn describe(error: &HandlerError) -> String {
    let text = match error {
        HandlerError::Failed(error) => format!("{error:#}"),
        error => error.to_string(),
    };
    let end = text.floor_char_boundary(2_000);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(error: &HandlerError, attempts: i32, deferrals: i32, age_seconds: u64) -> Verdict {
        let tried = Tried {
            attempts,
            deferrals,
            age: Duration::from_secs(age_seconds),
        };
        verdict(&Settings::default(), 8, error, &tried, 1_000)
    }

    #[test]
    fn failures_back_off_and_end_with_a_person() {
        let error = HandlerError::Failed(anyhow::anyhow!("inner").context("outer"));
        let verdicts: Vec<_> = (0..8)
            .map(|attempts| judge(&error, attempts, 0, 0))
            .collect();
        let bounds: Vec<_> = verdicts.iter().map(|v| v.delay.as_millis()).collect();
        assert_eq!(
            bounds,
            [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]
        );
        assert!(verdicts.iter().map(|v| v.attempts).eq(1..=8));
        assert!(verdicts[..7].iter().all(|v| !v.park));
        assert!(verdicts[7].park);
        assert_eq!(verdicts[0].error, "outer: inner");
    }

    #[test]
    fn jitter_is_full() {
        let error = HandlerError::Failed(anyhow::anyhow!("failed"));
        let tried = Tried {
            attempts: 1,
            deferrals: 0,
            age: Duration::ZERO,
        };
        let delay = |spread| verdict(&Settings::default(), 8, &error, &tried, spread).delay;
        assert_eq!(delay(1), Duration::from_millis(1));
        assert_eq!(delay(500), Duration::from_millis(500));
    }

    #[test]
    fn what_cannot_be_helped_parks_at_once() {
        let verdict = judge(&HandlerError::Park("no".to_owned()), 0, 0, 0);
        assert!(verdict.park);
        assert_eq!(verdict.attempts, 1);
    }

    #[test]
    fn waiting_is_no_failure_but_has_an_end() {
        let verdict = judge(&HandlerError::Defer("it"), 3, 20, 3_600);
        assert!(!verdict.park);
        assert_eq!((verdict.attempts, verdict.deferrals), (3, 21));
        assert_eq!(verdict.delay, DEFERRAL_DELAY_MAX);
        assert!(judge(&HandlerError::Defer("it"), 3, 20, 3_601).park);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let long = HandlerError::Park("\u{e4}".repeat(3_000));
        assert!(describe(&long).len() <= 2_000);
    }
}
