//! Lag is an age: how old the oldest event is that waits, per stage. A count can read zero while
//! everything is stuck.

use kernel::Db;
use serde::Serialize;
use sqlx::Row;

use crate::{
    schema::{Schema, safe, statements},
    source::{Error, Source},
    subscriber::Subscriber,
};

statements! {
    /// What measures lag.
    LagStatements {
        unsequenced: "
            SELECT extract(epoch FROM clock_timestamp() - published_at)::float8
              FROM {schema}.outbox ORDER BY seq LIMIT 1",
        lanes: "
            SELECT count(*) FILTER (WHERE status = 'parked') AS parked,
                   extract(epoch FROM clock_timestamp() - min(parked_at)
                       FILTER (WHERE status = 'retrying'))::float8 AS oldest_seconds
              FROM {schema}.parked WHERE subscription = $1 AND status <> 'waiting'",
    }
}

/// How far behind a stage is.
#[derive(Clone, Debug, Serialize)]
pub struct Lag {
    pub module: String,
    /// `sequencer`, or the subscription's name.
    pub stage: String,
    /// None when nothing waits.
    pub oldest_seconds: Option<f64>,
    /// Lanes that wait for a person.
    pub parked: i64,
    /// By how many positions a subscription stands beyond the end of its publisher's log: not at all,
    /// unless that log was set back. It hears nothing until the log has grown past it.
    pub beyond: i64,
}

/// The stage of events that wait to be moved into the log.
const OUTBOX: &str = "sequencer";

impl Lag {
    /// Of the outbox, and no subscription's?
    pub fn is_outbox(&self) -> bool {
        self.stage == OUTBOX
    }
}

pub(crate) async fn unsequenced(db: &Db) -> Result<Lag, sqlx::Error> {
    let schema = Schema::new(db.module()).expect("modules have valid names");
    let statements = LagStatements::new(&schema);
    let oldest_seconds = sqlx::query_scalar(safe(&statements.unsequenced))
        .fetch_optional(db.bus_pool())
        .await?;
    Ok(Lag {
        module: db.module().to_owned(),
        stage: OUTBOX.to_owned(),
        oldest_seconds,
        parked: 0,
        beyond: 0,
    })
}

pub(crate) async fn unhandled(
    publisher: &dyn Source,
    subscriber: &Subscriber,
) -> Result<Lag, Error> {
    // What is fed again is old by nature: a replay counts from where it ends.
    let standing = subscriber.load().await?;
    let stands = standing.as_ref().map_or(0, |standing| standing.pos);
    let pos = stands.max(standing.and_then(|s| s.replay_until).unwrap_or_default());
    let beyond = (stands - publisher.head().await?).max(0);
    let in_log = publisher.age_after(pos).await?;
    let schema = Schema::new(subscriber.db.module()).expect("modules have valid names");
    let lanes = sqlx::query(safe(&LagStatements::new(&schema).lanes))
        .bind(subscriber.name())
        .fetch_one(subscriber.db.bus_pool())
        .await?;
    let in_lanes: Option<f64> = lanes.try_get("oldest_seconds")?;
    Ok(Lag {
        module: subscriber.db.module().to_owned(),
        stage: subscriber.name().to_owned(),
        oldest_seconds: in_log.into_iter().chain(in_lanes).reduce(f64::max),
        parked: lanes.try_get("parked")?,
        beyond,
    })
}
