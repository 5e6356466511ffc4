//! Rates, where there is more than one front door.

use std::{sync::Arc, time::Instant};

use kernel::TestClock;
use tokio_util::sync::CancellationToken;

use crate::support::{broker, cluster::Databases, host::Host};

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
        ("BANYAN__GATEWAY__REQUESTS_PER_MINUTE", &per_minute),
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
