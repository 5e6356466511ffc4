//! A module's database: two pools as its runtime role, and the transaction that carries events.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use serde_json::value::RawValue;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use time::OffsetDateTime;

use crate::{
    bus::EventBus,
    clock::World,
    context::RequestContext,
    event::{Event, EventContext, EventId},
};

/// What a module reaches its own schema with.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

struct Shared {
    module: String,
    /// For requests and jobs.
    pool: PgPool,
    /// For the bus: a flood of requests must not hold up delivery, nor the other way round.
    bus_pool: PgPool,
    bus: Arc<dyn EventBus>,
    world: World,
}

/// An event that waits for its transaction to commit.
#[derive(Debug)]
pub struct Outgoing {
    pub id: EventId,
    pub event_type: &'static str,
    pub subject: String,
    pub ordered: bool,
    pub time: OffsetDateTime,
    pub context: EventContext,
    pub data: Box<RawValue>,
}

impl Db {
    pub fn new(
        module: &str,
        pool: PgPool,
        bus_pool: PgPool,
        bus: Arc<dyn EventBus>,
        world: World,
    ) -> Self {
        let module = module.to_owned();
        Self {
            shared: Arc::new(Shared {
                module,
                pool,
                bus_pool,
                bus,
                world,
            }),
        }
    }

    pub fn module(&self) -> &str {
        &self.shared.module
    }

    /// For reads that need no transaction.
    pub fn pool(&self) -> &PgPool {
        &self.shared.pool
    }

    pub fn bus_pool(&self) -> &PgPool {
        &self.shared.bus_pool
    }

    pub fn bus(&self) -> &Arc<dyn EventBus> {
        &self.shared.bus
    }

    pub fn world(&self) -> &World {
        &self.shared.world
    }

    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        Ok(Tx::new(self.clone(), self.shared.pool.begin().await?))
    }

    /// Begins on the bus's own connections: for transports.
    pub async fn begin_for_bus(&self) -> Result<Tx, sqlx::Error> {
        Ok(Tx::new(self.clone(), self.shared.bus_pool.begin().await?))
    }
}

type AfterCommit = Box<dyn FnOnce() + Send>;

/// A transaction of one module. What is published in it is delivered if it commits, and only then.
///
/// It is used like the connection it holds: `store::users::insert(&mut tx, …)`.
pub struct Tx {
    db: Db,
    inner: Transaction<'static, Postgres>,
    events: Vec<Outgoing>,
    after_commit: Vec<AfterCommit>,
    actor: Option<String>,
    muted: bool,
}

impl Tx {
    fn new(db: Db, inner: Transaction<'static, Postgres>) -> Self {
        Self {
            db,
            inner,
            events: Vec::new(),
            after_commit: Vec::new(),
            actor: None,
            muted: false,
        }
    }

    /// The module whose transaction it is.
    pub fn module(&self) -> &str {
        self.db.module()
    }

    pub fn now(&self) -> OffsetDateTime {
        self.db.world().now()
    }

    /// Says who acts where the ambient context does not know: who signs in is found out here.
    pub fn default_actor(&mut self, actor: String) {
        self.actor = Some(actor);
    }

    /// Publishes with this transaction's commit, in the ambient [`RequestContext`].
    pub fn publish<E: Event>(&mut self, event: &E) -> EventId {
        let world = self.db.world();
        let id = EventId(world.uuid());
        if self.muted {
            return id;
        }
        let mut context = RequestContext::current().unwrap_or_else(|| RequestContext::root(world));
        context.actor = context.actor.or_else(|| self.actor.clone());
        let data = serde_json::value::to_raw_value(event)
            .expect("events are plain data, which always serialises");
        self.events.push(Outgoing {
            id,
            event_type: E::TYPE,
            subject: event.subject(),
            ordered: E::ORDERED,
            time: world.now(),
            context: context.for_event(),
            data,
        });
        id
    }

    /// Runs after the commit, and not at all without one: to wake a worker or a listener.
    pub fn after_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        if !self.muted {
            self.after_commit.push(Box::new(action));
        }
    }

    /// From here on nothing is published and nothing runs after the commit: for replays.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        let bus = Arc::clone(self.db.bus());
        if !self.events.is_empty() {
            bus.write_outbox(&mut self.inner, self.db.module(), &self.events)
                .await?;
        }
        self.inner.commit().await?;
        if !self.events.is_empty() {
            bus.committed(self.db.module());
        }
        for action in self.after_commit {
            action();
        }
        Ok(())
    }

    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.inner.rollback().await
    }
}

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

/// Turns a broken constraint into the error that it means, by the constraint's name.
pub trait OnConstraint<T> {
    fn on_constraint<E: From<sqlx::Error>>(
        self,
        name: &str,
        meaning: impl FnOnce() -> E,
    ) -> Result<T, E>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint<E: From<sqlx::Error>>(
        self,
        name: &str,
        meaning: impl FnOnce() -> E,
    ) -> Result<T, E> {
        self.map_err(|error| match &error {
            sqlx::Error::Database(db) if db.constraint() == Some(name) => meaning(),
            _ => E::from(error),
        })
    }
}
