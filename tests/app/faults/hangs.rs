//! Processes and databases that stand still: they accept, and never answer.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};

use super::{PATIENCE, load, load::Load};
use crate::support::split::{Split, send};

/// How the gateway answers for profiles, and how long it takes.
async fn profile(http: &Client, url: &str) -> (StatusCode, bool, Duration) {
    let begun = Instant::now();
    let answer = http
        .get(format!("{url}/api/v1/profiles/me"))
        .send()
        .await
        .expect("the gateway answers");
    let retry = answer.headers().contains_key("retry-after");
    (answer.status(), retry, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_hangs_is_left_alone_until_it_answers() {
    let mut split = Split::start().await;
    let http = Client::new();
    let load = Load::start(&split, 2);
    load.more(2).await;
    split.signal("profile", "STOP").await;
    // After some patience it is known to be down, and nobody waits for it any more.
    let begun = Instant::now();
    loop {
        let (status, retry, took) = profile(&http, &split.url).await;
        assert!(
            status == StatusCode::UNAUTHORIZED || status.is_server_error() && retry,
            "{status}"
        );
        if status == StatusCode::SERVICE_UNAVAILABLE && took < Duration::from_millis(500) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the breaker opens");
    }
    // Others go on.
    load.more(3).await;
    split.signal("profile", "CONT").await;
    let begun = Instant::now();
    while profile(&http, &split.url).await.0 != StatusCode::UNAUTHORIZED {
        assert!(begun.elapsed() < PATIENCE, "the breaker closes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.more(2).await;
    let people = load.stop().await;
    split.all_ready().await;
    load::assert_consistent(&split, people).await;
    split.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_down_takes_its_module_alone() {
    let mut split = Split::start().await;
    let load = Load::start(&split, 2);
    load.more(2).await;
    for signal in ["STOP", "KILL"] {
        let server = postmaster(&split, "profile");
        send(server, signal).await;
        load.more(3).await;
        if signal == "STOP" {
            send(server, "CONT").await;
        }
        split.all_ready().await;
        load.more(2).await;
    }
    let people = load.stop().await;
    load::assert_consistent(&split, people).await;
    split.stop().await;
}

/// The process of a module's own PostgreSQL.
fn postmaster(split: &Split, module: &str) -> u32 {
    let folder = split.folder(module).join("postgres");
    let file = folder.join("cluster").join("postmaster.pid");
    let text = std::fs::read_to_string(file).expect("a running server");
    text.lines()
        .next()
        .and_then(|pid| pid.parse().ok())
        .expect("a pid")
}
