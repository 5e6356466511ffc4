//! The in-process transport: each subscription reads its publisher's log by itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use kernel::{Broadcast, Db, EventBus, Hint, Subscription, db::Outgoing};
use sqlx::PgConnection;
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Settings, lag,
    lease::Leases,
    log::Log,
    outbox::Outbox,
    replay,
    schema::Schema,
    sequencer::{self, Sequencer},
    subscriber::{Outcome, Standing, Subscriber},
    wakeup::Wakeup,
};

/// How long a subscription to a whole log waits after a failure, at most.
const STUCK_DELAY_MAX: Duration = Duration::from_secs(30);
/// How often a subscription tells its publisher how far it has come.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);
/// How often an idle subscription looks whether it was paused or set to replay.
const STATE_EVERY: Duration = Duration::from_secs(1);
const MAINTAIN_EVERY: Duration = Duration::from_secs(600);

/// The bus of a process whose modules are all local.
pub struct InProcess {
    /// Tells this process from others on the same database.
    instance: Uuid,
    settings: Settings,
    outboxes: Mutex<HashMap<String, Arc<Outbox>>>,
    wakeups: Mutex<HashMap<String, Arc<Wakeup>>>,
    modules: Mutex<HashMap<String, Arc<Attached>>>,
    /// Moves when a module is attached: subscriptions may wait for their publisher.
    attached: watch::Sender<usize>,
    hints: broadcast::Sender<Hint>,
    broadcasts: Mutex<Vec<Arc<Following>>>,
}

/// A module on the bus.
pub struct Attached {
    db: Db,
    log: Log,
    sequencer: Sequencer,
    leases: Arc<Leases>,
    wakeup: Arc<Wakeup>,
    /// The position of the last event in the log, as far as this process knows.
    head: watch::Sender<i64>,
    subscribers: Vec<Arc<Subscriber>>,
}

/// A broadcast and how far this process has read.
struct Following {
    log: Log,
    broadcast: Broadcast,
    pos: tokio::sync::Mutex<i64>,
}

/// What a step of a subscription came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Moved,
    Idle,
    /// To be loaded anew: another instance took over, or somebody changed its state.
    Fenced,
    Stuck,
}

impl InProcess {
    pub fn new(instance: Uuid, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            instance,
            settings,
            outboxes: Mutex::default(),
            wakeups: Mutex::default(),
            modules: Mutex::default(),
            attached: watch::Sender::new(0),
            hints: broadcast::Sender::new(1_024),
            broadcasts: Mutex::default(),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn outbox(&self, module: &str) -> Arc<Outbox> {
        let mut outboxes = self.outboxes.lock().expect("no holder panics");
        let outbox = outboxes.entry(module.to_owned()).or_insert_with(|| {
            Arc::new(Outbox::new(
                &Schema::new(module).expect("modules have valid names"),
            ))
        });
        Arc::clone(outbox)
    }

    fn wakeup(&self, module: &str) -> Arc<Wakeup> {
        let mut wakeups = self.wakeups.lock().expect("no holder panics");
        let wakeup = wakeups.entry(module.to_owned()).or_insert_with(|| {
            let schema = Schema::new(module).expect("modules have valid names");
            Arc::new(Wakeup::new(&schema, self.instance, self.hints.clone()))
        });
        Arc::clone(wakeup)
    }

    /// Puts a started module on the bus. `other_leases` are for what else one instance at a time
    /// may do, such as jobs.
    pub async fn attach(
        &self,
        db: Db,
        subscriptions: Vec<Subscription>,
        other_leases: Vec<String>,
    ) -> Result<Arc<Attached>, sqlx::Error> {
        let module = db.module().to_owned();
        let schema = Schema::new(&module).expect("modules have valid names");
        let mut wanted = other_leases;
        wanted.push(sequencer::LEASE.to_owned());
        wanted.extend(
            subscriptions
                .iter()
                .map(|s| crate::subscriber::lease_name(&s.name)),
        );
        let leases = Arc::new(Leases::new(
            db.bus_pool().clone(),
            &schema,
            self.instance,
            self.settings.lease_ttl,
            wanted,
        ));
        leases.declare().await?;
        let subscribers = subscriptions
            .into_iter()
            .map(|subscription| {
                Arc::new(Subscriber::new(
                    db.clone(),
                    &schema,
                    subscription,
                    Arc::clone(&leases),
                    self.instance,
                    self.settings.clone(),
                ))
            })
            .collect();
        let sequencer = Sequencer::new(db.clone(), &schema, self.settings.sequencer_batch);
        let attached = Arc::new(Attached {
            log: Log::new(db.bus_pool().clone(), &schema),
            head: watch::Sender::new(sequencer.head().await?),
            sequencer,
            leases,
            wakeup: self.wakeup(&module),
            subscribers,
            db,
        });
        self.modules
            .lock()
            .expect("no holder panics")
            .insert(module, Arc::clone(&attached));
        self.attached.send_modify(|n| *n += 1);
        Ok(attached)
    }

    fn publisher(&self, module: &str) -> Option<Arc<Attached>> {
        self.modules
            .lock()
            .expect("no holder panics")
            .get(module)
            .cloned()
    }

    /// Works for a module until the token is cancelled: then work in hand is finished and the
    /// leases are released. Ends early with an error when a task of it cannot go on.
    pub async fn run(
        self: &Arc<Self>,
        attached: Arc<Attached>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let stop = shutdown.child_token();
        let mut loops: JoinSet<anyhow::Result<()>> = JoinSet::new();
        for subscriber in &attached.subscribers {
            let (bus, attached) = (Arc::clone(self), Arc::clone(&attached));
            let (subscriber, stop) = (Arc::clone(subscriber), stop.clone());
            loops.spawn(async move {
                bus.run_subscription(&attached, &subscriber, &stop).await;
                Ok(())
            });
        }
        {
            let (bus, attached, stop) = (Arc::clone(self), Arc::clone(&attached), stop.clone());
            loops.spawn(async move {
                bus.run_sequencer(&attached, &stop).await;
                Ok(())
            });
        }
        {
            let (attached, stop) = (Arc::clone(&attached), stop.clone());
            loops.spawn(async move {
                let service = async {
                    tokio::join!(attached.leases.run(), attached.run_wakeup());
                };
                stop.run_until_cancelled(service).await;
                Ok(())
            });
        }
        let mut result = Ok(());
        while let Some(ended) = loops.join_next().await {
            if !stop.is_cancelled() {
                result = match ended {
                    Ok(Ok(())) => Err(anyhow::anyhow!("a task of the bus ended by itself")),
                    Ok(Err(error)) => Err(error),
                    Err(panic) => Err(anyhow::anyhow!("a task of the bus panicked: {panic}")),
                };
                stop.cancel();
            }
        }
        if let Err(error) = attached.leases.release().await {
            tracing::debug!(%error, "leases could not be released; they will expire");
        }
        result
    }

    /// Takes the module off the bus.
    pub fn detach(&self, attached: &Arc<Attached>) {
        let mut modules = self.modules.lock().expect("no holder panics");
        let module = attached.db.module();
        if modules
            .get(module)
            .is_some_and(|current| Arc::ptr_eq(current, attached))
        {
            modules.remove(module);
        }
    }

    async fn run_sequencer(&self, attached: &Attached, stop: &CancellationToken) {
        let mut maintained: Option<Instant> = None;
        let mut trouble = Trouble::default();
        while !stop.is_cancelled() {
            let result = self.sequence(attached).await;
            trouble.tell(result.as_ref().err(), "events cannot be sequenced");
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
        attached.sequencer.maintain(self.settings.log_keep).await?;
        for subscriber in &attached.subscribers {
            subscriber.forget_ids().await?;
        }
        Ok(())
    }

    /// Sequences one batch if this instance leads, else looks how far the leader is. True when
    /// there is more.
    async fn sequence(&self, attached: &Attached) -> Result<bool, sqlx::Error> {
        let (head, more) = match attached.leases.epoch(sequencer::LEASE) {
            Some(epoch) => match attached.sequencer.sequence(&attached.leases, epoch).await? {
                Some(sequenced) => sequenced,
                None => return Ok(false),
            },
            None => (attached.sequencer.head().await?, false),
        };
        let moved = attached
            .head
            .send_if_modified(|h| std::mem::replace(h, head) != head);
        if moved && attached.leases.epoch(sequencer::LEASE).is_some() {
            // Other instances may hold the subscriptions.
            attached.wakeup.events();
        }
        Ok(more)
    }

    async fn run_subscription(
        &self,
        attached: &Attached,
        subscriber: &Subscriber,
        stop: &CancellationToken,
    ) {
        let mut lease = attached.leases.watch(subscriber.lease());
        let mut attachments = self.attached.subscribe();
        let mut trouble = Trouble::default();
        while !stop.is_cancelled() {
            let epoch = *lease.borrow_and_update();
            let publisher = self.publisher(&subscriber.subscription.publisher);
            let (Some(epoch), Some(publisher)) = (epoch, publisher) else {
                tokio::select! {
                    _ = lease.changed() => {}
                    _ = attachments.changed() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            };
            let followed = self
                .follow(subscriber, &publisher, epoch, &mut lease, stop)
                .await;
            trouble.tell(followed.as_ref().err(), "subscription cannot go on");
            if followed.is_err() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
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
        publisher: &Arc<Attached>,
        epoch: i64,
        lease: &mut watch::Receiver<Option<i64>>,
        stop: &CancellationToken,
    ) -> Result<(), sqlx::Error> {
        let mut head = publisher.head.subscribe();
        let mut standing = begin(subscriber, publisher).await?;
        let mut acknowledged = Instant::now();
        let mut failures = 0;
        loop {
            let current = self.publisher(publisher.db.module());
            if stop.is_cancelled()
                || *lease.borrow() != Some(epoch)
                || current.is_none_or(|p| !Arc::ptr_eq(&p, publisher))
            {
                return Ok(());
            }
            head.mark_unchanged();
            let step = self
                .step(subscriber, publisher, &mut standing, epoch, false)
                .await?;
            if acknowledged.elapsed() > ACKNOWLEDGE_EVERY {
                publisher
                    .log
                    .acknowledge(&subscriber.cursor_name(), standing.pos)
                    .await?;
                acknowledged = Instant::now();
            }
            let pause = match step {
                Step::Moved => {
                    failures = 0;
                    continue;
                }
                Step::Fenced => {
                    standing = begin(subscriber, publisher).await?;
                    if standing.state == "replaying" {
                        continue;
                    }
                    self.settings.poll
                }
                Step::Stuck => {
                    failures += 1;
                    let bound = self.settings.backoff_base * (1 << failures.min(6));
                    bound.min(STUCK_DELAY_MAX)
                }
                Step::Idle => self.idle_time(subscriber).await?,
            };
            let asleep = Instant::now();
            tokio::select! {
                _ = head.changed(), if step == Step::Idle => {}
                () = tokio::time::sleep(pause) => {
                    // It may have been paused or set to replay meanwhile.
                    if asleep.elapsed() >= STATE_EVERY && step == Step::Idle
                        && let Some(loaded) = subscriber.load().await?
                    {
                        standing = loaded;
                    }
                }
                _ = lease.changed() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn idle_time(&self, subscriber: &Subscriber) -> Result<Duration, sqlx::Error> {
        if !subscriber.holds_lanes() {
            return Ok(STATE_EVERY);
        }
        let due = subscriber.parked.next_due(subscriber.db.bus_pool()).await?;
        Ok(due.map_or(STATE_EVERY, |due| {
            due.clamp(Duration::from_millis(10), STATE_EVERY)
        }))
    }

    /// One batch of a subscription, or the retries that are due.
    async fn step(
        &self,
        subscriber: &Subscriber,
        publisher: &Attached,
        standing: &mut Standing,
        epoch: i64,
        now: bool,
    ) -> Result<Step, sqlx::Error> {
        match &*standing.state {
            "replaying" => {
                let more = replay::step(subscriber, &publisher.log, epoch).await?;
                return Ok(if more { Step::Moved } else { Step::Fenced });
            }
            "paused" => return Ok(Step::Fenced),
            _ => {}
        }
        let retried = subscriber.holds_lanes() && subscriber.retry_due(epoch, now).await?;
        let head = *publisher.head.borrow();
        if standing.pos >= head {
            return Ok(if retried { Step::Moved } else { Step::Idle });
        }
        let limit = self.settings.batch;
        let events = publisher
            .log
            .read(standing.pos, head, subscriber.topics(), limit)
            .await?;
        let until = match events.last() {
            Some(last) if i64::try_from(events.len()).is_ok_and(|n| n == limit) => last.pos,
            _ => head,
        };
        match subscriber.process(standing, &events, until, epoch).await? {
            Outcome::Handled => {
                standing.pos = until;
                Ok(Step::Moved)
            }
            Outcome::Gap {
                topic,
                subject,
                expected,
            } => match publisher.log.find(&topic, &subject, expected).await? {
                Some(pos) => {
                    subscriber.rewind(pos - 1).await?;
                    standing.pos = pos - 1;
                    Ok(Step::Moved)
                }
                None => {
                    let event = events
                        .iter()
                        .find(|e| e.topic() == topic && e.subject == subject)
                        .expect("the gap was found at an event of this batch");
                    let parked = subscriber.park_gap(event, expected, epoch).await?;
                    Ok(if parked { Step::Moved } else { Step::Fenced })
                }
            },
            Outcome::Fenced => Ok(Step::Fenced),
            Outcome::Stuck => Ok(Step::Stuck),
        }
    }

    /// Delivers what is pending in this process and everything that follows from it, now: retries
    /// do not wait for their time. For tests and tools; a running process uses [`run`](Self::run).
    pub async fn deliver_pending(&self) -> Result<(), sqlx::Error> {
        loop {
            let modules: Vec<_> = self
                .modules
                .lock()
                .expect("no holder panics")
                .values()
                .cloned()
                .collect();
            let mut moved = false;
            for attached in &modules {
                attached.leases.keep().await?;
                let before = *attached.head.borrow();
                while self.sequence(attached).await? {}
                moved |= *attached.head.borrow() != before;
            }
            for attached in &modules {
                for subscriber in &attached.subscribers {
                    moved |= self.deliver_to(attached, subscriber).await?;
                }
            }
            self.advance_broadcasts().await?;
            if !moved {
                return Ok(());
            }
        }
    }

    async fn deliver_to(
        &self,
        attached: &Attached,
        subscriber: &Subscriber,
    ) -> Result<bool, sqlx::Error> {
        let Some(publisher) = self.publisher(&subscriber.subscription.publisher) else {
            return Ok(false);
        };
        let Some(epoch) = attached.leases.epoch(subscriber.lease()) else {
            return Ok(false);
        };
        let mut standing = begin(subscriber, &publisher).await?;
        let mut moved = false;
        loop {
            match self
                .step(subscriber, &publisher, &mut standing, epoch, true)
                .await?
            {
                Step::Moved => moved = true,
                Step::Fenced if standing.state == "replaying" => {
                    standing = begin(subscriber, &publisher).await?;
                    moved = true;
                }
                Step::Idle | Step::Fenced | Step::Stuck => return Ok(moved),
            }
        }
    }

    /// How old the oldest event is that waits, per stage.
    pub async fn lag(&self) -> Result<Vec<lag::Lag>, sqlx::Error> {
        let modules: Vec<_> = self
            .modules
            .lock()
            .expect("no holder panics")
            .values()
            .cloned()
            .collect();
        let mut lags = Vec::new();
        for attached in &modules {
            lags.push(lag::unsequenced(&attached.db).await?);
            for subscriber in &attached.subscribers {
                if let Some(publisher) = self.publisher(&subscriber.subscription.publisher) {
                    lags.push(lag::unhandled(&publisher.db, subscriber).await?);
                }
            }
        }
        Ok(lags)
    }

    async fn advance_broadcasts(&self) -> Result<(), sqlx::Error> {
        let broadcasts = self.broadcasts.lock().expect("no holder panics").clone();
        for following in broadcasts {
            match following.advance().await {
                // Its module restarts, and will register anew.
                Err(sqlx::Error::PoolClosed) => {
                    let mut all = self.broadcasts.lock().expect("no holder panics");
                    all.retain(|other| !Arc::ptr_eq(other, &following));
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Follows the broadcasts of this process until the token is cancelled.
    pub async fn run_broadcasts(&self, shutdown: CancellationToken) {
        let mut trouble = Trouble::default();
        while !shutdown.is_cancelled() {
            let result = self.advance_broadcasts().await;
            trouble.tell(result.as_ref().err(), "broadcasts cannot be followed");
            tokio::select! {
                () = tokio::time::sleep(self.settings.poll) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

impl Attached {
    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    pub fn subscribers(&self) -> &[Arc<Subscriber>] {
        &self.subscribers
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Keeps the wake-up connections alive: without them everything goes on by polling. A process
    /// that only answers requests runs this alone, to call those that work.
    pub async fn run_wakeup(&self) {
        let mut trouble = Trouble::default();
        loop {
            let result = self.wakeup.run(&self.db).await;
            trouble.tell(result.as_ref().err(), "notifications cannot be listened to");
            tokio::time::sleep(Duration::from_secs(1)).await;
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
            let events = self.log.read(*pos, head, None, 256).await?;
            let Some(last) = events.last() else {
                return Ok(());
            };
            let until = last.pos;
            for event in &events {
                if self.broadcast.types.contains(&&*event.event_type) {
                    (self.broadcast.handler)(event);
                }
            }
            *pos = until;
        }
    }
}

async fn begin(subscriber: &Subscriber, publisher: &Attached) -> Result<Standing, sqlx::Error> {
    subscriber.declare(&publisher.log).await?;
    subscriber.load_held().await?;
    let standing = subscriber.load().await?;
    Ok(standing.expect("the subscription was declared"))
}

/// Tells of a fault when it begins and when it ends, not each time it is met.
#[derive(Default)]
struct Trouble {
    since: Option<Instant>,
}

impl Trouble {
    fn tell(&mut self, error: Option<&sqlx::Error>, what: &str) {
        match (error, self.since) {
            (Some(error), None) => {
                tracing::warn!(%error, "{what}");
                self.since = Some(Instant::now());
            }
            (None, Some(since)) => {
                tracing::info!(seconds = since.elapsed().as_secs(), "over: {what}");
                self.since = None;
            }
            _ => {}
        }
    }
}

#[async_trait]
impl EventBus for InProcess {
    async fn write_outbox(
        &self,
        conn: &mut PgConnection,
        module: &str,
        events: &[Outgoing],
    ) -> Result<(), sqlx::Error> {
        self.outbox(module).write(conn, events).await
    }

    fn committed(&self, module: &str) {
        self.wakeup(module).events();
    }

    fn hint(&self, hint: Hint) {
        let module = hint.topic.split('.').next().unwrap_or_default().to_owned();
        self.wakeup(&module).hint(hint);
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    async fn broadcast(&self, publisher: &Db, broadcast: Broadcast) -> Result<(), anyhow::Error> {
        let schema = Schema::new(publisher.module())?;
        let log = Log::new(publisher.bus_pool().clone(), &schema);
        let pos = log.before_recent(broadcast.lookback).await?;
        let following = Arc::new(Following {
            log,
            broadcast,
            pos: tokio::sync::Mutex::new(pos),
        });
        following.advance().await?;
        self.broadcasts
            .lock()
            .expect("no holder panics")
            .push(following);
        Ok(())
    }
}
