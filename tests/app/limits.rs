//! Rates, where there is more than one front door.

use std::{sync::Arc, time::Instant};

use kernel::TestClock;
use tokio_util::sync::CancellationToken;

use crate::support::{TestApp, broker, cluster::Databases, host::Host};

const PER_MINUTE: u32 = 1_200;

/// What two gateways let pass of one client, beside what one would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_holds_across_two_gateways() {
    let databases = Databases::fresh().await;
    let nats = broker::url().await;
    let per_minute = PER_MINUTE.to_string();
    let variables = [
        ("BANYAN__BUS__TRANSPORT", "nats"),
        ("BANYAN__BUS__NATS__URLS", &nats),
        ("BANYAN__BUS__NATS__PREFIX", &databases.name),
        ("BANYAN__GATEWAY__READ_REQUESTS_PER_MINUTE", &per_minute),
        // Nobody is asked for anything there.
        ("BANYAN__MODULES__PROFILE__AT", "http://127.0.0.1:9"),
    ];
    let (clock, stop) = (Arc::new(TestClock::default()), CancellationToken::new());
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(Host::start(&[], &databases, &variables, None, &clock, &stop).await);
    }
    let begun = Instant::now();
    let clients = gateways.iter().map(|gateway| {
        let url = gateway.url.clone();
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            let (mut passed, mut refused) = (0_u32, 0);
            // Until each has refused as many as the limit.
            while refused < PER_MINUTE {
                let answer = http.get(&url).send().await.expect("an answer");
                match answer.status().as_u16() {
                    200 => passed += 1,
                    429 => refused += 1,
                    other => panic!("{other}"),
                }
            }
            passed
        })
    });
    let mut passed = 0;
    for client in clients.collect::<Vec<_>>() {
        passed += client.await.expect("no panic");
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    // A minute's worth at once, and what came free meanwhile.
    let allowed = f64::from(PER_MINUTE) * (1.0 + minutes);
    let share = f64::from(passed) / allowed;
    println!("{passed} passed, of {allowed:.0} allowed: {share:.3}");
    assert!((0.9..1.1).contains(&share), "{passed} of {allowed:.0}");
    stop.cancel();
}

#[tokio::test]
async fn each_caller_has_a_share_and_is_told_what_is_left() {
    const SHARE: usize = 30;
    let app = TestApp::with(&[("BANYAN__GATEWAY__READ_REQUESTS_PER_MINUTE", "30")]).await;
    let ada = app.sign_up("ada@example.com").await;
    let bob = app.sign_up("bob@example.com").await;
    let me = async |token: &str| app.get("/api/v1/auth/me", token).await;
    let mut passed = 0;
    let refused = loop {
        let answer = me(&ada.access_token).await;
        assert_eq!(answer.header("ratelimit-policy"), "\"read\";q=30;w=60");
        assert_eq!(answer.headers.get_all("ratelimit").iter().count(), 1);
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
    };
    // A request more when a token is new, and what comes free meanwhile.
    assert!((SHARE..SHARE + 10).contains(&passed), "{passed}");
    let left = refused.header("ratelimit").to_owned();
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert_eq!(left, format!("\"read\";r=0;t={wait}"));
    refused.problem(429, "too-many-requests");

    for _ in 0..5 {
        me(&bob.access_token).await.expect(200);
    }
    // Whoever makes tokens up is nobody else for it.
    let mut made_up = 0;
    while me(&format!("made.up.{made_up}")).await.status == 401 {
        made_up += 1;
        assert!(made_up < SHARE + 10, "each is counted as another caller");
    }
    me(&bob.access_token).await.expect(200);
}
