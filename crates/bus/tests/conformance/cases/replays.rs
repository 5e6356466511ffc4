//! Rebuilding read models from the log.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{
    Schema,
    failpoint::{Hold, Point},
    parked, replay,
};
use kernel::Subscription;

use crate::{
    case::Case,
    instance::Instance,
    language::{Numbered, OrderPaid, OrderPlaced, Total, VisitSeen},
    transport::Transport,
};

type Failing = Arc<Mutex<Option<(&'static str, i64)>>>;

/// Two subscriptions that share a read model.
pub(crate) fn totals(failing: &Failing) -> Vec<Subscription> {
    let failing = Arc::clone(failing);
    let total = Total(move |subject: &str, n| {
        failing
            .lock()
            .unwrap()
            .is_some_and(|(s, at)| s == subject && at == n)
    });
    let orders = Subscription::new("orders_total", "shop")
        .on::<OrderPlaced>(total.clone())
        .on::<OrderPaid>(total.clone())
        .read_model(&["desk.totals"]);
    let visits = Subscription::new("visits_total", "shop")
        .on::<VisitSeen>(total)
        .read_model(&["desk.totals"]);
    // The two meet in the same rows and may deadlock: one of them is tried again.
    let tried = |subscription| Subscription {
        max_attempts: 6,
        ..subscription
    };
    vec![tried(orders), tried(visits)]
}

/// Empties the read models and has the log fed again.
pub(crate) async fn begin<T: Transport>(a: &Instance<T>) {
    let db = a.db("desk");
    a.call(async move {
        let all = totals(&Failing::default());
        let mut tx = db.begin().await.unwrap();
        let schema = Schema::new("desk").unwrap();
        let subscriptions: Vec<_> = all.iter().collect();
        let mut begun = replay::begin(&mut tx, &schema, &subscriptions)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        begun.sort();
        assert_eq!(begun, ["orders_total", "visits_total"]);
    })
    .await;
}

async fn is_over<T: Transport>(a: &Instance<T>) -> bool {
    let db = a.db("desk");
    a.call(async move {
        let schema = Schema::new("desk").unwrap();
        let mut conn = db.pool().acquire().await.unwrap();
        let over = replay::is_over(&mut conn, &schema).await.unwrap();
        let remaining = replay::remaining(&mut conn, &schema).await.unwrap();
        over && remaining == 0
    })
    .await
}

async fn publish<T: Transport>(a: &Instance<T>, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        a.transact(move |tx| {
            for subject in ["good", "bad", "other"] {
                tx.publish(&OrderPlaced::new(subject, n));
                tx.publish(&VisitSeen::new(subject, 100 * n));
            }
        })
        .await;
    }
}

/// The read model says what the log says.
pub(crate) async fn assert_rebuilt<T: Transport>(case: &Case<T>) {
    let differing = "
        SELECT count(*) FROM desk.totals t FULL JOIN (
            SELECT subject, count(*) AS events, sum((data->>'n')::bigint)::bigint AS amount
              FROM shop.log
             WHERE topic IN ('shop.order', 'shop.visit') GROUP BY subject) l USING (subject)
         WHERE (t.events, t.amount) IS DISTINCT FROM (l.events, l.amount)";
    assert_eq!(case.count(differing).await, 0);
}

/// Each event was answered with one ticket, however often it was handled.
async fn assert_published_once<T: Transport>(case: &Case<T>) {
    let differing = "
        SELECT count(*) FROM (
            SELECT subject, (data->>'n')::bigint AS n, count(*) FROM desk.log GROUP BY 1, 2) t
          FULL JOIN (
            SELECT subject, (data->>'n')::bigint AS n, count(*) FROM shop.log GROUP BY 1, 2) l
         USING (subject, n)
         WHERE t.count IS DISTINCT FROM l.count";
    assert_eq!(case.count(differing).await, 0);
}

pub(crate) async fn a_replay_rebuilds_what_it_emptied<T: Transport>(case: &Case<T>) {
    let a = case.run(totals(&Failing::default())).await;
    publish(&a, 1..=40).await;
    case.settled().await;
    assert_rebuilt(case).await;
    case.execute(
        "UPDATE desk.totals SET amount = amount + 1 WHERE subject = 'good';
         DELETE FROM desk.totals WHERE subject = 'other';
         INSERT INTO desk.totals VALUES ('odd', 1, 1)",
    )
    .await;

    // Others publish meanwhile.
    let stop = Arc::new(AtomicBool::new(false));
    let live = {
        let (db, stop) = (a.db("shop"), Arc::clone(&stop));
        a.spawn(async move {
            let mut n = 1_000;
            while !stop.load(Ordering::SeqCst) {
                let mut tx = db.begin().await.unwrap();
                tx.publish(&OrderPlaced::new("good", n));
                tx.publish(&OrderPaid::new("live", n));
                tx.publish(&VisitSeen::new("bad", n));
                tx.commit().await.unwrap();
                n += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    for _ in 0..3 {
        begin(&a).await;
        case.eventually("the replay is over", async || is_over(&a).await)
            .await;
    }
    stop.store(true, Ordering::SeqCst);
    live.await.unwrap();
    case.settled().await;
    assert_rebuilt(case).await;
    assert_published_once(case).await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    case.assert_log_is_sound().await;

    // What is to be fed again is not dropped meanwhile.
    let trim = "SELECT shop.trim_log('0')::bigint";
    case.execute("SELECT shop.roll_log('0')").await;
    let passed = "
        SELECT count(*) FROM shop.cursors JOIN shop.head USING (pos)
         WHERE subscription IN ('desk.orders_total', 'desk.visits_total')";
    case.eventually_counts(2, passed).await;
    let announced = a.trap(Point::ReplayAnnounced, Hold::Task);
    let before = "SELECT count(*) FROM shop.log";
    let events = case.count(before).await;
    begin(&a).await;
    announced.sprung().await;
    assert_eq!(case.count(trim).await, 0);
    announced.release();
    case.settled().await;
    assert_rebuilt(case).await;
    assert_eq!(case.count(before).await, events);
    // Afterwards it may go, and a replay does with what is left.
    case.eventually_counts(1, trim).await;
    publish(&a, 41..=42).await;
    case.settled().await;
    begin(&a).await;
    case.eventually("the replay is over", async || is_over(&a).await)
        .await;
    case.settled().await;
    assert_rebuilt(case).await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    a.stop().await;
}

async fn retry<T: Transport>(a: &Instance<T>, subject: &'static str) {
    let db = a.db("desk");
    a.call(async move {
        let lane = parked::Lane {
            topic: "shop.order".to_owned(),
            lane: subject.to_owned(),
        };
        let schema = Schema::new("desk").unwrap();
        let mut conn = db.pool().acquire().await.unwrap();
        assert!(
            parked::retry(&mut conn, &schema, "orders_total", &lane)
                .await
                .unwrap()
        );
    })
    .await;
}

pub(crate) async fn a_failure_in_a_replay_is_tried_again<T: Transport>(case: &Case<T>) {
    let failing = Failing::default();
    *failing.lock().unwrap() = Some(("bad", 5));
    let a = case.run(totals(&failing)).await;
    publish(&a, 1..=10).await;
    case.settled().await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 6);

    // What had failed is fed again as well; now another fails that had not.
    *failing.lock().unwrap() = Some(("good", 3));
    begin(&a).await;
    case.eventually("the replay is over", async || is_over(&a).await)
        .await;
    case.settled().await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 8);
    publish(&a, 11..=12).await;
    case.settled().await;
    let tickets = case.count("SELECT count(*) FROM desk.log").await;

    *failing.lock().unwrap() = None;
    retry(&a, "good").await;
    case.eventually_counts(0, "SELECT count(*) FROM desk.parked")
        .await;
    case.settled().await;
    assert_rebuilt(case).await;
    // The two that are new, and nothing for those that were fed again.
    assert_eq!(
        case.count("SELECT count(*) FROM desk.log").await,
        tickets + 2
    );
    a.stop().await;
}

pub(crate) async fn a_replay_may_begin_again_before_it_ends<T: Transport>(case: &Case<T>) {
    let small = bus::Settings {
        batch: 5,
        ..crate::case::settings()
    };
    let a = case.run_with(small, totals(&Failing::default())).await;
    publish(&a, 1..=60).await;
    case.settled().await;
    for share in 1..=4 {
        begin(&a).await;
        // It has come some way, or had to wait for its turn.
        let under_way = format!(
            "SELECT count(*) FROM desk.subscriptions
              WHERE name = 'orders_total' AND state = 'running' AND pos >= {}",
            share * 30
        );
        case.eventually_counts(1, &under_way).await;
    }
    case.settled().await;
    assert!(is_over(&a).await);
    assert_rebuilt(case).await;
    assert_published_once(case).await;
    a.stop().await;
}
