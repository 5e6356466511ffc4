//! Lag is an age: how old the oldest event is that waits, per stage. A count can read zero while
//! everything is stuck.

use kernel::Db;
use serde::Serialize;

use crate::{
    schema::{Schema, safe, statements},
    subscriber::Subscriber,
};

statements! {
    /// What measures lag.
    LagStatements {
        unsequenced: "
            SELECT extract(epoch FROM clock_timestamp() - min(published_at))::float8
              FROM {schema}.outbox",
        unhandled: "
            SELECT extract(epoch FROM clock_timestamp() - sequenced_at)::float8
              FROM {schema}.log WHERE pos > $1 ORDER BY pos LIMIT 1",
        parked: "
            SELECT count(*) FROM {schema}.parked WHERE subscription = $1 AND status = 'parked'",
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Lag {
    pub module: String,
    /// `sequencer`, or the subscription's name.
    pub stage: String,
    /// None when nothing waits.
    pub oldest_seconds: Option<f64>,
    /// Lanes that wait for a person.
    pub parked: i64,
}

pub(crate) async fn unsequenced(db: &Db) -> Result<Lag, sqlx::Error> {
    let schema = Schema::new(db.module()).expect("modules have valid names");
    let statements = LagStatements::new(&schema);
    let oldest_seconds = sqlx::query_scalar(safe(&statements.unsequenced))
        .fetch_one(db.bus_pool())
        .await?;
    let module = db.module().to_owned();
    Ok(Lag {
        module,
        stage: "sequencer".to_owned(),
        oldest_seconds,
        parked: 0,
    })
}

pub(crate) async fn unhandled(publisher: &Db, subscriber: &Subscriber) -> Result<Lag, sqlx::Error> {
    let pos = subscriber.load().await?.map_or(0, |standing| standing.pos);
    let schema = Schema::new(publisher.module()).expect("modules have valid names");
    let oldest_seconds = sqlx::query_scalar(safe(&LagStatements::new(&schema).unhandled))
        .bind(pos)
        .fetch_optional(publisher.bus_pool())
        .await?;
    let schema = Schema::new(subscriber.db.module()).expect("modules have valid names");
    let parked = sqlx::query_scalar(safe(&LagStatements::new(&schema).parked))
        .bind(subscriber.name())
        .fetch_one(subscriber.db.bus_pool())
        .await?;
    Ok(Lag {
        module: subscriber.db.module().to_owned(),
        stage: subscriber.name().to_owned(),
        oldest_seconds,
        parked,
    })
}
