//! A durable subscription at work: duplicates dropped, order kept, effects and watermarks in one
//! transaction, whatever transport brings the events.

mod batch;
mod failure;
mod inbox;
mod standing;

use std::{collections::HashSet, sync::Mutex, time::Duration};

use kernel::{Db, Envelope, HandlerError, Order, Subscription, Tx, event::topic_of};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{
    Settings,
    failpoint::{self, Point},
    parked::{Lane, Parked},
    schema::{Schema, safe, statements},
};
use batch::Attempt;
pub(crate) use failure::{Retried, Verdict};
pub(crate) use inbox::{Inbox, Marks};
use standing::StandingStatements;
pub use standing::{Standing, State};

statements! {
    /// What a subscription runs on its own row while it works.
    SubscriberStatements {
        // The lease keeps other instances out; the row's lock keeps out who pauses, replays or
        // skips by hand. A process that is paused here, or a handler's statement that waits for
        // ever, would keep both: the server ends such a transaction.
        fence: "
            SELECT s.pos,
                   set_config('idle_in_transaction_session_timeout', $5, true),
                   set_config('statement_timeout', $6, true)
              FROM {schema}.leases l, {schema}.subscriptions s
             WHERE l.name = $1 AND l.holder = $2 AND l.epoch = $3
               AND s.name = $4 AND s.state = $7
               FOR KEY SHARE OF l FOR NO KEY UPDATE OF s",
        advance: "
            UPDATE {schema}.subscriptions
               SET pos = $2, last_pos = coalesce($3, last_pos), last_id = coalesce($4, last_id),
                   error = NULL, error_at = NULL
             WHERE name = $1",
        stuck: "
            UPDATE {schema}.subscriptions SET error = $2, error_at = clock_timestamp()
             WHERE name = $1",
    }
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subscription stands further: everything up to there was handled or parked.
    Handled,
    /// Before the event at this index one of its subject is missing, with `expected` or a later
    /// number.
    Gap { at: usize, expected: i64 },
    /// Another instance took over, or somebody changed the subscription: load anew.
    Fenced,
    /// A subscription to a whole log failed; it goes on at the same event.
    Stuck,
}

/// A module's subscription, in the hands of one instance.
pub struct Subscriber {
    pub(crate) db: Db,
    pub(crate) parked: Parked,
    pub(crate) inbox: Inbox,
    pub(crate) settings: Settings,
    pub(crate) holder: Uuid,
    subscription: Subscription,
    lease: String,
    /// Topics that the handlers name; none for all.
    topics: Option<Vec<String>>,
    statements: SubscriberStatements,
    standing: StandingStatements,
    /// Lanes with parked rows: later events of theirs queue behind. Only the holder of the lease
    /// adds lanes, so what is missing here is missing in the table too.
    held: Mutex<HashSet<Lane>>,
}

impl Subscriber {
    pub fn new(
        db: Db,
        schema: &Schema,
        subscription: Subscription,
        holder: Uuid,
        settings: Settings,
    ) -> Self {
        let topics = match &subscription.order {
            Order::PerSubject(handlers) => {
                let mut topics: Vec<_> = handlers.keys().map(|t| topic_of(t).to_owned()).collect();
                topics.sort_unstable();
                topics.dedup();
                Some(topics)
            }
            Order::PerPublisher(_) => None,
        };
        Self {
            parked: Parked::new(schema, &subscription.name),
            inbox: Inbox::new(schema, &subscription.name),
            statements: SubscriberStatements::new(schema),
            standing: StandingStatements::new(schema),
            lease: lease_name(&subscription.name),
            held: Mutex::default(),
            db,
            subscription,
            holder,
            topics,
            settings,
        }
    }

    pub fn name(&self) -> &str {
        &self.subscription.name
    }

    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// How the publisher knows it: unique among all modules.
    pub fn cursor_name(&self) -> String {
        format!("{}.{}", self.db.module(), self.subscription.name)
    }

    pub fn lease(&self) -> &str {
        &self.lease
    }

    pub fn topics(&self) -> Option<&[String]> {
        self.topics.as_deref()
    }

    pub(crate) async fn load_held(&self) -> Result<(), sqlx::Error> {
        let lanes = self.parked.lanes(self.db.bus_pool()).await?;
        *self.held.lock().expect("no holder panics") = lanes;
        Ok(())
    }

    /// Are there lanes that wait or are tried again?
    pub(crate) fn holds_lanes(&self) -> bool {
        !self.held.lock().expect("no holder panics").is_empty()
    }

    fn holds(&self, lane: &Lane) -> bool {
        self.held.lock().expect("no holder panics").contains(lane)
    }

    /// Handles events that follow each other in the log. `until` is the position that was read up
    /// to; the last event may lie before it. Long work ends early: the standing tells how far it
    /// came.
    pub async fn process(
        &self,
        standing: &mut Standing,
        events: &[Envelope],
        until: i64,
        epoch: i64,
    ) -> Result<Outcome, sqlx::Error> {
        let mut from = 0;
        // What is known to fail: what lies before it takes effect first, then its lane is parked.
        let mut failed: Option<(usize, HandlerError)> = None;
        // How far a transaction may go when an event spoils it without telling which.
        let mut narrow: Option<usize> = None;
        loop {
            let end = failed.as_ref().map_or(events.len(), |(at, _)| *at);
            let end = narrow.take().unwrap_or(end);
            if from < end || failed.is_none() {
                let bound = events.get(end).map_or(until, |next| next.pos - 1);
                match self
                    .attempt(standing, &events[from..end], bound, epoch)
                    .await?
                {
                    Attempt::Done(count) if from + count < end => return Ok(Outcome::Handled),
                    Attempt::Done(_) => from = end,
                    Attempt::Gap { at, expected } => {
                        return Ok(Outcome::Gap {
                            at: from + at,
                            expected,
                        });
                    }
                    Attempt::Fenced => return Ok(Outcome::Fenced),
                    Attempt::Stuck(error) => {
                        return self.tell_stuck(standing, &error, epoch).await;
                    }
                    Attempt::Failed { at, error } => {
                        failpoint::reach(self.holder, Point::FailureRolledBack).await;
                        failed = Some((from + at, error));
                    }
                    Attempt::Spoiled(error) if end - from == 1 => failed = Some((from, error)),
                    Attempt::Spoiled(_) => narrow = Some(from + (end - from) / 2),
                }
            }
            if let Some((at, error)) = &failed
                && *at == from
            {
                if !self
                    .park_failed(standing, &events[from], error, epoch)
                    .await?
                {
                    return Ok(Outcome::Fenced);
                }
                from += 1;
                failed = None;
            }
            if from == events.len() && standing.pos == until {
                return Ok(Outcome::Handled);
            }
        }
    }

    /// Begins a transaction that has locked what it relies on, and tells where the subscription
    /// stands. Nothing when it must not act.
    pub(crate) async fn begin_fenced(
        &self,
        epoch: i64,
        state: State,
    ) -> Result<Option<(Tx, i64)>, sqlx::Error> {
        let mut tx = self.db.begin_for_bus().await?;
        let idle = self.settings.handler_timeout + self.settings.lease_ttl;
        let row = sqlx::query(safe(&self.statements.fence))
            .bind(&self.lease)
            .bind(self.holder)
            .bind(epoch)
            .bind(self.name())
            .bind(milliseconds(idle))
            .bind(milliseconds(self.settings.handler_timeout))
            .bind(state.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        row.map(|row| Ok((tx, row.try_get("pos")?))).transpose()
    }

    /// The same for a subscription that runs and stands where this process believes it does.
    async fn begin_at(&self, standing: &Standing, epoch: i64) -> Result<Option<Tx>, sqlx::Error> {
        let fenced = self.begin_fenced(epoch, State::Running).await?;
        Ok(fenced.and_then(|(tx, pos)| (pos == standing.pos).then_some(tx)))
    }

    /// To a position, by way of this event, if any.
    async fn advance(
        &self,
        tx: &mut PgConnection,
        pos: i64,
        last: Option<&Envelope>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.advance))
            .bind(self.name())
            .bind(pos)
            .bind(last.map(|event| event.pos))
            .bind(last.map(|event| event.id.0))
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Goes back to a position from which a missing event can be read again. The watermarks drop
    /// what was handled since. False when fenced.
    pub(crate) async fn rewind(
        &self,
        standing: &mut Standing,
        pos: i64,
        epoch: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(mut tx) = self.begin_at(standing, epoch).await? else {
            return Ok(false);
        };
        self.advance(&mut tx, pos, None).await?;
        tx.commit().await?;
        standing.stand_at(pos);
        Ok(true)
    }

    /// Writes down how far it has come past events that it does not want.
    pub(crate) async fn catch_up(
        &self,
        standing: &mut Standing,
        epoch: i64,
    ) -> Result<(), sqlx::Error> {
        if standing.reached > standing.pos {
            self.process(standing, &[], standing.reached, epoch).await?;
        }
        Ok(())
    }

    async fn tell_stuck(
        &self,
        standing: &Standing,
        error: &HandlerError,
        epoch: i64,
    ) -> Result<Outcome, sqlx::Error> {
        let error = failure::describe(error);
        tracing::warn!(
            subscription = self.cursor_name(),
            error,
            "subscription fails and goes on trying"
        );
        let Some(mut tx) = self.begin_at(standing, epoch).await? else {
            return Ok(Outcome::Fenced);
        };
        sqlx::query(safe(&self.statements.stuck))
            .bind(self.name())
            .bind(error)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Outcome::Stuck)
    }
}

/// A duration as PostgreSQL's settings take it; zero would mean none.
fn milliseconds(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

/// The lease of a subscription.
pub fn lease_name(subscription: &str) -> String {
    format!("subscription:{subscription}")
}
