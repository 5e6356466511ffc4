//! What comes again, and what does not come.

use crate::{
    case::Case,
    language::{Numbered, OrderPaid, OrderPlaced, VisitSeen, desk, orders, visits},
    transport::Transport,
};

const ORDERS: &[&str] = &["shop.order.placed.v1", "shop.order.paid.v1"];

pub(crate) async fn what_was_handled_is_dropped_when_it_comes_again<T: Transport>(case: &Case<T>) {
    let failing = desk("orders").unless(|fact| match (&*fact.subject, fact.n) {
        ("order 3", 2) => Err(kernel::HandlerError::Park("to be looked at".to_owned())),
        _ => Ok(()),
    });
    let a = case
        .run(vec![orders(failing), visits(desk("visits"))])
        .await;
    for round in 0..4 {
        for n in 1..=5 {
            let n = round * 5 + n;
            a.transact(move |tx| {
                for subject in ["order 1", "order 2", "order 3"] {
                    tx.publish(&OrderPlaced::new(subject, n));
                }
                tx.publish(&VisitSeen::new("somebody", n));
            })
            .await;
        }
        // In the midst of it and after it.
        case.execute("UPDATE desk.subscriptions SET pos = pos / 2")
            .await;
        case.settled().await;
        case.execute("UPDATE desk.subscriptions SET pos = 0").await;
        case.settled().await;
    }
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    for subject in ["order 1", "order 2"] {
        assert_eq!(
            case.numbers("orders", subject).await,
            (1..=20).collect::<Vec<_>>()
        );
    }
    // What waits behind a failed event waits once.
    assert_eq!(case.numbers("orders", "order 3").await, [1]);
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 19);
    a.stop().await;
}

pub(crate) async fn a_missing_event_is_fetched_again<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish([OrderPlaced::new("known", 1)]).await;
    case.settled().await;
    case.execute("UPDATE desk.subscriptions SET state = 'paused'")
        .await;
    for n in 2..=6 {
        a.publish([OrderPlaced::new("known", n)]).await;
        a.publish([OrderPlaced::new("new", n - 1)]).await;
    }
    case.eventually_counts(11, "SELECT pos FROM shop.head")
        .await;
    // As if a transport had lost the first four of each.
    case.execute("UPDATE desk.subscriptions SET pos = 9, state = 'running'")
        .await;
    case.settled().await;
    case.assert_once("orders", ORDERS).await;
    assert_eq!(case.numbers("orders", "known").await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(case.numbers("orders", "new").await, [1, 2, 3, 4, 5]);
    a.stop().await;
}

pub(crate) async fn an_event_that_is_gone_parks_its_subject<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish([OrderPlaced::new("order", 1), OrderPlaced::new("other", 1)])
        .await;
    case.settled().await;
    case.execute("UPDATE desk.subscriptions SET state = 'paused'")
        .await;
    a.publish([OrderPlaced::new("order", 2), OrderPlaced::new("order", 3)])
        .await;
    a.publish([OrderPaid::new("order", 4), OrderPaid::new("other", 2)])
        .await;
    case.eventually_counts(6, "SELECT pos FROM shop.head").await;
    case.execute(
        "DELETE FROM shop.log WHERE pos = 3;
         UPDATE desk.subscriptions SET pos = 4, state = 'running'",
    )
    .await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "order").await, [1]);
    assert_eq!(case.numbers("orders", "other").await, [1, 2]);
    let told = "
        SELECT count(*) FROM desk.parked
         WHERE status = 'parked' AND error LIKE '%event 2 of the subject is no longer in the log%'";
    assert_eq!(case.count(told).await, 1);
    a.stop().await;
}
