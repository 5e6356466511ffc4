//! What fails, and what does not fail with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bus::{
    Schema,
    parked::{self, Lane, ParkedLane},
};
use futures::FutureExt;
use kernel::{Envelope, HandlerError, Subscription};
use tokio::sync::watch;

use crate::{
    case::{Case, settings},
    instance::Instance,
    language::{
        Numbered, OrderPaid, OrderPlaced, TicketOpened, VisitSeen, desk, orders, panic_quietly,
        visits,
    },
    transport::Transport,
};

const ORDERS: &[&str] = &["shop.order.placed.v1", "shop.order.paid.v1"];

fn lane(subject: &str) -> Lane {
    Lane {
        topic: "shop.order".to_owned(),
        lane: subject.to_owned(),
    }
}

async fn list<T: Transport>(a: &Instance<T>) -> Vec<ParkedLane> {
    let db = a.db("desk");
    a.call(async move {
        let schema = Schema::new("desk").unwrap();
        parked::list(db.pool(), &schema, 100).await.unwrap()
    })
    .await
}

async fn retry<T: Transport>(a: &Instance<T>, subscription: &'static str, lane: Lane) -> bool {
    let db = a.db("desk");
    a.call(async move {
        let mut conn = db.pool().acquire().await.unwrap();
        let schema = Schema::new("desk").unwrap();
        parked::retry(&mut conn, &schema, subscription, &lane)
            .await
            .unwrap()
    })
    .await
}

async fn skip<T: Transport>(a: &Instance<T>, lane: Lane) -> Option<Envelope> {
    let db = a.db("desk");
    a.call(async move {
        let mut tx = db.begin().await.unwrap();
        let schema = Schema::new("desk").unwrap();
        let skipped = parked::skip(&mut tx, &schema, "orders", &lane)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        skipped
    })
    .await
}

/// Three subjects in turn; the second event of one of them is poison.
async fn publish_around_poison<T: Transport>(a: &Instance<T>) {
    for n in 1..=5 {
        a.transact(move |tx| {
            tx.publish(&OrderPlaced::new("good", n));
            tx.publish(&OrderPlaced::new("bad", n));
            tx.publish(&OrderPaid::new("fine", n));
        })
        .await;
    }
}

fn poisoned(tries: &Arc<AtomicUsize>, mended: &Arc<AtomicBool>) -> Subscription {
    let (tries, mended) = (Arc::clone(tries), Arc::clone(mended));
    let record = desk("orders").unless(move |fact| {
        if fact.subject.starts_with("bad") && fact.n == 2 && !mended.load(Ordering::SeqCst) {
            tries.fetch_add(1, Ordering::SeqCst);
            return Err(anyhow::anyhow!("bad luck")
                .context("the handler failed")
                .into());
        }
        Ok(())
    });
    Subscription {
        max_attempts: 4,
        ..orders(record)
    }
}

pub(crate) async fn a_poison_event_parks_its_subject_alone<T: Transport>(case: &Case<T>) {
    let (tries, mended) = (Arc::default(), Arc::default());
    let a = case.run(vec![poisoned(&tries, &mended)]).await;
    publish_around_poison(&a).await;
    case.settled().await;
    for subject in ["good", "fine"] {
        assert_eq!(case.numbers("orders", subject).await, [1, 2, 3, 4, 5]);
    }
    assert_eq!(case.numbers("orders", "bad").await, [1]);
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    let lanes = list(&a).await;
    assert_eq!(lanes.len(), 1);
    assert_eq!((&*lanes[0].lane, &*lanes[0].status), ("bad", "parked"));
    assert_eq!((lanes[0].attempts, lanes[0].waiting), (4, 3));
    assert_eq!(
        lanes[0].error.as_deref(),
        Some("the handler failed: bad luck")
    );

    // What comes later waits behind it; trying again in vain changes nothing.
    a.publish([OrderPaid::new("bad", 6), OrderPaid::new("good", 6)])
        .await;
    assert!(retry(&a, "orders", lane("bad")).await);
    case.settled().await;
    assert_eq!(tries.load(Ordering::SeqCst), 8);
    assert_eq!(case.numbers("orders", "bad").await, [1]);

    mended.store(true, Ordering::SeqCst);
    assert!(retry(&a, "orders", lane("bad")).await);
    case.eventually_counts(0, "SELECT count(*) FROM desk.parked")
        .await;
    a.publish([OrderPlaced::new("bad", 7)]).await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "bad").await, [1, 2, 3, 4, 5, 6, 7]);
    case.assert_once("orders", ORDERS).await;
    assert!(!retry(&a, "orders", lane("bad")).await);
    a.stop().await;
}

pub(crate) async fn a_parked_event_can_be_skipped<T: Transport>(case: &Case<T>) {
    let (tries, mended) = (Arc::default(), Arc::default());
    let a = case.run(vec![poisoned(&tries, &mended)]).await;
    publish_around_poison(&a).await;
    case.settled().await;
    let skipped = skip(&a, lane("bad")).await.expect("it is parked");
    assert_eq!((&*skipped.subject, skipped.keyseq), ("bad", Some(2)));
    case.eventually_counts(0, "SELECT count(*) FROM desk.parked")
        .await;
    a.publish([OrderPlaced::new("bad", 6)]).await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "bad").await, [1, 3, 4, 5, 6]);
    assert!(skip(&a, lane("bad")).await.is_none());
    // Nothing waits behind this one, and it comes first of its subject.
    a.publish([OrderPlaced::new("bad too", 2)]).await;
    case.settled().await;
    assert!(skip(&a, lane("bad too")).await.is_some());
    // They count as handled from now on.
    mended.store(true, Ordering::SeqCst);
    case.execute("UPDATE desk.subscriptions SET pos = 0").await;
    case.settled().await;
    a.publish([OrderPlaced::new("bad too", 3)]).await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "bad").await, [1, 3, 4, 5, 6]);
    assert_eq!(case.numbers("orders", "bad too").await, [3]);
    a.stop().await;
}

pub(crate) async fn an_event_without_order_fails_alone<T: Transport>(case: &Case<T>) {
    let mended = Arc::new(AtomicBool::new(false));
    let record = desk("visits").unless({
        let mended = Arc::clone(&mended);
        move |fact| match fact.n % 5 == 0 && !mended.load(Ordering::SeqCst) {
            true => Err(HandlerError::Park("to be looked at".to_owned())),
            false => Ok(()),
        }
    });
    let a = case.run(vec![visits(record)]).await;
    // One subject: it is no lane for events without order.
    a.publish((1..=20).map(|n| VisitSeen::new("somebody", n)))
        .await;
    case.settled().await;
    assert_eq!(case.effects("visits").await.len(), 16);
    let lanes = list(&a).await;
    assert_eq!(lanes.len(), 4);
    mended.store(true, Ordering::SeqCst);
    for parked in lanes {
        assert_eq!(parked.lane, parked.event_id);
        assert!(
            retry(
                &a,
                "visits",
                Lane {
                    topic: parked.topic,
                    lane: parked.lane
                }
            )
            .await
        );
    }
    case.eventually_counts(0, "SELECT count(*) FROM desk.parked")
        .await;
    case.settled().await;
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    a.stop().await;
}

pub(crate) async fn a_panic_or_a_hang_fails_that_delivery_alone<T: Transport>(case: &Case<T>) {
    let record = desk("orders").then(|tx, fact| {
        let (subject, n) = (fact.subject.clone(), fact.n);
        async move {
            match (&*subject, n) {
                ("panics", 2) => panic_quietly("out of its mind"),
                ("hangs", 2) => std::future::pending().await,
                // In the server: giving up waiting here does not end it there.
                ("locks", 2) => {
                    sqlx::query("SELECT pg_sleep(3600)")
                        .execute(&mut **tx)
                        .await?;
                }
                _ => {}
            }
            Ok(())
        }
        .boxed()
    });
    let short = bus::Settings {
        handler_timeout: Duration::from_millis(400),
        ..settings()
    };
    let subscription = Subscription {
        max_attempts: 2,
        ..orders(record)
    };
    let a = case.run_with(short, vec![subscription]).await;
    for n in 1..=3 {
        a.transact(move |tx| {
            for subject in ["hangs", "first", "panics", "second", "locks", "third"] {
                tx.publish(&OrderPlaced::new(subject, n));
            }
        })
        .await;
    }
    case.settled().await;
    for subject in ["first", "second", "third"] {
        assert_eq!(case.numbers("orders", subject).await, [1, 2, 3]);
    }
    let errors = [
        ("panics", "out of its mind"),
        ("hangs", "took longer"),
        ("locks", ""),
    ];
    let lanes = list(&a).await;
    assert_eq!(lanes.len(), 3);
    for (subject, error) in errors {
        assert_eq!(case.numbers("orders", subject).await, [1]);
        let lane = lanes
            .iter()
            .find(|l| l.lane == subject)
            .expect("it is parked");
        assert_eq!(
            (&*lane.status, lane.attempts, lane.waiting),
            ("parked", 2, 1)
        );
        assert!(
            lane.error.as_deref().is_some_and(|e| e.contains(error)),
            "{:?}",
            lane.error
        );
    }
    a.stop().await;
}

pub(crate) async fn a_handler_that_breaks_its_transaction_fails_alone<T: Transport>(
    case: &Case<T>,
) {
    let record = desk("orders").then(|tx, fact| {
        let (subject, n) = (fact.subject.clone(), fact.n);
        async move {
            match (&*subject, n) {
                // A broken statement whose error nobody looks at: what follows in the same
                // transaction fails, here or when it is to commit.
                ("swallows", 2) => {
                    let _ = sqlx::query("SELECT 1 / 0").execute(&mut **tx).await;
                }
                // Refused when the transaction commits.
                ("floods", 2) => {
                    tx.publish(&TicketOpened::padded("big", 1, 300_000));
                }
                _ => {}
            }
            Ok(())
        }
        .boxed()
    });
    let a = case
        .run(vec![Subscription {
            max_attempts: 2,
            ..orders(record)
        }])
        .await;
    for n in 1..=3 {
        a.transact(move |tx| {
            for subject in ["first", "swallows", "second", "floods", "third"] {
                tx.publish(&OrderPlaced::new(subject, n));
            }
        })
        .await;
    }
    case.settled().await;
    for subject in ["first", "second", "third"] {
        assert_eq!(case.numbers("orders", subject).await, [1, 2, 3]);
    }
    for subject in ["swallows", "floods"] {
        assert_eq!(case.numbers("orders", subject).await, [1]);
    }
    let mut lanes: Vec<_> = list(&a)
        .await
        .into_iter()
        .map(|l| (l.lane, l.status))
        .collect();
    lanes.sort();
    let parked = |subject: &str| (subject.to_owned(), "parked".to_owned());
    assert_eq!(lanes, [parked("floods"), parked("swallows")]);
    a.stop().await;
}

/// Handles a payment when its order is known.
fn pairing() -> Subscription {
    let record = desk("orders").then(|tx, fact| {
        let (event_type, n) = (fact.event_type, fact.n);
        async move {
            if event_type != "shop.order.paid.v1" {
                return Ok(());
            }
            let placed: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM desk.effects WHERE type = 'shop.order.placed.v1' AND n = $1",
            )
            .bind(n)
            .fetch_one(&mut **tx)
            .await?;
            if placed > 0 {
                Ok(())
            } else {
                Err(HandlerError::Defer("the order"))
            }
        }
        .boxed()
    });
    // Waiting is no failure.
    Subscription {
        max_attempts: 1,
        ..orders(record)
    }
}

pub(crate) async fn two_halves_meet_in_any_order<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![pairing()]).await;
    for n in 1..=10 {
        let placed = OrderPlaced::new(&format!("order {n}"), n);
        let paid = OrderPaid::new(&format!("account {}", n % 3), n);
        if n % 2 == 0 {
            a.publish([placed]).await;
            a.publish([paid]).await;
        } else {
            a.publish([paid]).await;
            // It has been tried before the other half is there.
            let tried = "SELECT count(*) FROM desk.parked WHERE deferrals > 1";
            case.eventually_counts(1, tried).await;
            a.publish([placed]).await;
            case.settled().await;
        }
    }
    case.settled().await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    case.assert_once("orders", ORDERS).await;
    a.stop().await;
}

pub(crate) async fn a_half_that_never_comes_parks<T: Transport>(case: &Case<T>) {
    let impatient = bus::Settings {
        defer_max: Duration::from_millis(100),
        ..settings()
    };
    let a = case.run_with(impatient, vec![pairing()]).await;
    a.publish([OrderPaid::new("account", 1)]).await;
    let parked =
        "SELECT count(*) FROM desk.parked WHERE status = 'parked' AND error LIKE '%the order%'";
    case.eventually_counts(1, parked).await;
    assert_eq!(
        case.count("SELECT attempts::bigint FROM desk.parked").await,
        0
    );
    a.publish([OrderPlaced::new("order", 1)]).await;
    case.settled().await;
    assert!(retry(&a, "orders", lane("account")).await);
    case.eventually_counts(0, "SELECT count(*) FROM desk.parked")
        .await;
    case.assert_once("orders", ORDERS).await;
    a.stop().await;
}

pub(crate) async fn a_slow_subscription_delays_nobody_else<T: Transport>(case: &Case<T>) {
    let gate = watch::Sender::new(false);
    let slow = desk("slow").then({
        let gate = gate.clone();
        move |_, _| {
            let mut open = gate.subscribe();
            async move {
                open.wait_for(|open| *open).await.expect("the gate stays");
                Ok(())
            }
            .boxed()
        }
    });
    let a = case
        .run(vec![
            orders(slow),
            orders(desk("quick")),
            visits(desk("visits")),
        ])
        .await;
    for n in 1..=150 {
        a.publish([OrderPlaced::new(&format!("order {}", n % 10), n)])
            .await;
        a.publish([VisitSeen::new("somebody", n)]).await;
    }
    let handled = "SELECT count(*) FROM desk.effects WHERE subscription IN ('quick', 'visits')";
    case.eventually_counts(300, handled).await;
    assert_eq!(case.effects("slow").await, []);
    gate.send_replace(true);
    case.settled().await;
    case.assert_once("slow", ORDERS).await;
    case.assert_once("quick", ORDERS).await;
    a.stop().await;
}
