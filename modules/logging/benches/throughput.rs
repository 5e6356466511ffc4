//! How fast log records are stored and audit entries are appended and verified.
//!
//! Storing is told as a ratio to the rate of a plain COPY into a table without indexes, the two taken
//! by turns: what the machine does besides then slows both. The aim is 0.6.
//!
//! `DATABASE_URL` names a PostgreSQL where the user may create a database and roles; without it
//! nothing is measured.

use std::time::{Duration, Instant};

use kernel::{
    Envelope, EventId, World,
    event::{Client, EventContext},
    telemetry::LogRecord,
};
use logging::bench_support::{begin_batch, copy, enter, migrations, verify_audit};
use serde_json::{json, value::RawValue};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

const DATABASE: &str = "banyan_logging_bench";
const ROUNDS: usize = 24;
const BATCH: usize = 5_000;
const AUDIT_BATCH: i64 = 256;
const AUDIT_ENTRIES: i64 = 400_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        println!("DATABASE_URL is not set: nothing is measured");
        return Ok(());
    };
    let options: PgConnectOptions = url.parse()?;
    let mut admin = PgConnection::connect_with(&options).await?;
    drop_database(&mut admin).await?;
    admin
        .execute(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}")))
        .await?;
    let pool = PgPoolOptions::new()
        .connect_with(options.database(DATABASE))
        .await?;
    let measured = measure(&pool).await;
    pool.close().await;
    drop_database(&mut admin).await?;
    measured
}

async fn drop_database(admin: &mut PgConnection) -> Result<(), sqlx::Error> {
    let statement = format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)");
    admin.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

async fn measure(pool: &PgPool) -> anyhow::Result<()> {
    pool.execute(
        "DO $$ BEGIN
             IF to_regrole('banyan_logging') IS NULL THEN CREATE ROLE banyan_logging; END IF;
         END $$;
         CREATE SCHEMA logging",
    )
    .await?;
    migrations().run(pool).await?;
    pool.execute("CREATE TABLE raw (LIKE logging.records)")
        .await?;
    let world = World::system();
    records(pool, &world).await?;
    audit(pool, &world).await
}

/// Words of a log, without much that repeats: about 300 bytes a record.
fn record(world: &World) -> LogRecord {
    const SERVICES: [&str; 6] = [
        "banyan",
        "identity",
        "profile",
        "notification",
        "logging",
        "kernel",
    ];
    let hex = |bytes: &[u8]| kernel::context::hex(bytes);
    let service = SERVICES[world.below(6) as usize];
    let fields = json!({
        "user.id": world.uuid(),
        "path": format!("/api/v1/{}", hex(&world.bytes::<6>())),
        "duration_ms": world.below(1_000),
        "words": hex(&world.bytes::<40>()),
    });
    LogRecord {
        time: world.now(),
        level: if world.below(50) == 0 {
            tracing::Level::WARN
        } else {
            tracing::Level::INFO
        },
        service,
        target: service,
        message: format!("request finished {}", hex(&world.bytes::<10>())),
        fields: fields.as_object().cloned().unwrap_or_default(),
        trace_id: Some(hex(&world.bytes::<16>())),
        span_id: Some(hex(&world.bytes::<8>())),
    }
}

async fn records(pool: &PgPool, world: &World) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let (mut stored, mut raw) = (Duration::ZERO, Duration::ZERO);
    for round in 0..=ROUNDS {
        let records: Vec<_> = (0..BATCH).map(|_| record(world)).collect();
        let start = Instant::now();
        let mut tx = conn.begin().await?;
        let batch = begin_batch(&mut tx, None, records[0].time, 14).await?;
        copy(&mut tx, &batch, &records).await?;
        tx.commit().await?;
        let store_time = start.elapsed();

        // The very rows, encoded already.
        let rows = copy_out(&mut conn, batch.block).await?;
        let start = Instant::now();
        let mut copy = conn
            .copy_in_raw("COPY raw FROM STDIN (FORMAT binary)")
            .await?;
        for chunk in rows.chunks(128 * 1024) {
            copy.send(chunk).await?;
        }
        copy.finish().await?;
        // The first round is for warming up.
        if round > 0 {
            stored += store_time;
            raw += start.elapsed();
        }
    }
    let rate = |time: Duration| (ROUNDS * BATCH) as f64 / time.as_secs_f64();
    println!(
        "log records: {:.0}/s stored, {:.0}/s by plain COPY, ratio {:.2}",
        rate(stored),
        rate(raw),
        rate(stored) / rate(raw)
    );
    Ok(())
}

async fn copy_out(conn: &mut PgConnection, block: i64) -> Result<Vec<u8>, sqlx::Error> {
    use futures::TryStreamExt;
    let statement =
        format!("COPY (SELECT * FROM logging.records WHERE id / 8192 = {block}) TO STDOUT BINARY");
    let rows = conn.copy_out_raw(&statement).await?;
    rows.try_fold(Vec::new(), async |mut all, bytes| {
        all.extend_from_slice(&bytes);
        Ok(all)
    })
    .await
}

fn event(world: &World, pos: i64) -> Envelope {
    let user = world.uuid();
    Envelope {
        id: EventId(world.uuid()),
        source: "identity".into(),
        event_type: "identity.session.started.v1".into(),
        subject: user.to_string(),
        time: world.now(),
        pos,
        keyseq: Some(1),
        keyprevpos: None,
        context: EventContext {
            traceparent: format!("00-{}-00f067aa0ba902b7-01", Uuid::simple(world.uuid())),
            correlationid: user.simple().to_string(),
            actor: Some(format!("user:{user}")),
            client: Some(Client {
                address: Some([192, 0, 2, 1].into()),
                user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox".into()),
            }),
            ..EventContext::default()
        },
        data: RawValue::from_string(json!({ "user_id": user, "method": "password" }).to_string())
            .expect("JSON"),
    }
}

async fn audit(pool: &PgPool, world: &World) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let mut appending = Duration::ZERO;
    for first in (1..=AUDIT_ENTRIES).step_by(AUDIT_BATCH as usize) {
        let last = (first + AUDIT_BATCH - 1).min(AUDIT_ENTRIES);
        let events: Vec<_> = (first..=last).map(|pos| event(world, pos)).collect();
        let start = Instant::now();
        let mut tx = conn.begin().await?;
        enter(&mut tx, world, "identity", &events).await?;
        tx.commit().await?;
        appending += start.elapsed();
    }
    drop(conn);
    let rate = |time: Duration| AUDIT_ENTRIES as f64 / time.as_secs_f64();
    println!(
        "audit entries appended: {:.0}/s, {AUDIT_BATCH} at a time",
        rate(appending)
    );
    let start = Instant::now();
    verify_audit(pool).await?;
    println!("audit entries verified: {:.0}/s", rate(start.elapsed()));
    Ok(())
}
