//! Calls and connections that are lost.

use std::{collections::HashSet, time::Duration};

use kernel::Hint;

use crate::{
    case::Case,
    language::{Numbered, OrderPlaced, VisitSeen, desk, orders, visits},
    transport::Transport,
};

/// The other sessions of the case's database.
const SESSIONS: &str = "
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()";

pub(crate) async fn notifications_are_not_relied_on<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    // It does not run: nobody is told of what it publishes.
    let shop = case.start(Vec::new()).await;
    for n in 1..=10 {
        shop.publish([OrderPlaced::new("order", n)]).await;
        if n % 3 == 0 {
            let listeners = format!("{SESSIONS} AND query LIKE 'LISTEN %'");
            case.count(&listeners).await;
        }
        let handled = "SELECT count(*) FROM desk.effects";
        case.eventually_counts(n, handled).await;
    }
    case.assert_once("orders", &["shop.order.placed.v1"]).await;

    // After a while they come again.
    let b = case.run(vec![orders(desk("orders"))]).await;
    let mut hints = a.bus().hints();
    let bus = b.bus();
    let said = b.spawn(async move {
        loop {
            bus.hint(Hint {
                topic: "shop.order".to_owned(),
                key: "again".to_owned(),
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(hints.recv().await.unwrap().key, "again");
    said.abort();
    for instance in [a, b, shop] {
        instance.stop().await;
    }
}

pub(crate) async fn connections_may_break_at_any_time<T: Transport>(case: &Case<T>) {
    let a = case
        .run(vec![orders(desk("orders")), visits(desk("visits"))])
        .await;
    let b = case
        .run(vec![orders(desk("orders")), visits(desk("visits"))])
        .await;
    let shop = case.start(Vec::new()).await;
    let db = shop.db("shop");
    let publishing = shop.spawn(async move {
        let mut committed = HashSet::new();
        for n in 1..=400 {
            let published = async {
                let mut tx = db.begin().await?;
                let ids = [
                    tx.publish(&OrderPlaced::new(&format!("order {}", n % 5), n)),
                    tx.publish(&VisitSeen::new("somebody", n)),
                ];
                tx.commit().await?;
                Ok::<_, sqlx::Error>(ids)
            };
            // One that fails may have been committed or not.
            if let Ok(ids) = published.await {
                committed.extend(ids.map(|id| id.0));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        committed
    });
    let mut cut = 0;
    while !publishing.is_finished() {
        cut += case.count(SESSIONS).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(cut > 0, "connections were cut");
    let committed = publishing.await.unwrap();
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    let logged: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM shop.log")
        .fetch_all(&case.admin)
        .await
        .unwrap();
    let logged: HashSet<_> = logged.into_iter().collect();
    assert!(committed.is_subset(&logged));
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    for instance in [a, b, shop] {
        instance.stop().await;
    }
}
