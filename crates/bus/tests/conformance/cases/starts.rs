//! Where subscriptions begin, and what the log still has by then.

use bus::failpoint::{Hold, Point};
use kernel::{Start, Subscription};

use crate::{
    case::{Case, settings},
    language::{
        ItemCounted, Numbered, OrderPlaced, OrderRestated, Record, VisitSeen, desk, orders,
    },
    transport::Transport,
};

const PLACED: &[&str] = &["shop.order.placed.v1"];

fn starting(name: &str, start: Start) -> Subscription {
    orders(desk(name)).starting(start)
}

pub(crate) async fn a_late_subscription_gets_all_or_only_what_is_new<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("early"))]).await;
    for n in 1..=10 {
        a.publish([OrderPlaced::new("old", n), OrderPlaced::new("older", n)])
            .await;
    }
    case.settled().await;
    a.stop().await;

    let subscriptions = || {
        vec![
            orders(desk("early")),
            starting("all", Start::Oldest),
            starting("new", Start::Now),
        ]
    };
    let b = case.run(subscriptions()).await;
    case.settled().await;
    assert_eq!(case.effects("new").await, []);
    for n in 11..=13 {
        b.publish([OrderPlaced::new("old", n), OrderPlaced::new("young", n)])
            .await;
    }
    case.settled().await;
    case.assert_once("early", PLACED).await;
    case.assert_once("all", PLACED).await;
    assert_eq!(case.numbers("new", "old").await, [11, 12, 13]);
    assert_eq!(case.numbers("new", "young").await, [11, 12, 13]);
    b.stop().await;

    // It goes on where it was, wherever it began.
    let c = case.run(subscriptions()).await;
    c.publish([OrderPlaced::new("old", 14), OrderPlaced::new("older", 14)])
        .await;
    case.settled().await;
    case.assert_once("all", PLACED).await;
    assert_eq!(case.numbers("new", "old").await, [11, 12, 13, 14]);
    assert_eq!(case.numbers("new", "older").await, [14]);
    c.stop().await;
}

/// Closes the log's open partition.
async fn roll<T: Transport>(case: &Case<T>) {
    assert_eq!(
        case.count("SELECT shop.roll_log('0')::int::bigint").await,
        1
    );
}

/// Drops so many closed partitions, as soon as every cursor has passed them.
async fn trim<T: Transport>(case: &Case<T>, partitions: i64) {
    case.eventually_counts(partitions, "SELECT shop.trim_log('0')::bigint")
        .await;
}

pub(crate) async fn a_late_subscription_takes_what_the_log_still_has<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("early"))]).await;
    a.publish((1..=3).map(|n| OrderPlaced::new("old", n))).await;
    a.publish([OrderPlaced::new("gone", 1)]).await;
    case.settled().await;
    roll(case).await;
    a.publish((4..=6).map(|n| OrderPlaced::new("old", n))).await;
    a.publish([OrderPlaced::new("young", 1)]).await;
    case.settled().await;
    trim(case, 1).await;
    assert_eq!(case.count("SELECT min(pos) FROM shop.log").await, 5);
    case.assert_log_is_sound().await;
    a.stop().await;

    let b = case
        .run(vec![orders(desk("early")), orders(desk("late"))])
        .await;
    case.settled().await;
    b.publish([OrderPlaced::new("gone", 2), OrderPlaced::new("old", 7)])
        .await;
    case.settled().await;
    assert_eq!(case.numbers("early", "old").await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(case.numbers("late", "old").await, [4, 5, 6, 7]);
    assert_eq!(case.numbers("late", "gone").await, [2]);
    assert_eq!(case.numbers("late", "young").await, [1]);
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    b.stop().await;
}

pub(crate) async fn restating_makes_up_for_a_log_that_is_gone<T: Transport>(case: &Case<T>) {
    let model = |name: &str| orders(desk(name)).on::<OrderRestated>(Record::new("desk", name));
    let a = case.run(vec![model("early")]).await;
    for n in 1..=10 {
        let db = a.db("shop");
        a.call(async move {
            let mut tx = db.begin().await.unwrap();
            let subject = format!("order {n}");
            sqlx::query("INSERT INTO shop.orders VALUES ($1, $2)")
                .bind(&subject)
                .bind(n)
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.publish(&OrderPlaced::new(&subject, n));
            tx.commit().await.unwrap();
        })
        .await;
    }
    case.settled().await;
    roll(case).await;
    trim(case, 1).await;
    assert_eq!(case.count("SELECT count(*) FROM shop.log").await, 0);
    a.stop().await;

    let b = case.run(vec![model("early"), model("late")]).await;
    case.settled().await;
    assert_eq!(case.effects("late").await, []);
    let db = b.db("shop");
    b.call(async move {
        let mut tx = db.begin().await.unwrap();
        let all: Vec<(String, i64)> = sqlx::query_as("SELECT subject, n FROM shop.orders")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        for (subject, n) in all {
            tx.publish(&OrderRestated::new(&subject, n));
        }
        tx.commit().await.unwrap();
    })
    .await;
    b.publish([OrderPlaced::new("order 3", 11)]).await;
    case.settled().await;
    for n in 1..=10 {
        let numbers = case.numbers("late", &format!("order {n}")).await;
        assert_eq!(numbers, if n == 3 { vec![3, 11] } else { vec![n] });
    }
    // Who had seen it all is told again, and takes it.
    assert_eq!(case.numbers("early", "order 3").await, [3, 3, 11]);
    case.assert_log_is_sound().await;
    b.stop().await;
}

pub(crate) async fn the_log_is_kept_until_every_cursor_has_passed<T: Transport>(case: &Case<T>) {
    let a = case
        .run(vec![orders(desk("ahead")), orders(desk("behind"))])
        .await;
    case.settled().await;
    case.execute("UPDATE desk.subscriptions SET state = 'paused' WHERE name = 'behind'")
        .await;
    for round in 0..3 {
        a.publish((1..=4).map(|n| OrderPlaced::new("order", round * 4 + n)))
            .await;
        let passed = format!(
            "SELECT count(*) FROM shop.cursors
              WHERE subscription = 'desk.ahead' AND pos = {}",
            (round + 1) * 4
        );
        case.eventually_counts(1, &passed).await;
        if round < 2 {
            roll(case).await;
        }
        assert_eq!(case.count("SELECT shop.trim_log('0')::bigint").await, 0);
    }
    // Not because it is too young, either.
    case.execute("UPDATE desk.subscriptions SET state = 'running'")
        .await;
    case.settled().await;
    case.assert_once("ahead", PLACED).await;
    case.assert_once("behind", PLACED).await;
    assert_eq!(
        case.count("SELECT shop.trim_log('1 hour')::bigint").await,
        0
    );

    // A subscription that is about to begin counts from the moment in which it has chosen where.
    a.stop().await;
    let late = || vec![orders(desk("late"))];
    let mut b = case.start_with(settings(), Vec::new(), late()).await;
    let announced = b.trap(Point::SubscriptionAnnounced, Hold::Task);
    b.run();
    announced.sprung().await;
    assert_eq!(case.count("SELECT shop.trim_log('0')::bigint").await, 0);
    announced.release();
    let handled = "SELECT count(*) FROM desk.effects WHERE subscription = 'late'";
    case.eventually_counts(12, handled).await;
    case.assert_once("late", PLACED).await;
    trim(case, 2).await;
    b.stop().await;
}

pub(crate) async fn a_topic_that_is_added_begins_where_the_subscription_stands<T: Transport>(
    case: &Case<T>,
) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    for n in 1..=3 {
        a.publish([ItemCounted::new("item", n), ItemCounted::new("other", n)])
            .await;
        a.publish([OrderPlaced::new("order", n)]).await;
        a.publish([VisitSeen::new("somebody", n)]).await;
    }
    case.settled().await;
    roll(case).await;
    trim(case, 1).await;
    a.stop().await;

    // The next release asks for more; what it did not see before is no gap now.
    let record = desk("orders");
    let more = || {
        orders(record.clone())
            .on::<ItemCounted>(record.clone())
            .on::<VisitSeen>(record.clone())
    };
    let b = case.run(vec![more()]).await;
    let knows = "
        SELECT count(*) FROM desk.subscriptions
         WHERE topics ?& array['shop.order', 'shop.item', 'shop.visit']";
    case.eventually_counts(1, knows).await;
    b.publish([ItemCounted::new("item", 4), ItemCounted::new("young", 4)])
        .await;
    b.publish([OrderPlaced::new("order", 4)]).await;
    b.publish([VisitSeen::new("somebody", 4)]).await;
    case.settled().await;
    b.stop().await;

    // The release before holds it for a while: what it leaves out is fetched afterwards.
    let c = case.run(vec![orders(desk("orders"))]).await;
    c.publish([ItemCounted::new("item", 5), ItemCounted::new("young", 5)])
        .await;
    c.publish([OrderPlaced::new("order", 5)]).await;
    case.settled().await;
    c.stop().await;
    let d = case.run(vec![more()]).await;
    d.publish([ItemCounted::new("item", 6), ItemCounted::new("young", 6)])
        .await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "order").await, [1, 2, 3, 4, 5]);
    assert_eq!(case.numbers("orders", "item").await, [4, 5, 6]);
    assert_eq!(case.numbers("orders", "young").await, [4, 5, 6]);
    assert_eq!(case.numbers("orders", "other").await.len(), 0);
    assert_eq!(case.numbers("orders", "somebody").await, [4]);
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    d.stop().await;
}
