//! Order per subject, whatever the writers do.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kernel::{Event, RequestContext, World, db::Outgoing};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestRunner},
};
use serde_json::value::to_raw_value;

use crate::{
    case::Case,
    cluster::connect,
    language::{
        ItemCounted, Numbered, OrderPaid, OrderPlaced, VisitSeen, desk, orders, panic_quietly,
        visits, whole,
    },
    transport::Transport,
};

const WRITERS: u32 = 24;
const TRANSACTIONS: u32 = 200;

pub(crate) async fn many_writers_keep_the_order_of_each_subject<T: Transport>(case: &Case<T>) {
    let a = case
        .run(vec![orders(desk("orders")), visits(desk("visits"))])
        .await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let db = a.db("shop");
        writers.push(a.spawn(async move {
            let world = World::system();
            for nr in 0..TRANSACTIONS {
                let mut tx = db.begin().await.unwrap();
                for _ in 0..1 + world.below(9) {
                    // A few subjects are hot; most writers meet somewhere.
                    let subject = match world.below(4) {
                        0 => "hot".to_owned(),
                        1 => format!("warm {}", world.below(10)),
                        _ => format!("cold {}", world.below(500)),
                    };
                    let n = i64::from(writer * TRANSACTIONS + nr);
                    match world.below(5) {
                        0 => tx.publish(&VisitSeen::new(&subject, n)),
                        1 | 2 => tx.publish(&OrderPaid::new(&subject, n)),
                        _ => tx.publish(&OrderPlaced::new(&subject, n)),
                    };
                }
                // Transactions are open for longer and shorter.
                match world.below(3) {
                    0 => tokio::time::sleep(Duration::from_micros(world.below(3_000).into())).await,
                    1 => tokio::task::yield_now().await,
                    _ => {}
                }
                match world.below(20) {
                    0 => tx.rollback().await.unwrap(),
                    _ => tx.commit().await.unwrap(),
                }
            }
        }));
    }
    // The log is partitioned anew meanwhile.
    let mut admin = connect(&case.database.admin()).await;
    let rolling = a.spawn(async move {
        loop {
            // It may be too busy to get the lock in time.
            let _ = sqlx::query("SELECT shop.roll_log('0')")
                .execute(&mut admin)
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    for writer in writers {
        writer.await.unwrap();
    }
    rolling.abort();
    assert!(case.count("SELECT count(*) FROM shop.log_partitions").await > 2);
    case.settled().await;
    let published = case.count("SELECT pos FROM shop.head").await;
    assert!(published >= 20_000, "{published}");
    assert_eq!(case.count("SELECT count(*) FROM shop.log").await, published);
    case.assert_once("orders", &["shop.order.placed.v1", "shop.order.paid.v1"])
        .await;
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    a.stop().await;
}

/// What one transaction of the property does: which subjects it publishes about, how often it
/// lets others go first, and whether it commits.
type Script = (Vec<(u8, bool)>, u8, u8, bool);

pub(crate) async fn numbers_are_dense_however_transactions_interleave<T: Transport>(
    case: &Case<T>,
) {
    let a = case.start(Vec::new()).await;
    let events = proptest::collection::vec((0..3_u8, proptest::bool::weighted(0.8)), 1..6);
    let transaction = (events, 0..4_u8, 0..4_u8, proptest::bool::weighted(0.8));
    let scripts = proptest::collection::vec(transaction, 1..10);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    for _ in 0..40 {
        let scripts = scripts.new_tree(&mut runner).expect("a value").current();
        case.execute("TRUNCATE shop.outbox, shop.event_keys").await;
        let committed = interleave(&a, &scripts).await;

        let ordered = |nr: usize| scripts[nr].0.iter().filter(|(_, ordered)| *ordered).count();
        let expected: usize = committed.iter().map(|nr| ordered(*nr)).sum();
        let numbered = case.count("SELECT count(keyseq) FROM shop.outbox").await;
        assert_eq!(usize::try_from(numbered).unwrap(), expected, "{scripts:?}");
        // Dense, in the order of `seq`, and in each transaction in the order of publishing.
        let broken = "
            SELECT count(*) FROM (
                SELECT keyseq, row_number() OVER (PARTITION BY topic, subject ORDER BY seq) AS nth,
                       (data->>'n')::int AS n,
                       lag((data->>'n')::int) OVER (PARTITION BY topic, subject ORDER BY seq) AS before
                  FROM shop.outbox WHERE keyseq IS NOT NULL) AS numbers
             WHERE keyseq <> nth OR (n / 100 = before / 100 AND n <= before)";
        assert_eq!(case.count(broken).await, 0, "{scripts:?}");
        let keys = "
            SELECT count(*) FROM shop.event_keys k
             WHERE last_keyseq <> (SELECT count(*) FROM shop.outbox o
                                    WHERE o.topic = k.topic AND o.subject = k.subject
                                      AND keyseq IS NOT NULL)";
        assert_eq!(case.count(keys).await, 0, "{scripts:?}");
    }
    a.stop().await;
}

/// Runs the scripts at the same time; gives those that committed.
async fn interleave<T: Transport>(
    a: &crate::instance::Instance<T>,
    scripts: &[Script],
) -> Vec<usize> {
    let mut running = Vec::new();
    for (nr, (events, before, between, commits)) in scripts.iter().cloned().enumerate() {
        let (db, bus) = (a.db("shop"), a.bus());
        running.push(a.spawn(async move {
            let world = World::system();
            let outgoing: Vec<_> = events
                .iter()
                .enumerate()
                .map(|(nth, (subject, ordered))| {
                    let n = i64::try_from(nr * 100 + nth).unwrap();
                    let event = ItemCounted::new(&format!("item {subject}"), n);
                    Outgoing {
                        id: world.uuid().into(),
                        event_type: ItemCounted::TYPE,
                        subject: event.subject(),
                        ordered: *ordered,
                        time: world.now(),
                        context: RequestContext::root(&world).for_event(),
                        data: to_raw_value(&event).unwrap(),
                    }
                })
                .collect();
            let mut tx = db.pool().begin().await.unwrap();
            for _ in 0..before {
                sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap();
            }
            bus.write_outbox(&mut tx, "shop", &outgoing).await.unwrap();
            for _ in 0..between {
                sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap();
            }
            if commits {
                tx.commit().await.unwrap();
            } else {
                tx.rollback().await.unwrap();
            }
            commits.then_some(nr)
        }));
    }
    let mut committed = Vec::new();
    for script in running {
        committed.extend(script.await.unwrap());
    }
    committed
}

pub(crate) async fn a_whole_log_comes_in_the_order_of_its_positions<T: Transport>(case: &Case<T>) {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let whole = whole("whole", {
        let broken = Arc::clone(&broken);
        move |tx, events| {
            let rows: Vec<_> = events
                .iter()
                .map(|e| (e.id, e.event_type.clone(), e.subject.clone(), e.pos))
                .collect();
            let broken = broken.load(std::sync::atomic::Ordering::SeqCst);
            async move {
                for (id, event_type, subject, pos) in rows {
                    sqlx::query(
                        "INSERT INTO desk.effects (subscription, id, type, subject, n, pos, replay, context)
                         VALUES ('whole', $1, $2, $3, $4, $4, false, '{}')",
                    )
                    .bind(id)
                    .bind(event_type)
                    .bind(&subject)
                    .bind(pos)
                    .execute(&mut **tx)
                    .await?;
                    if broken && subject == "poison" {
                        panic_quietly("a poison event");
                    }
                }
                Ok(())
            }
            .boxed()
        }
    });
    let quick = bus::Settings {
        batch: 10,
        ..crate::case::settings()
    };
    let a = case.run_with(quick, vec![whole]).await;
    for n in 1..=50 {
        a.transact(move |tx| {
            tx.publish(&OrderPlaced::new(&format!("order {}", n % 7), n));
            tx.publish(&VisitSeen::new("somebody", n));
            tx.publish(&ItemCounted::new(
                if n == 25 { "poison" } else { "item" },
                n,
            ));
        })
        .await;
    }
    // Held back at the poison event, and said so.
    let stuck = "SELECT count(*) FROM desk.subscriptions WHERE error LIKE '%a poison event%'";
    case.eventually_counts(1, stuck).await;
    case.eventually_counts(150, "SELECT count(*) FROM shop.log")
        .await;
    let poison = case
        .count("SELECT pos FROM shop.log WHERE subject = 'poison'")
        .await;
    let handled = case.effects("whole").await.len();
    assert!(i64::try_from(handled).unwrap() < poison);
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);

    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    case.settled().await;
    let positions: Vec<_> = case
        .effects("whole")
        .await
        .into_iter()
        .map(|(_, pos)| pos)
        .collect();
    assert_eq!(positions, (1..=150).collect::<Vec<_>>());
    assert_eq!(
        case.count("SELECT count(*) FROM desk.subscriptions WHERE error IS NOT NULL")
            .await,
        0
    );
    a.stop().await;
}
