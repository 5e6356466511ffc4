//! Stopping a module everywhere, and knowing that it has stopped.
//!
//! First the word, then the lock: a place that is `moving` is seen by every process that hosts the
//! module, and they stop in good order. Then the runtime role's way into the schema is revoked, which
//! needs nobody's consent: whoever was paused, hangs or is of another release is refused by the
//! database (SQLSTATE 42501), prepared statements included, since a change of a schema's rights makes
//! every session plan anew. What is left are transactions that began before: each that wrote holds a
//! lock on what it wrote to, and one lock on all tables waits for them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bus::{
    Bus, Settings,
    lease::{self, Leases},
    sequencer::{self, Sequencer},
};
use kernel::{Db, World};
use sqlx::{AssertSqlSafe, postgres::PgPoolOptions};
use tokio::time::Instant;

use super::{end::End, tables::Table};

/// A transaction that waits for a lock makes others wait: not for long at once. Longer than the
/// server's deadlock_timeout, after which a vacuum gives way.
const LOCK_TIMEOUT: &str = "3s";
const LOOK: Duration = Duration::from_millis(100);
/// While nobody else can act.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// Tells every process that hosts the module to stop it.
pub(super) async fn announce(source: &mut End, target: &mut End) -> anyhow::Result<()> {
    let peer = target
        .place()
        .await?
        .context("the target has been marked")?;
    let update = format!(
        "UPDATE {}.place SET state = 'moving', peer = $1, peer_name = $2, since = clock_timestamp()
          WHERE state IN ('here', 'moving')",
        source.schema
    );
    let updated = sqlx::query(AssertSqlSafe(update))
        .bind(peer.id)
        .bind(&target.name)
        .execute(&mut source.conn)
        .await?;
    ensure!(updated.rows_affected() == 1, "the source has just changed");
    Ok(())
}

/// Waits until processes have gone by themselves, at most for `patience`. True when all have.
pub(super) async fn wait_for_processes(
    source: &mut End,
    patience: Duration,
) -> anyhow::Result<bool> {
    let deadline = Instant::now() + patience;
    while !sessions(source).await?.is_empty() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}

/// The server's processes that serve the runtime role.
async fn sessions(source: &mut End) -> anyhow::Result<Vec<i32>> {
    let sessions = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = $1
          ORDER BY pid",
    )
    .bind(&source.runtime)
    .fetch_all(&mut source.conn);
    Ok(sessions.await?)
}

/// Waits until every transaction that began before the fence has ended.
pub(super) async fn wait_for_transactions(
    source: &mut End,
    tables: &[Table],
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match lock_all(source, tables).await {
            Ok(()) => return Ok(source.run("COMMIT".to_owned()).await?),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {}
            Err(error) => return Err(error.into()),
        }
        let sessions = sessions(source).await?;
        if Instant::now() >= deadline {
            bail!(
                "a transaction is still open after {} s; the server's processes {sessions:?} belong to \
                 {}: end them with pg_terminate_backend, as an administrator, and try again",
                patience.as_secs(),
                source.runtime
            );
        }
        eprintln!("  waiting for open transactions of the server's processes {sessions:?}");
    }
}

/// Begins a transaction in which nobody else writes to any of the tables, the owner's functions
/// included.
pub(super) async fn lock_all(source: &mut End, tables: &[Table]) -> Result<(), sqlx::Error> {
    let names: Vec<_> = tables.iter().map(|table| &*table.name).collect();
    let statements = format!(
        "BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; LOCK TABLE {} IN SHARE MODE",
        names.join(", ")
    );
    let locked = source.run(statements).await;
    if locked.is_err() {
        source.run("ROLLBACK".to_owned()).await?;
    }
    locked
}

/// Moves what is still in the outbox into the log: no number that was taken there matters any more.
/// Behind the fence the leases are nobody's.
pub(super) async fn sequence_all(source: &mut End, world: &World) -> anyhow::Result<u64> {
    lease::release_all(&mut source.conn, &source.schema).await?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(source.owner.clone())
        .await?;
    let bus = Bus::new(world.uuid(), Settings::default(), None);
    let db = Db::new(
        source.module,
        pool.clone(),
        pool.clone(),
        Arc::clone(&bus) as _,
        world.clone(),
    );
    let wanted = vec![sequencer::LEASE.to_owned()];
    let leases = Leases::new(
        pool.clone(),
        &source.schema,
        world.uuid(),
        LEASE_TTL,
        wanted,
    );
    leases.declare().await?;
    leases.keep().await?;
    let epoch = leases.epoch(sequencer::LEASE);
    let epoch = epoch.context("the sequencer's lease is held by somebody in spite of the fence")?;
    let batch = bus.settings().sequencer_batch;
    let sequencer = Sequencer::new(db, &source.schema, batch);
    let mut moved = 0;
    while let Some(batch) = sequencer.sequence(&leases, epoch).await? {
        moved += u64::try_from(batch.head - batch.before).unwrap_or_default();
    }
    let (_, waiting) = sequencer.look().await?;
    ensure!(!waiting, "events are left in the outbox");
    leases.release().await?;
    pool.close().await;
    Ok(moved)
}
