//! Rebuilding read models from the log: emptied together, fed again with publishing off.

use kernel::{Order, Subscription};
use sqlx::{PgConnection, Row};

use crate::{
    log::Log,
    parked::Lane,
    schema::{Schema, safe, statements},
    subscriber::Subscriber,
};

statements! {
    /// What replays run.
    ReplayStatements {
        // The row's lock waits for the transaction in which a handler is at work.
        begin: "
            UPDATE {schema}.subscriptions
               SET state = 'replaying', replay_pos = 0, replay_until = pos
             WHERE name = ANY($1) AND state = 'running'
            RETURNING name",
        fence: "
            SELECT s.replay_pos, s.replay_until
              FROM {schema}.leases l, {schema}.subscriptions s
             WHERE l.name = $1 AND l.epoch = $2 AND s.name = $3 AND s.state = 'replaying'
               FOR KEY SHARE OF l FOR NO KEY UPDATE OF s",
        advance: "UPDATE {schema}.subscriptions SET replay_pos = $2 WHERE name = $1",
        finish: "
            UPDATE {schema}.subscriptions
               SET state = 'running', replay_pos = NULL, replay_until = NULL WHERE name = $1",
        over: "
            SELECT NOT EXISTS (SELECT FROM {schema}.subscriptions WHERE state = 'replaying')",
        remaining: "
            SELECT coalesce(sum(replay_until - replay_pos), 0)::bigint
              FROM {schema}.subscriptions WHERE state = 'replaying'",
    }
}

/// Pauses the module's subscriptions that have read models, empties these and begins to feed the
/// log again. To be called in one transaction: models that two subscriptions share are emptied
/// before either is fed. Returns the subscriptions that will be replayed.
pub async fn begin(
    tx: &mut PgConnection,
    schema: &Schema,
    subscriptions: &[&Subscription],
) -> Result<Vec<String>, sqlx::Error> {
    let statements = ReplayStatements::new(schema);
    let replayed: Vec<_> = subscriptions
        .iter()
        .filter(|s| !s.read_model.is_empty() && matches!(s.order, Order::PerSubject(_)))
        .collect();
    let names: Vec<_> = replayed.iter().map(|s| s.name.clone()).collect();
    sqlx::query(safe(&statements.begin))
        .bind(&names)
        .execute(&mut *tx)
        .await?;
    let mut tables: Vec<_> = replayed.iter().flat_map(|s| s.read_model).collect();
    tables.sort_unstable();
    tables.dedup();
    for table in tables {
        let name = table
            .strip_prefix(&format!("{schema}."))
            .unwrap_or_default();
        assert!(
            Schema::new(name).is_ok(),
            "{table} is not a table of {schema}"
        );
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {schema}.{name}")))
            .execute(&mut *tx)
            .await?;
    }
    Ok(names)
}

/// How many positions are still to be fed, over all subscriptions of the module.
pub async fn remaining(conn: &mut PgConnection, schema: &Schema) -> Result<i64, sqlx::Error> {
    let statements = ReplayStatements::new(schema);
    sqlx::query_scalar(safe(&statements.remaining))
        .fetch_one(conn)
        .await
}

/// Is no subscription of the module replaying?
pub async fn is_over(conn: &mut PgConnection, schema: &Schema) -> Result<bool, sqlx::Error> {
    let statements = ReplayStatements::new(schema);
    sqlx::query_scalar(safe(&statements.over))
        .fetch_one(conn)
        .await
}

/// Feeds one batch. False when the replay is over or must not go on here.
pub(crate) async fn step(
    subscriber: &Subscriber,
    log: &Log,
    epoch: i64,
) -> Result<bool, sqlx::Error> {
    let schema = Schema::new(subscriber.db.module()).expect("modules have valid names");
    let statements = ReplayStatements::new(&schema);
    let Some((pos, until)) = subscriber
        .load()
        .await?
        .and_then(|s| s.replay_pos.zip(s.replay_until))
    else {
        return Ok(false);
    };
    let limit = subscriber.settings.batch;
    let events = log.read(pos, until, subscriber.topics(), limit).await?;
    let mut tx = subscriber.db.begin_for_bus().await?;
    tx.mute();
    let fenced = sqlx::query(safe(&statements.fence))
        .bind(subscriber.lease())
        .bind(epoch)
        .bind(subscriber.name())
        .fetch_optional(&mut *tx)
        .await?;
    if fenced
        .map(|row| row.try_get::<i64, _>("replay_pos"))
        .transpose()?
        != Some(pos)
    {
        return Ok(false);
    }
    if events.is_empty() {
        sqlx::query(safe(&statements.finish))
            .bind(subscriber.name())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        tracing::info!(
            subscription = subscriber.cursor_name(),
            until,
            "replay ended"
        );
        return Ok(false);
    }
    let mut last = pos;
    for event in &events {
        if let Err(error) = subscriber.handle(&mut tx, event, true).await {
            // What was done so far in this transaction is fed again; then the event is parked in
            // one of its own, and passed over here.
            tx.rollback().await?;
            let mut tx = subscriber.db.begin_for_bus().await?;
            if last == pos {
                subscriber
                    .park(&mut tx, &Lane::of(event), event, &error)
                    .await?;
                last = event.pos;
            } else {
                return feed_until(subscriber, log, epoch, pos, last, &statements).await;
            }
            advance(&mut tx, &statements, subscriber.name(), last).await?;
            tx.commit().await?;
            subscriber.load_held().await?;
            return Ok(true);
        }
        last = event.pos;
    }
    advance(&mut tx, &statements, subscriber.name(), last).await?;
    tx.commit().await?;
    Ok(true)
}

/// Feeds again what came before the event that failed.
async fn feed_until(
    subscriber: &Subscriber,
    log: &Log,
    epoch: i64,
    pos: i64,
    until: i64,
    statements: &ReplayStatements,
) -> Result<bool, sqlx::Error> {
    let events = log
        .read(pos, until, subscriber.topics(), subscriber.settings.batch)
        .await?;
    let mut tx = subscriber.db.begin_for_bus().await?;
    tx.mute();
    let fenced = sqlx::query(safe(&statements.fence))
        .bind(subscriber.lease())
        .bind(epoch)
        .bind(subscriber.name())
        .fetch_optional(&mut *tx)
        .await?;
    if fenced.is_none() {
        return Ok(false);
    }
    for event in &events {
        if subscriber.handle(&mut tx, event, true).await.is_err() {
            // It went well a moment ago: the next step tries again from here.
            return Ok(true);
        }
    }
    advance(&mut tx, statements, subscriber.name(), until).await?;
    tx.commit().await?;
    Ok(true)
}

async fn advance(
    tx: &mut PgConnection,
    statements: &ReplayStatements,
    name: &str,
    pos: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(safe(&statements.advance))
        .bind(name)
        .bind(pos)
        .execute(tx)
        .await?;
    Ok(())
}
