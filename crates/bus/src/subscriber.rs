//! A durable subscription at work: duplicates dropped, order kept, effects and watermarks in one
//! transaction, whatever transport brings the events.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use kernel::{
    Db, Envelope, HandlerError, Order, RequestContext, Start, Subscription, Tx, event::topic_of,
};
use sqlx::{PgConnection, Row};
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    Settings,
    lease::Leases,
    log::Log,
    parked::{Lane, Parked},
    schema::{Schema, safe, statements},
};

statements! {
    /// What a subscription runs.
    SubscriberStatements {
        declare: "
            INSERT INTO {schema}.subscriptions (name, publisher, start_pos, pos)
            VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING",
        load: "
            SELECT pos, start_pos, state, replay_pos, replay_until
              FROM {schema}.subscriptions WHERE name = $1",
        // The lease keeps other instances out; the row's lock keeps out who pauses, replays or
        // skips by hand.
        fence: "
            SELECT s.state, s.pos
              FROM {schema}.leases l, {schema}.subscriptions s
             WHERE l.name = $1 AND l.holder = $2 AND l.epoch = $3 AND s.name = $4
               FOR KEY SHARE OF l FOR NO KEY UPDATE OF s",
        watermarks: "
            SELECT topic, subject, keyseq FROM {schema}.inbox
             WHERE subscription = $1
               AND (topic, subject) IN (SELECT * FROM unnest($2::text[], $3::text[]))",
        known_ids: "
            SELECT id FROM {schema}.inbox_ids WHERE subscription = $1 AND id = ANY($2)",
        mark: "
            INSERT INTO {schema}.inbox (subscription, topic, subject, keyseq)
            SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
            ON CONFLICT (subscription, topic, subject) DO UPDATE SET keyseq = excluded.keyseq
             WHERE inbox.keyseq < excluded.keyseq",
        mark_ids: "
            INSERT INTO {schema}.inbox_ids (subscription, id) SELECT $1, unnest($2::uuid[])
            ON CONFLICT DO NOTHING",
        advance: "
            UPDATE {schema}.subscriptions
               SET pos = greatest(pos, $2), error = NULL, error_at = NULL WHERE name = $1",
        rewind: "UPDATE {schema}.subscriptions SET pos = least(pos, $2) WHERE name = $1",
        stuck: "
            UPDATE {schema}.subscriptions SET error = $2, error_at = clock_timestamp()
             WHERE name = $1",
        forget_ids: "
            DELETE FROM {schema}.inbox_ids
             WHERE subscription = $1 AND handled_at < clock_timestamp() - make_interval(secs => $2)",
    }
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything up to the position was handled or parked.
    Handled,
    /// A subject's event is missing; it is to be fetched from here again.
    Gap {
        topic: String,
        subject: String,
        expected: i64,
    },
    /// Another instance took over, or somebody paused it or set it to replay: load anew.
    Fenced,
    /// A subscription to a whole log failed; it goes on at the same event.
    Stuck,
}

/// Where a subscription stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub pos: i64,
    pub start_pos: i64,
    pub state: String,
    pub replay_pos: Option<i64>,
    pub replay_until: Option<i64>,
}

pub struct Subscriber {
    pub(crate) db: Db,
    pub(crate) subscription: Subscription,
    pub(crate) leases: Arc<Leases>,
    pub(crate) parked: Parked,
    pub(crate) settings: Settings,
    holder: Uuid,
    lease: String,
    /// Topics that the handlers name; none for all.
    topics: Option<Vec<String>>,
    statements: SubscriberStatements,
    /// Lanes with parked rows: later events of theirs queue behind. Only the holder of the lease
    /// adds lanes, so what is missing here is missing in the table too.
    held: Mutex<HashSet<Lane>>,
}

/// A failure of one event of a batch.
pub(crate) struct Failure {
    error: HandlerError,
}

enum Attempt {
    Done,
    Gap(Outcome),
    Fenced,
    Failed(Failure),
}

impl Subscriber {
    pub fn new(
        db: Db,
        schema: &Schema,
        subscription: Subscription,
        leases: Arc<Leases>,
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
            statements: SubscriberStatements::new(schema),
            lease: lease_name(&subscription.name),
            held: Mutex::default(),
            db,
            subscription,
            leases,
            holder,
            topics,
            settings,
        }
    }

    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    pub fn name(&self) -> &str {
        &self.subscription.name
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

    /// Makes the subscription known, from its start in the publisher's log.
    pub async fn declare(&self, log: &Log) -> Result<(), sqlx::Error> {
        if self.load().await?.is_some() {
            return Ok(());
        }
        let start = match self.subscription.start {
            Start::Oldest => log.before_oldest().await?,
            Start::Now => log.head().await?,
        };
        // Before our own row: the log must not be trimmed between the two.
        log.acknowledge(&self.cursor_name(), start).await?;
        sqlx::query(safe(&self.statements.declare))
            .bind(self.name())
            .bind(&self.subscription.publisher)
            .bind(start)
            .execute(self.db.bus_pool())
            .await?;
        Ok(())
    }

    pub async fn load(&self) -> Result<Option<Standing>, sqlx::Error> {
        let row = sqlx::query(safe(&self.statements.load))
            .bind(self.name())
            .fetch_optional(self.db.bus_pool())
            .await?;
        row.map(|row| {
            Ok(Standing {
                pos: row.try_get("pos")?,
                start_pos: row.try_get("start_pos")?,
                state: row.try_get("state")?,
                replay_pos: row.try_get("replay_pos")?,
                replay_until: row.try_get("replay_until")?,
            })
        })
        .transpose()
    }

    /// Learns which lanes are held; to be called when the lease was taken.
    pub async fn load_held(&self) -> Result<(), sqlx::Error> {
        let lanes = self.parked.lanes(self.db.bus_pool()).await?;
        *self.held.lock().expect("no holder panics") = lanes;
        Ok(())
    }

    /// Are there lanes that wait or are tried again?
    pub(crate) fn holds_lanes(&self) -> bool {
        !self.held.lock().expect("no holder panics").is_empty()
    }

    /// Parks a subject whose earlier events are no longer in the log. False when fenced.
    pub(crate) async fn park_gap(
        &self,
        event: &Envelope,
        expected: i64,
        epoch: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut tx = self.db.begin_for_bus().await?;
        if self.fence(&mut tx, epoch).await?.is_none() {
            return Ok(false);
        }
        let lane = Lane::of(event);
        let error = HandlerError::Park(format!(
            "event {expected} of the subject is no longer in the log: have the publisher restate, \
             then skip"
        ));
        self.park(&mut tx, &lane, event, &error).await?;
        tx.commit().await?;
        self.held.lock().expect("no holder panics").insert(lane);
        Ok(true)
    }

    /// Handles events that follow each other in the log, then stands at `until`.
    pub async fn process(
        &self,
        standing: &Standing,
        events: &[Envelope],
        until: i64,
        epoch: i64,
    ) -> Result<Outcome, sqlx::Error> {
        match self.attempt(standing, events, until, epoch).await? {
            Attempt::Done => return Ok(Outcome::Handled),
            Attempt::Gap(gap) => return Ok(gap),
            Attempt::Fenced => return Ok(Outcome::Fenced),
            Attempt::Failed(failure) => {
                if matches!(self.subscription.order, Order::PerPublisher(_)) {
                    self.tell_stuck(&failure.error).await?;
                    return Ok(Outcome::Stuck);
                }
            }
        }
        // One by one: the event that fails is parked with its subject, the others take effect.
        for event in events {
            let one = std::slice::from_ref(event);
            match self.attempt(standing, one, event.pos, epoch).await? {
                Attempt::Done => {}
                Attempt::Gap(gap) => return Ok(gap),
                Attempt::Fenced => return Ok(Outcome::Fenced),
                Attempt::Failed(failure) => {
                    let mut tx = self.db.begin_for_bus().await?;
                    if self.fence(&mut tx, epoch).await?.is_none() {
                        return Ok(Outcome::Fenced);
                    }
                    let lane = Lane::of(event);
                    self.park(&mut tx, &lane, event, &failure.error).await?;
                    self.advance(&mut tx, event.pos).await?;
                    tx.commit().await?;
                    self.held.lock().expect("no holder panics").insert(lane);
                }
            }
        }
        match self.attempt(standing, &[], until, epoch).await? {
            Attempt::Done => Ok(Outcome::Handled),
            _ => Ok(Outcome::Fenced),
        }
    }

    async fn attempt(
        &self,
        standing: &Standing,
        events: &[Envelope],
        until: i64,
        epoch: i64,
    ) -> Result<Attempt, sqlx::Error> {
        let mut tx = self.db.begin_for_bus().await?;
        match self.fence(&mut tx, epoch).await? {
            Some(pos) => {
                if let Order::PerPublisher(handler) = &self.subscription.order {
                    let new = &events[events.partition_point(|e| e.pos <= pos)..];
                    if !new.is_empty() {
                        let handled =
                            guarded(self.settings.handler_timeout, handler.handle(&mut tx, new));
                        let context = RequestContext::root(self.db.world());
                        if let Err(error) = context.scope(handled).await {
                            return Ok(Attempt::Failed(Failure { error }));
                        }
                    }
                    self.advance(&mut tx, until).await?;
                    tx.commit().await?;
                    return Ok(Attempt::Done);
                }
            }
            None => return Ok(Attempt::Fenced),
        }

        let mut watermarks = self.watermarks(&mut tx, events).await?;
        let mut known_ids = self.known_ids(&mut tx, events).await?;
        let mut handled_ids = Vec::new();
        let mut moved: HashMap<(&str, &str), i64> = HashMap::new();
        let held = self.held.lock().expect("no holder panics").clone();
        for event in events {
            let topic = event.topic();
            let lane = Lane::of(event);
            if held.contains(&lane) {
                self.parked.queue(&mut tx, &lane, event).await?;
                continue;
            }
            match event.keyseq {
                Some(keyseq) => {
                    let key = (topic.to_owned(), event.subject.clone());
                    match arrival(watermarks.get(&key).copied(), keyseq, event, standing) {
                        Arrival::Duplicate => continue,
                        Arrival::Next => {}
                        Arrival::Gap { expected } => {
                            let subject = event.subject.clone();
                            let topic = topic.to_owned();
                            return Ok(Attempt::Gap(Outcome::Gap {
                                topic,
                                subject,
                                expected,
                            }));
                        }
                    }
                    if let Err(error) = self.handle(&mut tx, event, false).await {
                        return Ok(Attempt::Failed(Failure { error }));
                    }
                    watermarks.insert(key, keyseq);
                    moved.insert((topic, &event.subject), keyseq);
                }
                None => {
                    if !known_ids.insert(event.id.0) {
                        continue;
                    }
                    if let Err(error) = self.handle(&mut tx, event, false).await {
                        return Ok(Attempt::Failed(Failure { error }));
                    }
                    handled_ids.push(event.id.0);
                }
            }
        }
        self.mark(&mut tx, &moved, &handled_ids).await?;
        self.advance(&mut tx, until).await?;
        tx.commit().await?;
        Ok(Attempt::Done)
    }

    /// Runs the handler of an event's type, if there is one.
    pub(crate) async fn handle(
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

    /// Tries the first event of each lane that is due. True when anything moved.
    ///
    /// `now`: everything that is to be tried again is due, whatever its backoff.
    pub async fn retry_due(&self, epoch: i64, now: bool) -> Result<bool, sqlx::Error> {
        let mut progress = false;
        for due in self.parked.due(self.db.bus_pool(), now).await? {
            let mut tx = self.db.begin_for_bus().await?;
            if self.fence(&mut tx, epoch).await?.is_none() {
                return Ok(progress);
            }
            let handled = match self.is_duplicate(&mut tx, &due.envelope).await? {
                true => Ok(()),
                false => self.handle(&mut tx, &due.envelope, false).await,
            };
            match handled {
                Ok(()) => {
                    let lane_ended = self
                        .finish_parked(&mut tx, &due.lane, &due.envelope)
                        .await?;
                    tx.commit().await?;
                    if lane_ended {
                        self.held
                            .lock()
                            .expect("no holder panics")
                            .remove(&due.lane);
                    }
                    progress = true;
                }
                Err(error) => {
                    tx.rollback().await?;
                    let mut tx = self.db.begin_for_bus().await?;
                    if self.fence(&mut tx, epoch).await?.is_none() {
                        return Ok(progress);
                    }
                    let verdict = self.verdict(&error, due.attempts, due.deferrals, due.age);
                    self.parked
                        .put_back(&mut tx, &due.lane, due.envelope.pos, &verdict)
                        .await?;
                    tx.commit().await?;
                    progress |= !matches!(error, HandlerError::Defer(_)) || verdict.park;
                    self.tell_failure(&due.envelope, &error, verdict.park);
                }
            }
        }
        Ok(progress)
    }

    /// The head of a lane is done with: marks it, removes it, and lets the next one up. True when
    /// the lane is empty.
    pub(crate) async fn finish_parked(
        &self,
        tx: &mut PgConnection,
        lane: &Lane,
        event: &Envelope,
    ) -> Result<bool, sqlx::Error> {
        match event.keyseq {
            Some(keyseq) => {
                let moved = HashMap::from([((event.topic(), &*event.subject), keyseq)]);
                self.mark(tx, &moved, &[]).await?;
            }
            None => self.mark(tx, &HashMap::new(), &[event.id.0]).await?,
        }
        self.parked.remove_head(tx, lane, event.pos).await
    }

    async fn is_duplicate(
        &self,
        tx: &mut PgConnection,
        event: &Envelope,
    ) -> Result<bool, sqlx::Error> {
        let events = std::slice::from_ref(event);
        Ok(match event.keyseq {
            Some(keyseq) => {
                let watermarks = self.watermarks(tx, events).await?;
                watermarks.values().any(|last| keyseq <= *last)
            }
            None => !self.known_ids(tx, events).await?.is_empty(),
        })
    }

    /// Locks what this transaction relies on. The position it stands at, or nothing when it must
    /// not act.
    pub(crate) async fn fence(
        &self,
        tx: &mut PgConnection,
        epoch: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        let row = sqlx::query(safe(&self.statements.fence))
            .bind(&self.lease)
            .bind(self.holder)
            .bind(epoch)
            .bind(self.name())
            .fetch_optional(tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let running = row.try_get::<&str, _>("state")? == "running";
        Ok(running.then_some(row.try_get("pos")?))
    }

    async fn watermarks(
        &self,
        tx: &mut PgConnection,
        events: &[Envelope],
    ) -> Result<HashMap<(String, String), i64>, sqlx::Error> {
        let keys: HashSet<_> = events
            .iter()
            .filter(|e| e.keyseq.is_some())
            .map(|e| (e.topic(), &*e.subject))
            .collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let (topics, subjects): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let rows = sqlx::query(safe(&self.statements.watermarks))
            .bind(self.name())
            .bind(topics)
            .bind(subjects)
            .fetch_all(tx)
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    (row.try_get("topic")?, row.try_get("subject")?),
                    row.try_get("keyseq")?,
                ))
            })
            .collect()
    }

    async fn known_ids(
        &self,
        tx: &mut PgConnection,
        events: &[Envelope],
    ) -> Result<HashSet<Uuid>, sqlx::Error> {
        let ids: Vec<Uuid> = events
            .iter()
            .filter(|e| e.keyseq.is_none())
            .map(|e| e.id.0)
            .collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let known: Vec<Uuid> = sqlx::query_scalar(safe(&self.statements.known_ids))
            .bind(self.name())
            .bind(ids)
            .fetch_all(tx)
            .await?;
        Ok(known.into_iter().collect())
    }

    async fn mark(
        &self,
        tx: &mut PgConnection,
        moved: &HashMap<(&str, &str), i64>,
        ids: &[Uuid],
    ) -> Result<(), sqlx::Error> {
        if !moved.is_empty() {
            let mut rows: Vec<_> = moved.iter().map(|((t, s), k)| (*t, *s, *k)).collect();
            rows.sort_unstable();
            sqlx::query(safe(&self.statements.mark))
                .bind(self.name())
                .bind(rows.iter().map(|r| r.0).collect::<Vec<_>>())
                .bind(rows.iter().map(|r| r.1).collect::<Vec<_>>())
                .bind(rows.iter().map(|r| r.2).collect::<Vec<_>>())
                .execute(&mut *tx)
                .await?;
        }
        if !ids.is_empty() {
            sqlx::query(safe(&self.statements.mark_ids))
                .bind(self.name())
                .bind(ids)
                .execute(&mut *tx)
                .await?;
        }
        Ok(())
    }

    async fn advance(&self, tx: &mut PgConnection, pos: i64) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.advance))
            .bind(self.name())
            .bind(pos)
            .execute(tx)
            .await?;
        Ok(())
    }

    /// Goes back to a position from which a missing event can be read again. The watermarks drop
    /// what was handled since.
    pub async fn rewind(&self, pos: i64) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.rewind))
            .bind(self.name())
            .bind(pos)
            .execute(self.db.bus_pool())
            .await?;
        Ok(())
    }

    async fn tell_stuck(&self, error: &HandlerError) -> Result<(), sqlx::Error> {
        tracing::warn!(
            subscription = self.cursor_name(),
            error = describe(error),
            "subscription fails and goes on trying"
        );
        sqlx::query(safe(&self.statements.stuck))
            .bind(self.name())
            .bind(describe(error))
            .execute(self.db.bus_pool())
            .await?;
        Ok(())
    }

    /// Copies an event that failed for the first time out of the way of other subjects.
    pub(crate) async fn park(
        &self,
        tx: &mut PgConnection,
        lane: &Lane,
        event: &Envelope,
        error: &HandlerError,
    ) -> Result<(), sqlx::Error> {
        let verdict = self.verdict(error, 0, 0, Duration::ZERO);
        self.parked.queue(tx, lane, event).await?;
        self.parked.put_back(tx, lane, event.pos, &verdict).await?;
        self.tell_failure(event, error, verdict.park);
        Ok(())
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

    /// What is to happen after a failure: exponential backoff with full jitter, then a person.
    fn verdict(
        &self,
        error: &HandlerError,
        attempts: i32,
        deferrals: i32,
        age: Duration,
    ) -> Verdict {
        let (attempts, deferrals, park, exponent) = match error {
            HandlerError::Defer(_) => (
                attempts,
                deferrals + 1,
                age > self.settings.defer_max,
                deferrals,
            ),
            HandlerError::Park(_) => (attempts + 1, deferrals, true, 0),
            HandlerError::Failed(_) => {
                let attempts = attempts + 1;
                (
                    attempts,
                    deferrals,
                    attempts >= self.subscription.max_attempts,
                    attempts - 1,
                )
            }
        };
        let exponent = exponent.clamp(0, 16).unsigned_abs();
        let bound = (self.settings.backoff_base * (1 << exponent)).min(self.settings.backoff_max);
        let spread = self.db.world().below(1_000) + 1;
        let delay = bound * spread / 1_000;
        Verdict {
            attempts,
            deferrals,
            park,
            delay,
            error: describe(error),
        }
    }

    /// Forgets ids of unordered events that no transport repeats any more.
    pub async fn forget_ids(&self) -> Result<(), sqlx::Error> {
        sqlx::query(safe(&self.statements.forget_ids))
            .bind(self.name())
            .bind(self.settings.inbox_ids_keep.as_secs_f64())
            .execute(self.db.bus_pool())
            .await?;
        Ok(())
    }
}

/// What is to happen with an event that failed.
pub(crate) struct Verdict {
    pub(crate) attempts: i32,
    pub(crate) deferrals: i32,
    pub(crate) park: bool,
    pub(crate) delay: Duration,
    pub(crate) error: String,
}

pub fn lease_name(subscription: &str) -> String {
    format!("subscription:{subscription}")
}

enum Arrival {
    Duplicate,
    Next,
    Gap { expected: i64 },
}

/// Is this the event that follows the last one of its subject?
fn arrival(last: Option<i64>, keyseq: i64, event: &Envelope, standing: &Standing) -> Arrival {
    match last {
        Some(last) if keyseq <= last => Arrival::Duplicate,
        Some(last) if keyseq == last + 1 => Arrival::Next,
        Some(last) => Arrival::Gap { expected: last + 1 },
        None if keyseq == 1 => Arrival::Next,
        // The subject's past lies before the subscription's beginning.
        None if event
            .keyprevpos
            .is_some_and(|prev| prev <= standing.start_pos) =>
        {
            Arrival::Next
        }
        None => Arrival::Gap { expected: 1 },
    }
}

/// Bounds a handler in time and turns its panic into a failure of this delivery alone.
async fn guarded(
    limit: Duration,
    handler: impl Future<Output = Result<(), HandlerError>>,
) -> Result<(), HandlerError> {
    match tokio::time::timeout(limit, AssertUnwindSafe(handler).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(HandlerError::Failed(anyhow::anyhow!(
                "the handler panicked: {message}"
            )))
        }
        Err(_) => Err(HandlerError::Failed(anyhow::anyhow!(
            "the handler took longer than {} s",
            limit.as_secs()
        ))),
    }
}

/// An error with its sources, bounded.
fn describe(error: &HandlerError) -> String {
    let text = match error {
        HandlerError::Failed(error) => format!("{error:#}"),
        error => error.to_string(),
    };
    let end = text.floor_char_boundary(2_000);
    text[..end].to_owned()
}
