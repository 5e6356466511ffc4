//! What every process reads for itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kernel::{Broadcast, Envelope};

use crate::{
    case::Case,
    instance::Instance,
    language::{ItemCounted, Numbered, OrderPlaced, panic_quietly},
    transport::Transport,
};

type Heard = Arc<Mutex<Vec<i64>>>;

async fn listen<T: Transport>(
    a: &Instance<T>,
    mut each: impl FnMut(i64) + Send + 'static,
) -> Heard {
    let heard = Heard::default();
    let each = {
        let heard = Arc::clone(&heard);
        Mutex::new(move |n| {
            heard.lock().unwrap().push(n);
            each(n);
        })
    };
    let broadcast = Broadcast {
        name: "items",
        publisher: "shop".to_owned(),
        types: &["shop.item.counted.v1"],
        lookback: Duration::from_secs(600),
        handler: Arc::new(move |event: &Envelope| {
            let item: ItemCounted = serde_json::from_str(event.data.get()).unwrap();
            let mut each = match each.lock() {
                Ok(each) => each,
                Err(poisoned) => poisoned.into_inner(),
            };
            each(item.n());
        }),
    };
    let bus = a.bus();
    a.call(async move { bus.broadcast(broadcast).await.unwrap() })
        .await;
    heard
}

async fn eventually_heard<T: Transport>(case: &Case<T>, heard: &Heard, expected: &[i64]) {
    case.eventually(&format!("heard {expected:?}"), async || {
        let mut numbers = heard.lock().unwrap().clone();
        numbers.dedup();
        numbers == expected
    })
    .await;
}

pub(crate) async fn every_process_gets_all_of_the_last_while<T: Transport>(case: &Case<T>) {
    let a = case.run(Vec::new()).await;
    for n in 1..=300 {
        a.transact(move |tx| {
            tx.publish(&OrderPlaced::new("order", n));
            if n % 10 == 0 {
                tx.publish(&ItemCounted::new("item", n / 10));
            }
        })
        .await;
    }
    case.settled().await;
    // The first ten are older than what is asked for.
    case.execute(
        "UPDATE shop.log SET sequenced_at = sequenced_at - interval '1 hour' WHERE pos <= 110",
    )
    .await;
    let b = case.run(Vec::new()).await;
    let at_a = listen(&a, |_| {}).await;
    let at_b = listen(&b, |_| {}).await;
    // All of it is there when listening has begun: only then may the process call itself ready.
    let mut expected: Vec<_> = (11..=30).collect();
    assert_eq!(*at_a.lock().unwrap(), expected);
    assert_eq!(*at_b.lock().unwrap(), expected);

    for n in 31..=35 {
        b.publish([ItemCounted::new("item", n), ItemCounted::new("other", n)])
            .await;
        expected.push(n);
    }
    eventually_heard(case, &at_a, &expected).await;
    eventually_heard(case, &at_b, &expected).await;
    a.stop().await;
    b.stop().await;
}

pub(crate) async fn a_panic_in_a_broadcast_costs_that_event_alone<T: Transport>(case: &Case<T>) {
    let a = case.run(Vec::new()).await;
    let heard = listen(&a, |n| {
        if n == 2 {
            panic_quietly("as it was told");
        }
    })
    .await;
    for n in 1..=3 {
        a.publish([ItemCounted::new("item", n)]).await;
    }
    eventually_heard(case, &heard, &[1, 2, 3]).await;
    a.stop().await;
}
