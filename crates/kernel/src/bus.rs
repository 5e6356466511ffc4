//! The bus as modules see it: what they subscribe with and what a handler is given.
//!
//! How events travel is chosen by configuration; the `bus` crate holds the transports. The
//! contract, whatever the transport: an event published in a committed transaction is handled at
//! least once by every durable subscription or parked where a person can see it; duplicates are
//! dropped; effects of one subject are in order and never concurrent.

use std::{collections::HashMap, marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::sync::broadcast;

use crate::{
    db::{Outgoing, Tx},
    event::{Envelope, Event, EventContext, EventId, family_of},
};

/// An event in a handler's hands.
#[derive(Clone, Debug)]
pub struct Received<E> {
    pub id: EventId,
    pub time: OffsetDateTime,
    pub subject: String,
    pub pos: i64,
    pub context: EventContext,
    pub data: E,
    /// Fed again to rebuild a read model: publishing is off, and so must be outside effects.
    pub replay: bool,
}

/// Why an event could not be handled now, or ever.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// What this event builds on has not arrived yet. Tried again soon; does not count as a failure.
    #[error("waiting for {0}")]
    Defer(&'static str),
    /// Trying again cannot help: the subject is parked at once.
    #[error("cannot be handled: {0}")]
    Park(String),
    /// Tried again with backoff, then the subject is parked.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<sqlx::Error> for HandlerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Handles one type of event. Writes go through `tx`, which commits together with the inbox
/// watermark: the effect takes place once however often the event arrives.
#[async_trait]
pub trait Handle<E: Event>: Send + Sync {
    async fn handle(&self, tx: &mut Tx, event: Received<E>) -> Result<(), HandlerError>;
}

/// Handles events of every type in the order of the publisher's log, many in one transaction.
#[async_trait]
pub trait HandleBatch: Send + Sync {
    async fn handle(&self, tx: &mut Tx, events: &[Envelope]) -> Result<(), HandlerError>;
}

/// Handler of a type, with the type erased.
#[async_trait]
pub trait HandleEnvelope: Send + Sync {
    async fn handle(
        &self,
        tx: &mut Tx,
        envelope: &Envelope,
        replay: bool,
    ) -> Result<(), HandlerError>;
}

struct Typed<E, H> {
    handler: H,
    event: PhantomData<fn() -> E>,
}

#[async_trait]
impl<E: Event, H: Handle<E>> HandleEnvelope for Typed<E, H> {
    async fn handle(
        &self,
        tx: &mut Tx,
        envelope: &Envelope,
        replay: bool,
    ) -> Result<(), HandlerError> {
        let data = serde_json::from_str(envelope.data.get()).map_err(|error| {
            // The data itself may be personal: only its shape is told.
            HandlerError::Park(format!(
                "data does not fit {}: {:?}",
                E::TYPE,
                error.classify()
            ))
        })?;
        let event = Received {
            id: envelope.id,
            time: envelope.time,
            subject: envelope.subject.clone(),
            pos: envelope.pos,
            context: envelope.context.clone(),
            data,
            replay,
        };
        self.handler.handle(tx, event).await
    }
}

/// In which order a subscription's events take effect.
pub enum Order {
    /// Per topic and subject; subjects are independent, and one that keeps failing is parked alone.
    PerSubject(HashMap<&'static str, Arc<dyn HandleEnvelope>>),
    /// In the order of the publisher's log, all topics. A failure holds everything back until it
    /// is mended: nothing is ever parked or passed over.
    PerPublisher(Arc<dyn HandleBatch>),
}

/// Where a new subscription begins in the publisher's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest event still kept.
    Oldest,
    /// Only what is published from now on.
    Now,
}

/// A module's named, durable interest in another's events.
pub struct Subscription {
    /// Unique in the module, and stable: the cursor and the inbox go by it.
    pub name: String,
    pub publisher: String,
    pub order: Order,
    pub start: Start,
    /// Tables that are emptied before a replay. A subscription without any is never replayed.
    pub read_model: &'static [&'static str],
    /// Failures before a subject is parked.
    pub max_attempts: i32,
}

impl Subscription {
    /// Takes the types that [`on`](Self::on) names from `publisher`, in order per subject.
    pub fn new(name: &str, publisher: &str) -> Self {
        Self {
            name: name.to_owned(),
            publisher: publisher.to_owned(),
            order: Order::PerSubject(HashMap::new()),
            start: Start::Oldest,
            read_model: &[],
            max_attempts: 8,
        }
    }

    /// Takes everything of `publisher`, in the order of its log.
    pub fn whole_log(name: &str, publisher: &str, handler: impl HandleBatch + 'static) -> Self {
        Self {
            order: Order::PerPublisher(Arc::new(handler)),
            ..Self::new(name, publisher)
        }
    }

    pub fn on<E: Event>(mut self, handler: impl Handle<E> + 'static) -> Self {
        let Order::PerSubject(handlers) = &mut self.order else {
            panic!("subscription {} takes the whole log", self.name)
        };
        let typed = Typed {
            handler,
            event: PhantomData::<fn() -> E>,
        };
        let before = handlers.insert(E::TYPE, Arc::new(typed));
        assert!(
            before.is_none(),
            "{} is handled twice by {}",
            E::TYPE,
            self.name
        );
        self
    }

    /// Its effects are only these tables: they can be emptied and rebuilt from the log.
    pub fn read_model(mut self, tables: &'static [&'static str]) -> Self {
        self.read_model = tables;
        self
    }

    pub fn starting(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Does the subscription know this type in another version only? Then it parks rather than
    /// passing over something that it was meant to see.
    pub fn knows_other_version(&self, event_type: &str) -> bool {
        match &self.order {
            Order::PerSubject(handlers) => {
                !handlers.contains_key(event_type)
                    && handlers
                        .keys()
                        .any(|known| family_of(known) == family_of(event_type))
            }
            Order::PerPublisher(_) => false,
        }
    }
}

/// An interest that every process has for itself: keys, revocations. No inbox, no cursor in the
/// database; it starts `lookback` before now, and handling twice must do no harm.
pub struct Broadcast {
    pub name: &'static str,
    pub publisher: String,
    pub types: &'static [&'static str],
    pub lookback: Duration,
    pub handler: Arc<dyn Fn(&Envelope) + Send + Sync>,
}

/// A word on the ephemeral lane: "something of `topic` concerning `key` changed, look again".
/// Best effort: whoever listens re-reads, and also looks by itself now and then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub topic: String,
    pub key: String,
}

/// What [`Tx`] and modules need of a transport.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Writes a transaction's events to its module's outbox: the last statements before commit.
    async fn write_outbox(
        &self,
        conn: &mut PgConnection,
        module: &str,
        events: &[Outgoing],
    ) -> Result<(), sqlx::Error>;

    /// The transaction committed: its events can be fetched.
    fn committed(&self, module: &str);

    /// Sends on the ephemeral lane: to this process now, to others as soon as may be.
    fn hint(&self, hint: Hint);

    /// Listens on the ephemeral lane. A slow listener is told how many it missed.
    fn hints(&self) -> broadcast::Receiver<Hint>;

    /// Reads the broadcast from its lookback to the present, then follows it for as long as the
    /// process lives. Returns when it has caught up; fails while the publisher cannot be read.
    async fn broadcast(&self, broadcast: Broadcast) -> Result<(), anyhow::Error>;
}
