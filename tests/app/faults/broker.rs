//! NATS: away, emptied, and slow.

use super::{load, load::Load};
use crate::support::split::{Split, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_may_go_and_come_back_with_nothing() {
    let mut split = Split::start().await;
    let load = Load::start(&split, 3);
    load.more(3).await;
    for emptied in [false, true] {
        tokio::task::block_in_place(|| split.nats.kill());
        // Whoever has an account goes on; codes for new ones wait in identity's log.
        let alive = reqwest::get(format!("{}/health/ready", split.url)).await;
        assert_eq!(alive.expect("the gateway answers").status(), 200);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        if emptied {
            std::fs::remove_dir_all(split.nats.store()).expect("the streams are lost");
        }
        tokio::task::block_in_place(|| split.nats.start_again()).expect("it starts");
        load.more(5).await;
    }
    // As if the network were slow: it stands still, again and again.
    let pid = split.nats.pid().expect("it runs");
    for _ in 0..10 {
        send(pid, "STOP").await;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        send(pid, "CONT").await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    load.more(3).await;
    let people = load.stop().await;
    load::assert_consistent(&split, people).await;
    split.stop().await;
}
