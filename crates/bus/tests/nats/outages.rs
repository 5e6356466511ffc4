//! Servers that are away, and those that come back with nothing.

use std::time::Duration;

use kernel::Subscription;

use crate::{
    broker::{Broker, Over, reach, settings},
    support::{
        case::Case,
        language::{Numbered, OrderPlaced, VisitSeen, desk, orders, visits},
    },
};

const EVENTS: i64 = 600;
const OUTAGES: i64 = 3;

fn subscriptions() -> Vec<Subscription> {
    vec![orders(desk("orders")), visits(desk("visits"))]
}

pub(crate) async fn a_server_may_come_later(case: &Case<Over>) {
    let mut broker = Broker::start("");
    broker.server.kill();
    reach(case, &settings(vec![broker.server.url()]));
    let a = case.run(subscriptions()).await;
    a.publish((1..=10).map(|n| OrderPlaced::new("order", n)))
        .await;
    case.eventually_counts(10, "SELECT count(*) FROM shop.log")
        .await;
    assert_eq!(case.effects("orders").await, []);

    broker.server.start_again().unwrap();
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    a.stop().await;
}

pub(crate) async fn a_killed_server_loses_nothing_and_repeats_nothing(case: &Case<Over>) {
    outages(case, |_| {}).await;
}

pub(crate) async fn an_emptied_server_loses_nothing_and_repeats_nothing(case: &Case<Over>) {
    outages(case, Broker::empty).await;
}

/// The server goes again and again while events are published, and something happens to it.
async fn outages(case: &Case<Over>, meanwhile: impl Fn(&Broker)) {
    let mut broker = Broker::start("");
    reach(case, &settings(vec![broker.server.url()]));
    let a = case.run(subscriptions()).await;
    let b = case.run(subscriptions()).await;
    let db = a.db("shop");
    let publishing = a.spawn(async move {
        for n in 1..=EVENTS {
            let mut tx = db.begin().await.unwrap();
            tx.publish(&OrderPlaced::new(&format!("order {}", n % 7), n));
            tx.publish(&VisitSeen::new("somebody", n));
            tx.commit().await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    for outage in 1..=OUTAGES {
        let published = format!("SELECT (count(*) >= {})::int::bigint FROM shop.log", {
            outage * EVENTS / (OUTAGES + 1)
        });
        case.eventually_counts(1, &published).await;
        broker.server.kill();
        meanwhile(&broker);
        broker.server.start_again().unwrap();
    }
    publishing.await.unwrap();
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    a.stop().await;
    b.stop().await;
}
