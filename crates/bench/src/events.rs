//! From a publisher's commit to a subscriber's: both in one process, and over NATS as if in two.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Place,
    shop::{OrderPlaced, Shop},
    table::{Aim, Table, median, quantile},
};

const ROUNDS: usize = 3;
const STEADY_PER_SECOND: u64 = 1_000;
const STEADY_SECONDS: u64 = 5;
const FLOOD_EVENTS: u64 = 80_000;

/// What one way of the events came to, a figure per round.
#[derive(Default)]
struct Figures {
    p50: Vec<f64>,
    p99: Vec<f64>,
    rate: Vec<f64>,
}

pub async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let shops = [
        Shop::in_process(place, "bench_events").await?,
        Shop::over_nats(place, "bench_events_nats").await?,
    ];
    let desks = [shops[0].open_desk().await?, shops[1].open_desk().await?];
    let mut figures = [Figures::default(), Figures::default()];
    for _ in 0..ROUNDS {
        for (shop, figures) in shops.iter().zip(&mut figures) {
            let millis = steady(shop).await?;
            figures.p50.push(quantile(&millis, 0.5));
            figures.p99.push(quantile(&millis, 0.99));
            figures.rate.push(flood(shop).await?);
        }
    }
    for (way, figures, p99) in [("", &figures[0], 20.0), ("over NATS: ", &figures[1], 35.0)] {
        let what = format!("{way}commit → handled at 1,000/s,");
        table.figure(&format!("{what} p50"), median(&figures.p50), "ms", None);
        let aim = Some(Aim::AtMost(p99));
        table.figure(&format!("{what} p99"), median(&figures.p99), "ms", aim);
        let what = format!("{way}events published, sequenced and handled");
        let aim = Some(Aim::AtLeast(10_000.0));
        table.figure(&what, median(&figures.rate), "/s", aim);
    }
    for desk in desks {
        desk.stop().await?;
    }
    for shop in shops {
        shop.close().await?;
    }
    Ok(())
}

/// Milliseconds from commit to commit, of each event.
async fn steady(shop: &Shop) -> anyhow::Result<Vec<f64>> {
    let arrivals = &shop.arrivals;
    let before = arrivals.count();
    let total = STEADY_PER_SECOND * STEADY_SECONDS;
    let slots = usize::try_from(total)?;
    *arrivals.committed.lock().expect("no holder panics") = vec![None; slots];
    *arrivals.handled.lock().expect("no holder panics") = vec![None; slots];
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / STEADY_PER_SECOND));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut writers = tokio::task::JoinSet::new();
    for nr in 0..total {
        tick.tick().await;
        let (shop, arrivals) = (shop.db.clone(), Arc::clone(arrivals));
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
    arrivals.wait(before + total).await?;
    let committed = arrivals.committed.lock().expect("no holder panics");
    let handled = arrivals.handled.lock().expect("no holder panics");
    let latencies = committed
        .iter()
        .zip(handled.iter())
        .filter_map(|(c, h)| Some(h.as_ref()?.saturating_duration_since(*c.as_ref()?)));
    Ok(latencies.map(|l| l.as_secs_f64() * 1_000.0).collect())
}

/// Events per second, from the first commit to the last.
async fn flood(shop: &Shop) -> anyhow::Result<f64> {
    let before = shop.arrivals.count();
    let started = Instant::now();
    shop.flood(FLOOD_EVENTS).await?;
    shop.arrivals.wait(before + FLOOD_EVENTS).await?;
    Ok(FLOOD_EVENTS as f64 / started.elapsed().as_secs_f64())
}
