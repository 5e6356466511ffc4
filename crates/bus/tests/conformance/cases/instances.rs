//! Several instances on one database, and what becomes of the work of one that dies or sleeps.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::failpoint::{Hold, Point};
use futures::{FutureExt, future::join_all};
use kernel::Subscription;

use super::replays;
use crate::{
    case::{Case, settings},
    instance::Instance,
    language::{Numbered, OrderPaid, OrderPlaced, VisitSeen, desk, orders, visits},
    transport::Transport,
};

const ORDERS: &[&str] = &["shop.order.placed.v1", "shop.order.paid.v1"];
const VISITS: &[&str] = &["shop.visit.seen.v1"];
/// Databases at a time for the cases that try every step: the server has 200 connections.
const AT_ONCE: usize = 3;

async fn publish<T: Transport>(instance: &Instance<T>, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        instance
            .transact(move |tx| {
                tx.publish(&OrderPlaced::new("good", n));
                tx.publish(&OrderPlaced::new("flaky", n));
                tx.publish(&VisitSeen::new("good", n));
                tx.publish(&OrderPaid::new(&format!("other {}", n % 3), n));
            })
            .await;
    }
}

/// Whatever the interruption: everything once, in order, nothing parked.
async fn assert_all_is_well<T: Transport>(case: &Case<T>) {
    case.settled().await;
    case.assert_once("orders", ORDERS).await;
    case.assert_once("visits", VISITS).await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
}

pub(crate) async fn two_instances_do_nothing_twice_and_one_goes_on_alone<T: Transport>(
    case: &Case<T>,
) {
    let subscriptions = || vec![orders(desk("orders")), visits(desk("visits"))];
    let a = case.run(subscriptions()).await;
    let b = case.run(subscriptions()).await;
    tokio::join!(publish(&a, 1..=50), publish(&b, 51..=100));
    case.settled().await;

    // One stops in the midst of it, in good order.
    tokio::join!(publish(&b, 101..=150), a.stop());
    case.settled().await;
    // Another comes, and one is killed.
    let c = case.run(subscriptions()).await;
    tokio::join!(publish(&c, 151..=200), b.kill());
    assert_all_is_well(case).await;

    // One stands still, wherever it is, until the other has taken over; then it goes on.
    let d = case.run(subscriptions()).await;
    for (round, (still, other)) in [(&c, &d), (&d, &c), (&c, &d)].into_iter().enumerate() {
        let first = 201 + 20 * i64::try_from(round).unwrap();
        tokio::join!(publish(other, first..=first + 9), still.freeze());
        assert_all_is_well(case).await;
        still.thaw();
        tokio::join!(
            publish(still, first + 10..=first + 14),
            publish(other, first + 15..=first + 19)
        );
        assert_all_is_well(case).await;
    }
    c.stop().await;
    d.stop().await;

    // Who stops in good order keeps nobody waiting: no lease is held.
    let held = "SELECT count(*) FROM (
        SELECT * FROM shop.leases UNION ALL SELECT * FROM desk.leases) l WHERE holder IS NOT NULL";
    assert_eq!(case.count(held).await, 0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interruption {
    /// The process is gone.
    Kill,
    /// The process stands still until others have done its work.
    Pause,
}

pub(crate) async fn a_process_that_wakes_up_after_its_lease_changes_nothing<T: Transport>(
    case: &Case<T>,
) {
    interrupt_at_every_step(case, Interruption::Pause).await;
}

pub(crate) async fn a_killed_process_loses_nothing_and_repeats_nothing<T: Transport>(
    case: &Case<T>,
) {
    interrupt_at_every_step(case, Interruption::Kill).await;
}

async fn interrupt_at_every_step<T: Transport>(case: &Case<T>, interruption: Interruption) {
    let next = AtomicUsize::new(0);
    let worker = async || {
        let case = case.another().await;
        // It publishes and does no more.
        let shop = case.start(Vec::new()).await;
        while let Some(point) = T::POINTS.get(next.fetch_add(1, Ordering::SeqCst)) {
            let told =
                AssertUnwindSafe(interrupt(&case, &shop, *point, interruption)).catch_unwind();
            if let Err(panic) = told.await {
                eprintln!("{interruption:?} at {point:?}");
                std::panic::resume_unwind(panic);
            }
            case.empty().await;
        }
        shop.stop().await;
        case.close().await;
    };
    join_all((0..AT_ONCE).map(|_| worker())).await;
}

async fn interrupt<T: Transport>(
    case: &Case<T>,
    shop: &Instance<T>,
    point: Point,
    interruption: Interruption,
) {
    // Fails twice, so that there is something to try again.
    let tries = Arc::new(AtomicUsize::new(0));
    let subscriptions = || -> Vec<Subscription> {
        let tries = Arc::clone(&tries);
        let record = desk("orders").unless(move |fact| {
            let fails = fact.subject == "flaky" && fact.n == 3;
            match fails && tries.fetch_add(1, Ordering::SeqCst) < 2 {
                true => Err(anyhow::anyhow!("not yet").into()),
                false => Ok(()),
            }
        });
        let mut all = replays::totals(&Arc::default());
        all.push(Subscription {
            max_attempts: 20,
            ..orders(record)
        });
        all.push(visits(desk("visits")));
        all
    };
    let quick = || bus::Settings {
        lease_ttl: Duration::from_millis(500),
        handler_timeout: Duration::from_millis(700),
        batch: 10,
        ..settings()
    };
    let mut a = case.start_with(quick(), Vec::new(), subscriptions()).await;
    let hold = match interruption {
        Interruption::Kill => Hold::Task,
        Interruption::Pause => Hold::Thread,
    };
    let of_replay = matches!(
        point,
        Point::ReplayAnnounced | Point::ReplayReset | Point::ReplayBegun
    );
    let trap = if of_replay {
        a.run();
        publish(shop, 1..=5).await;
        case.settled().await;
        let trap = a.trap(point, hold);
        replays::begin(shop).await;
        trap
    } else {
        let trap = a.trap(point, hold);
        a.run();
        publish(shop, 1..=5).await;
        trap
    };
    tokio::time::timeout(Duration::from_secs(60), trap.sprung())
        .await
        .unwrap_or_else(|_| panic!("{point:?} is not reached"));

    if interruption == Interruption::Kill {
        a.kill().await;
        let b = case.run_with(quick(), subscriptions()).await;
        publish(shop, 6..=10).await;
        assert_all_is_well(case).await;
        b.stop().await;
    } else {
        let b = case.run_with(quick(), subscriptions()).await;
        publish(shop, 6..=10).await;
        assert_all_is_well(case).await;
        trap.release();
        publish(shop, 11..=15).await;
        assert_all_is_well(case).await;
        // It can work again as well as any other.
        b.stop().await;
        publish(shop, 16..=20).await;
        assert_all_is_well(case).await;
        a.stop().await;
    }
    replays::assert_rebuilt(case).await;
}
