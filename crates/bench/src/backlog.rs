//! `bench backlog`: a million events that a subscriber missed, handled over NATS when it comes back.
//! Takes some minutes, and so is no part of a run that names none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Place,
    program::resident_mib,
    shop::Shop,
    table::{Aim, Table},
};

const EVENTS: u64 = 1_000_000;
/// Handled before the subscriber goes away.
const KNOWN: u64 = 800;
/// What holds a backlog in memory would grow with it: a million of these events are some 500 MiB.
const MOST_MIB: f64 = 64.0;
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

pub async fn measure(place: &Place, table: &mut Table) -> anyhow::Result<()> {
    let shop = Shop::over_nats(place, "bench_backlog").await?;
    // The publisher knows its subscriber, which then is away.
    let desk = shop.open_desk().await?;
    shop.flood(KNOWN).await?;
    shop.arrivals.wait(KNOWN).await?;
    desk.stop().await?;
    shop.flood(EVENTS).await?;

    let own = std::process::id();
    let at_start = resident_mib(own)?;
    let started = Instant::now();
    let desk = shop.open_desk().await?;
    let mut peak = at_start;
    let arrivals = Arc::clone(&shop.arrivals);
    let handled = tokio::spawn(async move { arrivals.wait(KNOWN + EVENTS).await });
    while !handled.is_finished() {
        tokio::time::sleep(SAMPLE_EVERY).await;
        peak = peak.max(resident_mib(own)?);
    }
    handled.await??;
    let rate = EVENTS as f64 / started.elapsed().as_secs_f64();
    let what = "over NATS: a backlog of a million,";
    table.figure(
        &format!("{what} handled"),
        rate,
        "/s",
        Some(Aim::AtLeast(10_000.0)),
    );
    table.figure(
        &format!("{what} memory at its start"),
        at_start,
        "MiB",
        None,
    );
    let aim = Some(Aim::AtMost(MOST_MIB));
    table.figure(
        &format!("{what} more at its peak"),
        peak - at_start,
        "MiB",
        aim,
    );
    desk.stop().await?;
    shop.close().await
}
