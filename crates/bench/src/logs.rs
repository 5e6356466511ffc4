//! Storing log records and audit entries, as the logging module does it.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use kernel::{
    Envelope, EventId, World,
    event::{Client, EventContext},
    telemetry::LogRecord,
};
use logging::bench_support::{begin_batch, copy, enter, migrations, verify_audit};
use serde_json::{json, value::RawValue};
use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::{
    Place,
    table::{Aim, Table},
};

const DATABASE: &str = "bench_logging";
const ROUNDS: usize = 24;
const BATCH: usize = 5_000;
const AUDIT_BATCH: i64 = 256;
const AUDIT_ENTRIES: i64 = 100_000;

pub async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let secret = b"a role secret for the bench, of no use elsewhere";
    database::prepare(&place.server.admin(), DATABASE, &["logging"], secret).await?;
    let pool = PgPoolOptions::new()
        .connect_with(place.server.database(DATABASE))
        .await?;
    migrations().run(&pool).await?;
    pool.execute("CREATE TABLE raw (LIKE logging.records)")
        .await?;
    let world = World::system();
    records(&pool, &world, table).await?;
    audit(&pool, &world, table).await?;
    pool.close().await;
    Ok(())
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
    let warns = world.below(50) == 0;
    LogRecord {
        time: world.now(),
        level: if warns {
            tracing::Level::WARN
        } else {
            tracing::Level::INFO
        },
        service: service.into(),
        target: service.into(),
        message: format!("request finished {}", hex(&world.bytes::<10>())),
        fields: fields.as_object().cloned().unwrap_or_default(),
        trace_id: Some(hex(&world.bytes::<16>())),
        span_id: Some(hex(&world.bytes::<8>())),
    }
}

async fn records(pool: &PgPool, world: &World, table: &mut Table) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    let rate = |started: Instant| BATCH as f64 / started.elapsed().as_secs_f64();
    for round in 0..=ROUNDS {
        let records: Vec<_> = (0..BATCH).map(|_| record(world)).collect();
        let started = Instant::now();
        let mut tx = conn.begin().await?;
        let batch = begin_batch(&mut tx, None, records[0].time, 14).await?;
        copy(&mut tx, &batch, &records).await?;
        tx.commit().await?;
        let stored = rate(started);

        // The very rows, encoded already.
        let rows = copy_out(&mut conn, batch.block).await?;
        let started = Instant::now();
        let mut copy = conn
            .copy_in_raw("COPY raw FROM STDIN (FORMAT binary)")
            .await?;
        for chunk in rows.chunks(128 * 1024) {
            copy.send(chunk).await?;
        }
        copy.finish().await?;
        // The first round is for warming up.
        if round > 0 {
            ours.push(stored);
            limit.push(rate(started));
        }
    }
    table.ratio(
        "log records stored, of raw COPY",
        "/s",
        &ours,
        &limit,
        Some(0.6),
    );
    Ok(())
}

async fn copy_out(conn: &mut PgConnection, block: i64) -> Result<Vec<u8>, sqlx::Error> {
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
    let data = json!({ "user_id": user, "method": "password" }).to_string();
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
        data: RawValue::from_string(data).expect("JSON"),
    }
}

async fn audit(pool: &PgPool, world: &World, table: &mut Table) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let mut appending = Duration::ZERO;
    for first in (1..=AUDIT_ENTRIES).step_by(usize::try_from(AUDIT_BATCH)?) {
        let last = (first + AUDIT_BATCH - 1).min(AUDIT_ENTRIES);
        let events: Vec<_> = (first..=last).map(|pos| event(world, pos)).collect();
        let started = Instant::now();
        let mut tx = conn.begin().await?;
        enter(&mut tx, world, "identity", &events).await?;
        tx.commit().await?;
        appending += started.elapsed();
    }
    drop(conn);
    let rate = |time: Duration| AUDIT_ENTRIES as f64 / time.as_secs_f64();
    let aim = Some(Aim::AtLeast(10_000.0));
    table.figure("audit entries appended", rate(appending), "/s", aim);
    let started = Instant::now();
    verify_audit(pool).await?;
    let aim = Some(Aim::AtLeast(100_000.0));
    table.figure("audit entries verified", rate(started.elapsed()), "/s", aim);
    Ok(())
}
