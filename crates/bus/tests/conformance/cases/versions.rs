//! Events that a subscription does not know, or that have nothing left to tell.

use bus::{Schema, parked::Lane};

use crate::{
    case::Case,
    language::{
        ItemCounted, Numbered, OrderArchived, OrderPlaced, OrderPlacedAnew, VisitSeen, desk,
        orders, visits,
    },
    transport::Transport,
};

pub(crate) async fn an_unknown_version_parks_and_an_unknown_type_does_not<T: Transport>(
    case: &Case<T>,
) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.transact(|tx| {
        tx.publish(&OrderPlaced::new("order", 1));
        tx.publish(&OrderArchived::new("order", 2));
        tx.publish(&ItemCounted::new("order", 3));
        tx.publish(&OrderPlaced::new("order", 4));
        tx.publish(&OrderPlacedAnew::new("order", 5));
        tx.publish(&OrderPlaced::new("order", 6));
        tx.publish(&OrderPlaced::new("other", 7));
    })
    .await;
    case.settled().await;
    let effects = |effects: &[(&str, i64)]| -> Vec<(String, i64)> {
        effects.iter().map(|(s, n)| ((*s).to_owned(), *n)).collect()
    };
    let known = effects(&[("order", 1), ("order", 4), ("other", 7)]);
    assert_eq!(case.effects("orders").await, known);
    let parked = "
        SELECT count(*) FROM desk.parked
         WHERE status = 'parked' AND attempts = 1
           AND error LIKE '%version of shop.order.placed.v2 is not known here%'";
    assert_eq!(case.count(parked).await, 1);
    a.stop().await;

    // The next release knows it.
    let both = orders(desk("orders")).on::<OrderPlacedAnew>(desk("orders"));
    let b = case.run(vec![both]).await;
    let db = b.db("desk");
    b.call(async move {
        let mut conn = db.pool().acquire().await.unwrap();
        let lane = Lane {
            topic: "shop.order".to_owned(),
            lane: "order".to_owned(),
        };
        let schema = Schema::new("desk").unwrap();
        assert!(
            bus::parked::retry(&mut conn, &schema, "orders", &lane)
                .await
                .unwrap()
        );
    })
    .await;
    case.eventually_counts(0, "SELECT count(*) FROM desk.parked")
        .await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "order").await, [1, 4, 5, 6]);
    b.stop().await;
}

pub(crate) async fn erased_events_are_passed_over<T: Transport>(case: &Case<T>) {
    let a = case
        .run(vec![orders(desk("orders")), visits(desk("visits"))])
        .await;
    case.settled().await;
    case.execute("UPDATE desk.subscriptions SET state = 'paused'")
        .await;
    for n in 1..=3 {
        a.transact(move |tx| {
            tx.publish(&OrderPlaced::new("somebody", n));
            tx.publish(&VisitSeen::new("somebody", n));
            tx.publish(&OrderPlaced::new("other", n));
        })
        .await;
    }
    case.eventually_counts(9, "SELECT pos FROM shop.head").await;
    let db = a.db("shop");
    let erased: i64 = a
        .call(async move {
            sqlx::query_scalar("SELECT shop.erase_from_log('somebody')")
                .fetch_one(db.pool())
                .await
                .unwrap()
        })
        .await;
    assert_eq!(erased, 6);
    a.publish([OrderPlaced::new("somebody", 4)]).await;
    case.eventually_counts(10, "SELECT pos FROM shop.head")
        .await;
    case.execute("UPDATE desk.subscriptions SET state = 'running'")
        .await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "somebody").await, [4]);
    assert_eq!(case.numbers("orders", "other").await, [1, 2, 3]);
    assert_eq!(case.effects("visits").await, []);
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    case.assert_log_is_sound().await;
    a.stop().await;

    // A subscription that comes later finds the positions and nothing else.
    let late = orders(desk("late"));
    let b = case.run(vec![late]).await;
    case.eventually_counts(
        4,
        "SELECT count(*) FROM desk.effects WHERE subscription = 'late'",
    )
    .await;
    assert_eq!(case.numbers("late", "somebody").await, [4]);
    b.stop().await;
}
