//! A gateway that was told the wrong place.

use std::{sync::Arc, time::Duration};

use kernel::TestClock;
use reqwest::StatusCode;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::{broker, cluster::Databases, host::Host};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_the_module_gets_none_of_its_requests() {
    let databases = Databases::fresh().await;
    let nats = broker::url().await;
    let mut variables = vec![
        ("BANYAN__BUS__TRANSPORT", "nats"),
        ("BANYAN__BUS__NATS__URLS", &*nats),
        ("BANYAN__BUS__NATS__PREFIX", &*databases.name),
    ];
    let (clock, stop) = (Arc::new(TestClock::default()), CancellationToken::new());
    let identity = Host::start(&["identity"], &databases, &variables, None, &clock, &stop).await;
    variables.push(("BANYAN__MODULES__PROFILE__AT", &identity.url));
    let gateway = Host::start(&[], &databases, &variables, None, &clock, &stop).await;

    let get = async |host: &Host, path: &str| {
        let answer = reqwest::get(format!("{}{path}", host.url)).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.json::<Value>().await.unwrap())
    };
    // It says so itself, whoever asks.
    for path in ["/api/v1/profiles/me", "/health/ready?module=profile"] {
        let (status, _, problem) = get(&identity, path).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(problem["type"], "/problems/misdirected");
    }
    // People are not told of it: to them the module is down.
    let (status, headers, problem) = get(&gateway, "/api/v1/profiles/me").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem["type"], "/problems/unavailable");
    assert!(headers.contains_key("retry-after"));
    loop {
        let (_, _, ready) = get(&gateway, "/health/ready").await;
        match ready["modules"]["profile"]["status"].as_str().unwrap() {
            "down" => break,
            "unknown" => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other}"),
        }
    }
    stop.cancel();
}
