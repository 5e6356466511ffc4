//! Streams and consumers: made once, and changed when they should be otherwise.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::transport::nats::Settings;
use futures::TryStreamExt;

use crate::{
    broker::{Broker, Eye, Over, items, live, reach, settings},
    support::{
        case::Case,
        instance::Instance,
        language::{ItemCounted, Numbered, OrderPlaced, desk, orders},
    },
};

pub(crate) async fn a_second_start_changes_nothing(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    let eye = Eye::on(&settings).await;
    let first = live(case, &settings, &eye).await;
    let before = eye.info().await;
    let second = live(case, &settings, &eye).await;
    let after = eye.info().await;
    assert_eq!(before.created, after.created);
    assert_eq!(before.config, after.config);
    let more = after.state.last_sequence - before.state.last_sequence;
    assert_eq!(more, u64::try_from(second - first).unwrap());
    assert_eq!(after.state.messages, after.state.last_sequence);
    let stream = eye.stream().await.unwrap();
    let consumers: Vec<_> = stream.consumer_names().try_collect().await.unwrap();
    assert_eq!(consumers, ["desk-orders"]);
}

pub(crate) async fn another_configuration_changes_the_stream(case: &Case<Over>) {
    let broker = Broker::start("");
    let before = settings(vec![broker.server.url()]);
    let eye = Eye::on(&before).await;
    live(case, &before, &eye).await;
    let old = eye.info().await;
    let after = Settings {
        keep: Duration::from_secs(7_200),
        max_bytes: Some(1 << 20),
        ..before
    };
    live(case, &after, &eye).await;
    let new = eye.info().await;
    assert_eq!(new.created, old.created);
    assert_eq!(new.state.first_sequence, old.state.first_sequence);
    assert_eq!(new.config.max_age, after.keep);
    assert_eq!(Some(new.config.max_bytes), after.max_bytes);
}

/// One server cannot keep three copies: the reader gets by with the log.
pub(crate) async fn a_stream_that_cannot_be_made_loses_nothing(case: &Case<Over>) {
    let broker = Broker::start("");
    let wanted = Settings {
        replicas: 3,
        ..settings(vec![broker.server.url()])
    };
    reach(case, &wanted);
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish((1..=3).map(|n| OrderPlaced::new("order", n)))
        .await;
    case.settled().await;
    case.assert_once("orders", &["shop.order.placed.v1"]).await;
    assert!(Eye::on(&wanted).await.stream().await.is_none());
    a.stop().await;
}

/// As after a backup was brought back: positions are taken again, by other events.
pub(crate) async fn a_stream_of_another_log_is_made_anew(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    let eye = Eye::on(&settings).await;
    live(case, &settings, &eye).await;
    let old = eye.info().await.created;
    case.empty().await;
    let head = live(case, &settings, &eye).await;
    let stream = eye.info().await;
    assert!(stream.created > old);
    assert!(stream.state.messages <= u64::try_from(head).unwrap());
}

/// Two databases of one module under one prefix: staging beside production, a data folder too many.
pub(crate) async fn another_database_of_the_module_is_refused(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    let eye = Eye::on(&settings).await;
    let head = live(case, &settings, &eye).await;
    // As if it had been made anew.
    case.execute("UPDATE shop.head SET log_id = gen_random_uuid()")
        .await;
    let modules = vec![("shop", Vec::new())];
    let refused = Instance::<Over>::try_start(
        &case.database,
        &case.site(),
        crate::support::case::settings(),
        modules,
    )
    .await;
    let error = refused.err().expect("it does not start").to_string();
    assert!(
        error.contains("another database of it is in use"),
        "{error}"
    );
    assert_eq!(eye.end().await, Some(head), "the stream is left alone");
}

pub(crate) async fn copies_outlive_a_server(case: &Case<Over>) {
    let mut brokers = Broker::cluster(3);
    let urls: Vec<_> = brokers.iter().map(|broker| broker.server.url()).collect();
    let one = settings(urls);
    let eye = Eye::on(&one).await;
    live(case, &one, &eye).await;
    let three = Settings { replicas: 3, ..one };
    live(case, &three, &eye).await;
    case.eventually("two more copies, in step", async || {
        let cluster = eye.info().await.cluster.expect("a cluster");
        cluster.replicas.len() == 2 && cluster.replicas.iter().all(|peer| peer.current)
    })
    .await;
    let leader = eye.info().await.cluster.and_then(|cluster| cluster.leader);
    let leader = leader.expect("a leader");
    let leader: usize = leader.trim_start_matches("server-").parse().unwrap();
    brokers[leader].server.kill();
    live(case, &three, &eye).await;
}

/// The broker's rights say who may speak on which subject; the publisher holds the words to it.
pub(crate) async fn a_subscription_is_spoken_for_by_its_own_module(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    reach(case, &settings);
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish([OrderPlaced::new("order", 1)]).await;
    case.settled().await;
    let client = async_nats::connect(&settings.urls).await.unwrap();
    let acknowledged = async |on: &'static str| {
        let question = r#"{"acknowledge":{"subscriber":"desk.orders","pos":99}}"#;
        let answer = client.request(on, question.into()).await.unwrap();
        answer.headers.is_none()
    };
    let known = "SELECT pos FROM shop.cursors WHERE subscription = 'desk.orders'";
    for of_others in ["bus.log.shop", "bus.log.shop.mailer"] {
        assert!(!acknowledged(of_others).await, "{of_others}");
    }
    assert!(case.count(known).await < 99);
    assert!(acknowledged("bus.log.shop.desk").await);
    assert_eq!(case.count(known).await, 99);
    a.stop().await;
}

/// Keys of tokens travel as broadcasts.
pub(crate) async fn a_forged_message_is_heard_by_nobody(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    let eye = Eye::on(&settings).await;
    reach(case, &settings);
    let a = case.run(vec![orders(desk("orders"))]).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let broadcast = items({
        let heard = Arc::clone(&heard);
        move |event| heard.lock().unwrap().push(event.data.get().to_owned())
    });
    let bus = a.bus();
    a.call(async move { bus.broadcast(broadcast).await.unwrap() })
        .await;
    let heard_of = async |count: usize| {
        let mut seen = Vec::new();
        case.eventually("it is heard", || {
            seen.clone_from(&heard.lock().unwrap());
            let holds = seen.len() >= count;
            async move { holds }
        })
        .await;
        seen
    };
    a.publish([ItemCounted::new("item", 1)]).await;
    let first = heard_of(1).await;
    let pos = case.count("SELECT pos FROM shop.head").await;
    case.eventually("it is in the stream", async || eye.end().await == Some(pos))
        .await;

    // By whoever has got a message into the stream: the next position, of something that never was.
    let stream = eye.stream().await.unwrap();
    let last = stream.cached_info().state.last_sequence;
    let real = stream.get_raw_message(last).await.unwrap();
    let forged = String::from_utf8(real.payload.to_vec()).unwrap();
    let forged = forged.replace(&format!("\"pos\":{pos}"), &format!("\"pos\":{}", pos + 1));
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Banyan-Pos", (pos + 1).to_string());
    headers.insert("Banyan-Id", "01a1ff5d-745e-7247-9ae1-f125a190360d");
    let client = async_nats::connect(&settings.urls).await.unwrap();
    client
        .publish_with_headers(real.subject.to_string(), headers, forged.into())
        .await
        .unwrap();
    client.flush().await.unwrap();
    let after = async || eye.end().await == Some(pos + 1);
    case.eventually("it is among the others", after).await;

    a.publish([ItemCounted::new("item", 2)]).await;
    let all = heard_of(2).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0] == first[0] && all[1].contains('2'), "{all:?}");
    a.stop().await;
}

/// What a question names as the place of its answer is the asker's to choose.
pub(crate) async fn answers_go_to_no_stream_and_not_to_the_server(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    let eye = Eye::on(&settings).await;
    reach(case, &settings);
    let a = case.run(vec![orders(desk("orders"))]).await;
    a.publish([OrderPlaced::new("order", 1)]).await;
    case.settled().await;
    case.eventually("it is in the stream", async || eye.end().await == Some(1))
        .await;
    let client = async_nats::connect(&settings.urls).await.unwrap();
    // The refusal of the second would be an empty message, which is how a stream is deleted.
    for (to, question) in [
        ("bus.evt.shop.order", "\"head\""),
        ("$JS.API.STREAM.DELETE.bus_shop", "{"),
    ] {
        client
            .publish_with_reply("bus.log.shop", to, question.into())
            .await
            .unwrap();
    }
    // A few are answered side by side: after so many more, those two are done with as well.
    for _ in 0..32 {
        let head = client.request("bus.log.shop", "\"head\"".into());
        assert_eq!(head.await.unwrap().payload, "1");
    }
    assert_eq!(eye.info().await.state.last_sequence, 1);
    a.stop().await;
}

pub(crate) async fn a_stream_that_another_wrote_to_is_made_anew(case: &Case<Over>) {
    let broker = Broker::start("");
    let settings = settings(vec![broker.server.url()]);
    let eye = Eye::on(&settings).await;
    live(case, &settings, &eye).await;
    let old = eye.info().await.created;
    let client = async_nats::connect(&settings.urls).await.unwrap();
    client
        .publish("bus.evt.shop.order", "of no position".into())
        .await
        .unwrap();
    case.eventually("it is in the stream", async || eye.end().await.is_none())
        .await;
    live(case, &settings, &eye).await;
    assert!(eye.info().await.created > old);
}
