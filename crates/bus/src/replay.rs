//! Rebuilding read models from the log.
//!
//! The read models are emptied together, and their subscriptions set back to their start: inbox,
//! lanes and position. From there everything goes its usual way, failures too, except that
//! publishing is off for what had taken effect before.

use kernel::{Order, Subscription};
use sqlx::{PgConnection, Row};

use crate::{
    failpoint::{self, Point},
    schema::{Schema, safe, statements},
    source::{Error, Source},
    subscriber::{Standing, State, Subscriber},
};

statements! {
    /// What replays run.
    ReplayStatements {
        // The rows' locks wait for transactions in which handlers are at work.
        begin: "
            UPDATE {schema}.subscriptions
               SET state = 'replaying', replay_until = greatest(pos, replay_until)
             WHERE name = ANY($1)
            RETURNING name",
        // What is still in the log is fed again, and fails again if it must.
        forget_lanes: "DELETE FROM {schema}.parked WHERE subscription = $1 AND pos > $2",
        restart: "
            UPDATE {schema}.subscriptions
               SET state = 'running', start_pos = $2, pos = $2, topics = '{}',
                   error = NULL, error_at = NULL
             WHERE name = $1",
        remaining: "
            SELECT coalesce(sum(greatest(0, replay_until -
                       CASE state WHEN 'replaying' THEN start_pos ELSE pos END)), 0)::bigint
                       AS positions,
                   coalesce(bool_and(state <> 'replaying' AND pos >= replay_until), true) AS over
              FROM {schema}.subscriptions WHERE replay_until IS NOT NULL",
    }
}

/// Stops the subscriptions that have read models, empties these and has the log fed again. To be
/// called in one transaction: models that two subscriptions share are emptied before either is fed.
/// Returns the subscriptions that will be replayed. One that was paused runs afterwards.
///
/// # Panics
/// When a read model is not a table of the module's schema: they are named by the program.
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
    let begun: Vec<String> = sqlx::query_scalar(safe(&statements.begin))
        .bind(&names)
        .fetch_all(&mut *tx)
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
    Ok(begun)
}

/// How many positions are still to be fed, over all subscriptions of the module.
pub async fn remaining(conn: &mut PgConnection, schema: &Schema) -> Result<i64, sqlx::Error> {
    progress(conn, schema).await?.try_get("positions")
}

/// Has every replay of the module ended? One that has nothing to feed may still be about to begin.
pub async fn is_over(conn: &mut PgConnection, schema: &Schema) -> Result<bool, sqlx::Error> {
    progress(conn, schema).await?.try_get("over")
}

async fn progress(
    conn: &mut PgConnection,
    schema: &Schema,
) -> Result<sqlx::postgres::PgRow, sqlx::Error> {
    sqlx::query(safe(&ReplayStatements::new(schema).remaining))
        .fetch_one(conn)
        .await
}

/// Sets a subscription back to its start. False when it must not be done here.
pub(crate) async fn restart(
    subscriber: &Subscriber,
    standing: &Standing,
    log: &dyn Source,
    epoch: i64,
) -> Result<bool, Error> {
    let schema = Schema::new(subscriber.db.module()).expect("modules have valid names");
    let statements = ReplayStatements::new(&schema);
    // What the log has lost is before its time now: a subject's first event that is left is
    // accepted without the ones before.
    let start = log
        .hold(&subscriber.cursor_name(), standing.start_pos)
        .await?;
    failpoint::reach(subscriber.holder, Point::ReplayAnnounced).await;
    let fenced = subscriber.begin_fenced(epoch, State::Replaying).await?;
    let Some((mut tx, _)) = fenced else {
        return Ok(false);
    };
    subscriber.inbox.clear(&mut tx).await?;
    sqlx::query(safe(&statements.forget_lanes))
        .bind(subscriber.name())
        .bind(start)
        .execute(&mut *tx)
        .await?;
    sqlx::query(safe(&statements.restart))
        .bind(subscriber.name())
        .bind(start)
        .execute(&mut *tx)
        .await?;
    failpoint::reach(subscriber.holder, Point::ReplayReset).await;
    tx.commit().await?;
    failpoint::reach(subscriber.holder, Point::ReplayBegun).await;
    tracing::info!(
        subscription = subscriber.cursor_name(),
        from = start,
        until = standing.replay_until,
        "replay begins"
    );
    Ok(true)
}
