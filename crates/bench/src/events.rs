//! From a publisher's commit to a subscriber's.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bus::{Bus, Settings};
use kernel::{Db, Event, Handle, HandlerError, Received, Subscription, Tx, World};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    Place,
    table::{Aim, Table, quantile},
};

const DATABASE: &str = "bench_events";
const SECRET: &[u8] = b"a role secret for the bench, of no use elsewhere";
/// Entities that events are about.
const SUBJECTS: u64 = 1_000;
const STEADY_PER_SECOND: u64 = 1_000;
const STEADY_SECONDS: u64 = 10;
const FLOOD_EVENTS: u64 = 150_000;
const FLOOD_WRITERS: u64 = 4;
const FLOOD_PER_TRANSACTION: u64 = 20;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct OrderPlaced {
    nr: u64,
}

impl Event for OrderPlaced {
    const TYPE: &'static str = "shop.order.placed.v1";
    const SUMMARY: &'static str = "An order was placed.";
    fn subject(&self) -> String {
        (self.nr % SUBJECTS).to_string()
    }
}

#[derive(Default)]
struct Arrivals {
    committed: Mutex<Vec<Option<Instant>>>,
    handled: Mutex<Vec<Option<Instant>>>,
    count: AtomicU64,
    arrived: Notify,
}

/// Writes a row for each event, and notes when that was committed.
struct Note(Arc<Arrivals>);

#[async_trait]
impl Handle<OrderPlaced> for Note {
    async fn handle(&self, tx: &mut Tx, event: Received<OrderPlaced>) -> Result<(), HandlerError> {
        sqlx::query("INSERT INTO desk.orders (nr) VALUES ($1)")
            .bind(i64::try_from(event.data.nr).expect("small"))
            .execute(&mut **tx)
            .await?;
        let arrivals = Arc::clone(&self.0);
        tx.after_commit(move || {
            let now = Instant::now();
            let mut handled = arrivals.handled.lock().expect("no holder panics");
            if let Some(slot) = handled.get_mut(usize::try_from(event.data.nr).expect("small")) {
                *slot = Some(now);
            }
            drop(handled);
            arrivals.count.fetch_add(1, Ordering::Relaxed);
            arrivals.arrived.notify_one();
        });
        Ok(())
    }
}

pub async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    database::prepare(&place.server.admin(), DATABASE, &["shop", "desk"], SECRET).await?;
    let sign_in = |role: String| -> PgConnectOptions {
        let password = database::role_password(SECRET, &role);
        place
            .server
            .database(DATABASE)
            .username(&role)
            .password(&password)
    };
    let nothing = sqlx::migrate::Migrator::with_migrations(Vec::new());
    for module in ["shop", "desk"] {
        database::migrate(&sign_in(database::owner_role(module)), module, &nothing).await?;
    }
    let mut owner = sign_in(database::owner_role("desk")).connect().await?;
    sqlx::query("CREATE TABLE desk.orders (nr bigint NOT NULL)")
        .execute(&mut owner)
        .await?;
    owner.close().await?;

    let world = World::system();
    let bus = Bus::new(world.uuid(), Settings::default(), None);
    let db = |module: &str| {
        let options = sign_in(database::runtime_role(module));
        let pool = |size| database::pool_options(size).connect_lazy_with(options.clone());
        Db::new(
            module,
            pool(10),
            pool(5),
            Arc::clone(&bus) as _,
            world.clone(),
        )
    };
    let (shop, desk) = (db("shop"), db("desk"));
    let arrivals = Arc::new(Arrivals::default());
    let subscription =
        Subscription::new("orders", "shop").on::<OrderPlaced>(Note(Arc::clone(&arrivals)));
    let stop = CancellationToken::new();
    let mut running = Vec::new();
    for (db, subscriptions) in [(&shop, vec![]), (&desk, vec![subscription])] {
        let attached = bus.attach(db.clone(), subscriptions, vec![]).await?;
        let (bus, stop) = (Arc::clone(&bus), stop.clone());
        running.push(tokio::spawn(async move { bus.run(attached, stop).await }));
    }

    steady(&shop, &arrivals, table).await?;
    flood(&shop, &arrivals, table).await?;
    stop.cancel();
    for task in running {
        task.await??;
    }
    Ok(())
}

async fn steady(shop: &Db, arrivals: &Arc<Arrivals>, table: &mut Table) -> anyhow::Result<()> {
    let total = STEADY_PER_SECOND * STEADY_SECONDS;
    let slots = usize::try_from(total)?;
    *arrivals.committed.lock().expect("no holder panics") = vec![None; slots];
    *arrivals.handled.lock().expect("no holder panics") = vec![None; slots];
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / STEADY_PER_SECOND));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut writers = tokio::task::JoinSet::new();
    for nr in 0..total {
        tick.tick().await;
        let (shop, arrivals) = (shop.clone(), Arc::clone(arrivals));
        writers.spawn(async move {
            let mut tx = shop.begin().await?;
            tx.publish(&OrderPlaced { nr });
            tx.commit().await?;
            let mut committed = arrivals.committed.lock().expect("no holder panics");
            committed[usize::try_from(nr).expect("small")] = Some(Instant::now());
            Ok::<_, sqlx::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    wait(arrivals, total).await?;
    let committed = arrivals.committed.lock().expect("no holder panics");
    let handled = arrivals.handled.lock().expect("no holder panics");
    let millis: Vec<f64> = committed
        .iter()
        .zip(handled.iter())
        .filter_map(|(c, h)| Some(h.as_ref()?.saturating_duration_since(*c.as_ref()?)))
        .map(|latency| latency.as_secs_f64() * 1_000.0)
        .collect();
    let what = "commit → handled at 1,000/s,";
    table.figure(&format!("{what} p50"), quantile(&millis, 0.5), "ms", None);
    table.figure(
        &format!("{what} p99"),
        quantile(&millis, 0.99),
        "ms",
        Some(Aim::AtMost(20.0)),
    );
    Ok(())
}

async fn flood(shop: &Db, arrivals: &Arc<Arrivals>, table: &mut Table) -> anyhow::Result<()> {
    let before = arrivals.count.load(Ordering::Relaxed);
    let started = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..FLOOD_WRITERS {
        let shop = shop.clone();
        writers.spawn(async move {
            let share = FLOOD_EVENTS / FLOOD_WRITERS;
            for batch in 0..share / FLOOD_PER_TRANSACTION {
                let mut tx = shop.begin().await?;
                for n in 0..FLOOD_PER_TRANSACTION {
                    let nr = 1_000_000 + writer * share + batch * FLOOD_PER_TRANSACTION + n;
                    tx.publish(&OrderPlaced { nr });
                }
                tx.commit().await?;
            }
            Ok::<_, sqlx::Error>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    wait(arrivals, before + FLOOD_EVENTS).await?;
    let rate = FLOOD_EVENTS as f64 / started.elapsed().as_secs_f64();
    let what = "events published, sequenced and handled";
    table.figure(what, rate, "/s", Some(Aim::AtLeast(10_000.0)));
    Ok(())
}

async fn wait(arrivals: &Arrivals, total: u64) -> anyhow::Result<()> {
    let all = async {
        while arrivals.count.load(Ordering::Relaxed) < total {
            arrivals.arrived.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await?;
    Ok(())
}
