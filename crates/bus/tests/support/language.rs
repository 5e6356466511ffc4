//! What the suite's modules say: a shop that publishes, and a desk that listens and answers.

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use kernel::{
    Envelope, Event, EventId, HandlerError, Received, Subscription, Tx,
    bus::{Handle, HandleBatch},
    event::EventContext,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

pub(crate) const MODULES: [&str; 2] = ["shop", "desk"];

/// Events that differ in nothing but their type: the `n`th about a subject.
pub(crate) trait Numbered: Event + Clone {
    fn new(subject: &str, n: i64) -> Self;
    fn padded(subject: &str, n: i64, bytes: usize) -> Self;
    fn n(&self) -> i64;
}

macro_rules! event {
    ($name:ident, $type:literal, ordered: $ordered:literal) => {
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name {
            subject: String,
            n: i64,
            #[serde(default)]
            padding: String,
        }

        impl Event for $name {
            const TYPE: &'static str = $type;
            const SUMMARY: &'static str = "Something happened.";
            const ORDERED: bool = $ordered;

            fn subject(&self) -> String {
                self.subject.clone()
            }
        }

        impl Numbered for $name {
            fn new(subject: &str, n: i64) -> Self {
                Self::padded(subject, n, 0)
            }

            fn padded(subject: &str, n: i64, bytes: usize) -> Self {
                Self {
                    subject: subject.to_owned(),
                    n,
                    padding: "x".repeat(bytes),
                }
            }

            fn n(&self) -> i64 {
                self.n
            }
        }
    };
}

event!(OrderPlaced, "shop.order.placed.v1", ordered: true);
event!(OrderPlacedAnew, "shop.order.placed.v2", ordered: true);
event!(OrderPaid, "shop.order.paid.v1", ordered: true);
event!(OrderArchived, "shop.order.archived.v1", ordered: true);
event!(OrderRestated, "shop.order.restated.v1", ordered: true);
event!(ItemCounted, "shop.item.counted.v1", ordered: true);
event!(VisitSeen, "shop.visit.seen.v1", ordered: false);
event!(TicketOpened, "desk.ticket.opened.v1", ordered: true);

/// What a module of the suite has besides the bus's tables.
pub(crate) fn migrations(module: &str) -> String {
    // No constraint keeps an effect from taking place twice: the cases would not see it.
    format!(
        "CREATE TABLE {module}.effects (
            nr           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            subscription text    NOT NULL,
            id           uuid    NOT NULL,
            type         text    NOT NULL,
            subject      text    NOT NULL,
            n            bigint  NOT NULL,
            pos          bigint  NOT NULL,
            replay       boolean NOT NULL,
            context      jsonb   NOT NULL
        );
        CREATE TABLE {module}.totals (
            subject text   PRIMARY KEY,
            events  bigint NOT NULL,
            amount  bigint NOT NULL
        );
        CREATE TABLE {module}.orders (
            subject text   PRIMARY KEY,
            n       bigint NOT NULL
        );"
    )
}

/// An event as behaviours see it.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) id: EventId,
    pub(crate) event_type: &'static str,
    pub(crate) subject: String,
    pub(crate) n: i64,
    pub(crate) pos: i64,
    pub(crate) replay: bool,
    pub(crate) context: EventContext,
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;
type Behaviour = Arc<dyn for<'a> Fn(&'a mut Tx, &'a Fact) -> Outcome<'a> + Send + Sync>;

/// Writes each event to its module's effects, then behaves: what fails takes its effect along.
#[derive(Clone)]
pub(crate) struct Record {
    module: &'static str,
    subscription: String,
    behaviour: Option<Behaviour>,
}

impl Record {
    pub(crate) fn new(module: &'static str, subscription: &str) -> Self {
        Self {
            module,
            subscription: subscription.to_owned(),
            behaviour: None,
        }
    }

    pub(crate) fn then<F>(mut self, behaviour: F) -> Self
    where
        F: for<'a> Fn(&'a mut Tx, &'a Fact) -> Outcome<'a> + Send + Sync + 'static,
    {
        self.behaviour = Some(Arc::new(behaviour));
        self
    }

    /// Fails when it is told to.
    pub(crate) fn unless(
        self,
        fails: impl Fn(&Fact) -> Result<(), HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.then(move |_, fact| {
            let result = fails(fact);
            Box::pin(async move { result })
        })
    }
}

#[async_trait]
impl<E: Numbered> Handle<E> for Record {
    async fn handle(&self, tx: &mut Tx, event: Received<E>) -> Result<(), HandlerError> {
        let fact = Fact {
            id: event.id,
            event_type: E::TYPE,
            n: event.data.n(),
            subject: event.subject,
            pos: event.pos,
            replay: event.replay,
            context: event.context,
        };
        let insert = format!(
            "INSERT INTO {}.effects (subscription, id, type, subject, n, pos, replay, context)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            self.module
        );
        sqlx::query(AssertSqlSafe(insert))
            .bind(&self.subscription)
            .bind(fact.id)
            .bind(fact.event_type)
            .bind(&fact.subject)
            .bind(fact.n)
            .bind(fact.pos)
            .bind(fact.replay)
            .bind(sqlx::types::Json(&fact.context))
            .execute(&mut **tx)
            .await?;
        match &self.behaviour {
            Some(behaviour) => behaviour(tx, &fact).await,
            None => Ok(()),
        }
    }
}

/// Listens to orders at the desk.
pub(crate) fn orders(record: Record) -> Subscription {
    Subscription::new(&record.subscription.clone(), "shop")
        .on::<OrderPlaced>(record.clone())
        .on::<OrderPaid>(record)
}

/// Listens to visits, which have no order.
pub(crate) fn visits(record: Record) -> Subscription {
    Subscription::new(&record.subscription.clone(), "shop").on::<VisitSeen>(record)
}

pub(crate) fn desk(subscription: &str) -> Record {
    Record::new("desk", subscription)
}

/// Adds each event to its subject's total and opens a ticket for it, unless it is told to fail.
#[derive(Clone)]
pub(crate) struct Total<F>(pub(crate) F);

#[async_trait]
impl<E, F> Handle<E> for Total<F>
where
    E: Numbered,
    F: Fn(&str, i64) -> bool + Send + Sync,
{
    async fn handle(&self, tx: &mut Tx, event: Received<E>) -> Result<(), HandlerError> {
        sqlx::query(
            "INSERT INTO desk.totals AS t VALUES ($1, 1, $2)
             ON CONFLICT (subject) DO UPDATE
                SET events = t.events + 1, amount = t.amount + excluded.amount",
        )
        .bind(&event.subject)
        .bind(event.data.n())
        .execute(&mut **tx)
        .await?;
        tx.publish(&TicketOpened::new(&event.subject, event.data.n()));
        if (self.0)(&event.subject, event.data.n()) {
            return Err(anyhow::anyhow!("as it was told").into());
        }
        Ok(())
    }
}

/// Takes batches of the shop's whole log at the desk.
pub(crate) fn whole<F>(subscription: &str, handle: F) -> Subscription
where
    F: for<'a> Fn(&'a mut Tx, &'a [Envelope]) -> Outcome<'a> + Send + Sync + 'static,
{
    Subscription::whole_log(subscription, "shop", Whole(handle))
}

struct Whole<F>(F);

#[async_trait]
impl<F> HandleBatch for Whole<F>
where
    F: for<'a> Fn(&'a mut Tx, &'a [Envelope]) -> Outcome<'a> + Send + Sync,
{
    async fn handle(&self, tx: &mut Tx, events: &[Envelope]) -> Result<(), HandlerError> {
        (self.0)(tx, events).await
    }
}

/// A panic that tells nobody but who catches it: those that are meant to happen would hide others.
pub(crate) fn panic_quietly(message: &'static str) {
    std::panic::resume_unwind(Box::new(message));
}
