//! From commit to effect.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use kernel::{Envelope, HandlerError, RequestContext, Subscription, World, db::Outgoing};
use serde_json::value::to_raw_value;
use sqlx::Connection;

use crate::{
    case::{Case, assert_same, settings},
    cluster::connect,
    language::{
        ItemCounted, Numbered, OrderPaid, OrderPlaced, Record, TicketOpened, VisitSeen, desk,
        orders, visits, whole,
    },
    transport::Transport,
};

pub(crate) async fn commit_means_delivered_and_rollback_means_never<T: Transport>(case: &Case<T>) {
    let a = case
        .run(vec![orders(desk("orders")), visits(desk("visits"))])
        .await;
    let db = a.db("shop");
    a.call(async move {
        for n in 1..=40 {
            let mut tx = db.begin().await.unwrap();
            sqlx::query("INSERT INTO shop.orders VALUES ($1, $2)")
                .bind(format!("order {n}"))
                .bind(n)
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.publish(&OrderPlaced::new(&format!("order {}", n % 5), n));
            tx.publish(&VisitSeen::new("somebody", n));
            match n % 4 {
                0 => drop(tx),
                1 => tx.rollback().await.unwrap(),
                _ => tx.commit().await.unwrap(),
            }
        }
    })
    .await;
    case.settled().await;
    let committed = "SELECT count(*) FROM shop.orders";
    assert_eq!(case.count(committed).await, 20);
    for subscription in ["orders", "visits"] {
        let missing = format!(
            "SELECT count(*) FROM shop.orders o FULL JOIN
                (SELECT * FROM desk.effects WHERE subscription = '{subscription}') e USING (n)
              WHERE o.n IS NULL OR e.n IS NULL"
        );
        assert_eq!(case.count(&missing).await, 0);
    }
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    a.stop().await;
}

pub(crate) async fn what_was_committed_before_a_crash_is_delivered_after_it<T: Transport>(
    case: &Case<T>,
) {
    // It never works: what it commits stays in the outbox.
    let a = case.start(Vec::new()).await;
    for n in 1..=10 {
        a.publish([OrderPlaced::new("order", n)]).await;
    }
    a.kill().await;
    assert_eq!(case.count("SELECT count(*) FROM shop.outbox").await, 10);

    let b = case.run(vec![orders(desk("orders"))]).await;
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    b.stop().await;
}

pub(crate) async fn pending_events_and_what_follows_from_them_are_delivered_at_once<
    T: Transport,
>(
    case: &Case<T>,
) {
    let answering = desk("orders").then(|tx, fact| {
        tx.publish(&TicketOpened::new(&fact.subject, fact.n));
        // Fails once per event: the second try must not be waited for.
        let fails = fact.n == 2;
        async move {
            let tried = sqlx::query_scalar::<_, i32>(
                "SELECT attempts FROM desk.parked WHERE subscription = 'orders'",
            )
            .fetch_optional(&mut **tx)
            .await?;
            match tried {
                None if fails => Err(anyhow::anyhow!("the first time").into()),
                _ => Ok(()),
            }
        }
        .boxed()
    });
    let tickets =
        Subscription::new("tickets", "desk").on::<TicketOpened>(Record::new("shop", "tickets"));
    // Nothing in it happens by itself, nor soon.
    let slow = bus::Settings {
        backoff_base: std::time::Duration::from_secs(600),
        ..settings()
    };
    let a = case
        .start_with(slow, vec![tickets], vec![orders(answering)])
        .await;
    a.publish((1..=5).map(|n| OrderPlaced::new("order", n)))
        .await;
    a.deliver_pending().await;
    assert_eq!(case.numbers("orders", "order").await, [1, 2, 3, 4, 5]);
    assert_eq!(case.count("SELECT count(*) FROM shop.effects").await, 5);
    assert_eq!(case.count("SELECT count(*) FROM desk.parked").await, 0);
    a.stop().await;
}

pub(crate) async fn an_event_that_commits_late_is_not_skipped<T: Transport>(case: &Case<T>) {
    let a = case
        .run(vec![orders(desk("orders")), visits(desk("visits"))])
        .await;
    // A transaction that rests for the whole case, with an id of its own.
    let mut idle = connect(&case.database.admin()).await;
    sqlx::raw_sql("BEGIN; INSERT INTO shop.orders VALUES ('idle', 0)")
        .execute(&mut idle)
        .await
        .unwrap();

    // This one takes its place in the outbox first and commits last.
    let (db, bus) = (a.db("shop"), a.bus());
    let early = a
        .call(async move {
            let world = World::system();
            let mut tx = db.pool().begin().await.unwrap();
            let event = |event_type, subject: &str, ordered| Outgoing {
                id: world.uuid().into(),
                event_type,
                subject: subject.to_owned(),
                ordered,
                time: world.now(),
                context: RequestContext::root(&world).for_event(),
                data: to_raw_value(&OrderPlaced::new(subject, 1)).unwrap(),
            };
            let events = [
                event("shop.order.placed.v1", "early", true),
                event("shop.visit.seen.v1", "early", false),
            ];
            bus.write_outbox(&mut tx, "shop", &events).await.unwrap();
            tx
        })
        .await;
    for n in 1..=20 {
        a.publish([OrderPlaced::new("late", n)]).await;
        a.publish([VisitSeen::new("late", n)]).await;
    }
    case.settled().await;
    assert_eq!(
        case.numbers("orders", "late").await,
        (1..=20).collect::<Vec<_>>()
    );
    assert_eq!(case.numbers("visits", "early").await.len(), 0);

    a.call(async move { early.commit().await.unwrap() }).await;
    case.eventually_counts(
        2,
        "SELECT count(*) FROM desk.effects WHERE subject = 'early'",
    )
    .await;
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    case.assert_once("visits", &["shop.visit.seen.v1"]).await;
    idle.close().await.unwrap();
    a.stop().await;
}

pub(crate) async fn a_payload_over_the_bound_fails_its_transaction<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    let db = a.db("shop");
    let refused = a
        .call(async move {
            let mut tx = db.begin().await.unwrap();
            sqlx::query("INSERT INTO shop.orders VALUES ('big', 1)")
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.publish(&OrderPlaced::new("big", 1));
            tx.publish(&OrderPlaced::padded("big", 2, 300_000));
            tx.commit().await
        })
        .await;
    let error = refused.unwrap_err();
    let error = error.as_database_error().expect("the database refuses it");
    assert_eq!(error.code().as_deref(), Some("23514"));
    assert_eq!(case.count("SELECT count(*) FROM shop.orders").await, 0);

    a.publish([OrderPlaced::padded("big", 3, 250_000)]).await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "big").await, [3]);
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    a.stop().await;
}

pub(crate) async fn a_handler_publishes_in_the_trace_of_its_event<T: Transport>(case: &Case<T>) {
    let answering = desk("orders").then(|tx, fact| {
        tx.publish(&TicketOpened::new(&fact.subject, fact.n));
        async { Ok(()) }.boxed()
    });
    let tickets =
        Subscription::new("tickets", "desk").on::<TicketOpened>(Record::new("shop", "tickets"));
    let mut a = case
        .start_with(settings(), vec![tickets], vec![orders(answering)])
        .await;
    a.run();
    let mut request = RequestContext::root(&World::system());
    request.actor = Some("user:somebody".to_owned());
    let db = a.db("shop");
    let publish = async move {
        let mut tx = db.begin().await.unwrap();
        let id = tx.publish(&OrderPlaced::new("order", 1));
        tx.commit().await.unwrap();
        id
    };
    let id = a.call(request.clone().scope(publish)).await;
    case.settled().await;
    let chain = format!(
        "SELECT count(*) FROM shop.log o, desk.log t, shop.effects e
          WHERE o.id = '{id}' AND e.id = t.id
            AND o.context->>'traceparent' = '{traceparent}'
            AND t.context->>'causationid' = o.id::text
            AND t.context->>'correlationid' = '{correlation}'
            AND t.context->>'actor' = 'user:somebody'
            AND split_part(t.context->>'traceparent', '-', 2) = '{trace}'
            AND split_part(t.context->>'traceparent', '-', 3) <> '{span}'
            AND e.context = t.context::jsonb",
        traceparent = request.traceparent(),
        correlation = request.correlation_id,
        trace = request.trace_id,
        span = request.span_id,
    );
    assert_eq!(case.count(&chain).await, 1);
    a.stop().await;
}

pub(crate) async fn redelivered_envelopes_are_equal_to_the_byte<T: Transport>(case: &Case<T>) {
    // Each delivery of each event, as text.
    let seen: Arc<Mutex<Vec<(i64, String)>>> = Arc::default();
    let whole = whole("whole", {
        let seen = Arc::clone(&seen);
        move |_, events| {
            let mut seen = seen.lock().unwrap();
            for event in events {
                seen.push((event.pos, serde_json::to_string(event).unwrap()));
            }
            let last = events.last().expect("there are events").pos;
            let times = seen.iter().filter(|(pos, _)| *pos == last).count();
            async move {
                match times {
                    0..3 => Err(anyhow::anyhow!("again").into()),
                    _ => Ok(()),
                }
            }
            .boxed()
        }
    });
    let parking = desk("orders").unless(|_| Err(HandlerError::Park("to be looked at".to_owned())));
    let a = case.run(vec![whole, orders(parking)]).await;
    a.transact(|tx| {
        tx.publish(&OrderPlaced::padded("order \u{1f333}", 1, 20));
        tx.publish(&VisitSeen::new("somebody \"quoted\"", 2));
        tx.publish(&ItemCounted::new("item", 3));
        tx.publish(&OrderPaid::new("order \u{1f333}", 4));
    })
    .await;
    case.settled().await;
    let mut texts = seen.lock().unwrap().clone();
    assert!(texts.len() >= 12);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 4, "each event has one text: {texts:#?}");

    // What was put aside is the same, too.
    let parked: Vec<(i64, sqlx::types::Json<Envelope>)> =
        sqlx::query_as("SELECT pos, envelope FROM desk.parked")
            .fetch_all(&case.admin)
            .await
            .unwrap();
    assert_eq!(parked.len(), 2);
    for (pos, envelope) in parked {
        let text = serde_json::to_string(&*envelope).unwrap();
        assert!(
            texts.contains(&(pos, text.clone())),
            "{text} is not among {texts:#?}"
        );
    }
    a.stop().await;
}

pub(crate) async fn lag_is_an_age<T: Transport>(case: &Case<T>) {
    let parking = desk("orders").unless(|fact| match fact.n {
        1 => Err(HandlerError::Park("to be looked at".to_owned())),
        _ => Ok(()),
    });
    let a = case.start(vec![orders(parking)]).await;
    let lag = async || {
        let transport = a.transport();
        let lag = a.call(async move { transport.lag().await.unwrap() }).await;
        let mut lag: Vec<_> = lag
            .into_iter()
            .map(|l| (l.module, l.stage, l.oldest_seconds, l.parked))
            .collect();
        lag.retain(|(module, stage, ..)| {
            matches!(
                (&**module, &**stage),
                ("shop", "sequencer") | ("desk", "orders")
            )
        });
        lag.sort_by(|a, b| a.1.cmp(&b.1));
        assert_same(
            lag.iter().map(|l| &*l.1).collect(),
            vec!["orders", "sequencer"],
        );
        (lag[0].2, lag[0].3, lag[1].2)
    };
    assert_eq!(lag().await, (None, 0, None));

    // Nobody works: it waits for the sequencer.
    a.publish([OrderPlaced::new("order", 2)]).await;
    case.execute("UPDATE shop.outbox SET published_at = published_at - interval '1 hour'")
        .await;
    let (orders, _, sequencer) = lag().await;
    assert_eq!(orders, None);
    assert!(sequencer.unwrap() >= 3_600.0);

    // Nobody handles it: it waits for the subscription.
    case.execute("UPDATE desk.subscriptions SET state = 'paused'")
        .await;
    a.deliver_pending().await;
    case.execute("UPDATE desk.subscriptions SET state = 'paused'")
        .await;
    a.publish([OrderPlaced::new("other", 1)]).await;
    a.deliver_pending().await;
    case.execute("UPDATE shop.log SET sequenced_at = sequenced_at - interval '2 hours'")
        .await;
    let (orders, _, sequencer) = lag().await;
    assert!(orders.unwrap() >= 7_200.0);
    assert_eq!(sequencer, None);

    // It waits for a person.
    case.execute("UPDATE desk.subscriptions SET state = 'running'")
        .await;
    a.deliver_pending().await;
    assert_eq!(lag().await, (None, 1, None));
    a.stop().await;
}

/// As after a backup was brought back: positions are taken again, by other events. What they would have
/// done is not passed over in silence.
pub(crate) async fn a_log_that_was_set_back_is_not_read_on<T: Transport>(case: &Case<T>) {
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish((1..=3).map(|n| OrderPlaced::new("order", n)))
        .await;
    case.settled().await;
    a.stop().await;
    case.execute("DELETE FROM shop.log WHERE pos > 1").await;
    case.execute("UPDATE shop.head SET pos = 1").await;
    case.execute("UPDATE shop.key_positions SET pos = 1").await;

    // The log goes past where the subscription stands before anybody looks.
    let none = case.start(Vec::new()).await;
    none.publish((1..=4).map(|n| OrderPlaced::new("other", n)))
        .await;
    none.deliver_pending().await;
    none.stop().await;
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish([OrderPlaced::new("third", 1)]).await;
    case.eventually_counts(6, "SELECT pos FROM shop.head").await;
    let bus = a.transport();
    let lag = async || {
        let bus = bus.clone();
        let lags = a.call(async move { bus.lag().await.unwrap() }).await;
        let of_it = |lag: &&bus::lag::Lag| lag.module == "desk" && lag.stage == "orders";
        lags.iter()
            .find(of_it)
            .map(|lag| lag.oldest_seconds.is_some())
    };
    case.eventually("it waits", async || lag().await == Some(true))
        .await;
    assert_eq!(case.numbers("orders", "other").await, [0; 0]);
    assert_eq!(case.numbers("orders", "third").await, [0; 0]);

    // A person has looked: it goes on from where both agree.
    case.execute("UPDATE desk.subscriptions SET pos = 1, last_pos = NULL, last_id = NULL")
        .await;
    case.settled().await;
    assert_eq!(case.numbers("orders", "other").await, [1, 2, 3, 4]);
    assert_eq!(case.numbers("orders", "third").await, [1]);
    a.stop().await;
}

pub(crate) async fn a_subscription_beyond_its_log_is_told<T: Transport>(case: &Case<T>) {
    let a = case.start(vec![orders(desk("orders"))]).await;
    a.publish([OrderPlaced::new("order", 1)]).await;
    a.deliver_pending().await;
    let beyond = async || {
        let transport = a.transport();
        let lags = a.call(async move { transport.lag().await.unwrap() }).await;
        lags.iter().map(|lag| lag.beyond).max()
    };
    assert_eq!(beyond().await, Some(0));
    // As if the publisher's database had been restored from before the last five events.
    case.execute("UPDATE desk.subscriptions SET pos = pos + 5 WHERE name = 'orders'")
        .await;
    assert_eq!(beyond().await, Some(5));
    a.stop().await;
}
