//! Servers that are away, and those that come back with nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use kernel::Subscription;

use crate::{
    broker::{Broker, Eye, Over, items, reach, settings},
    support::{
        case::Case,
        language::{ItemCounted, Numbered, OrderPlaced, VisitSeen, desk, orders, visits},
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

pub(crate) async fn what_was_relayed_arrives_though_its_publisher_is_away(case: &Case<Over>) {
    let broker = Broker::start("");
    let nats = settings(vec![broker.server.url()]);
    reach(case, &nats);
    let eye = Eye::on(&nats).await;
    let host = async |module, subscriptions| {
        let modules = vec![(module, subscriptions)];
        let mut instance = case
            .start_hosting(crate::support::case::settings(), modules)
            .await;
        instance.run();
        instance
    };
    let shop = host("shop", Vec::new()).await;
    let before = host("desk", subscriptions()).await;
    shop.publish((1..=5).map(|n| OrderPlaced::new("order", n)))
        .await;
    case.settled().await;
    before.stop().await;
    shop.publish((6..=10).map(|n| OrderPlaced::new("order", n)))
        .await;
    shop.publish([ItemCounted::new("item", 1)]).await;
    case.eventually("it is in the stream", async || eye.end().await == Some(11))
        .await;
    shop.stop().await;

    let desk = host("desk", subscriptions()).await;
    let handled = "SELECT count(*) FROM desk.effects WHERE subscription = 'orders'";
    case.eventually_counts(10, handled).await;
    // What everybody has to know, keys of tokens among it, is believed of the publisher alone: a process
    // that starts now waits for it.
    let heard = Arc::new(AtomicI64::new(0));
    let broadcast = || {
        let heard = Arc::clone(&heard);
        items(move |_| {
            heard.fetch_add(1, Ordering::SeqCst);
        })
    };
    let (bus, too_early) = (desk.bus(), broadcast());
    let early = desk.call(async move { bus.broadcast(too_early).await });
    assert!(early.await.is_err());
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    let shop = host("shop", Vec::new()).await;
    let (bus, in_time) = (desk.bus(), broadcast());
    desk.call(async move { bus.broadcast(in_time).await.unwrap() })
        .await;
    assert_eq!(
        heard.load(Ordering::SeqCst),
        1,
        "all of it, when listening has begun"
    );
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    desk.stop().await;
    shop.stop().await;
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
