//! A module that is away while others go on.

use std::time::Duration;

use serde_json::Value;

use super::{PATIENCE, load, soak};
use crate::support::{PASSWORD, split::Split};

/// Registers; the mails are not waited for.
async fn register(http: &reqwest::Client, url: &str, n: usize) -> u16 {
    let body =
        serde_json::json!({ "email": format!("early{n}@example.com"), "password": PASSWORD });
    let answer = http
        .post(format!("{url}/api/v1/auth/registrations"))
        .json(&body)
        .send()
        .await
        .expect("an answer");
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_of_an_outage_go_out_once_when_it_ends() {
    let total = if soak() { 1_000 } else { 60 };
    let mut split = Split::start().await;
    split.kill("notification").await;
    let http = reqwest::Client::new();
    for n in 0..total {
        assert_eq!(register(&http, &split.url, n).await, 202);
    }
    let begun = std::time::Instant::now();
    let ready = loop {
        let answer = http.get(format!("{}/health/ready", split.url)).send();
        let answer = answer.await.expect("the gateway answers");
        assert_eq!(answer.status(), 200, "the gateway is ready");
        let ready: Value = answer.json().await.expect("JSON");
        if ready["status"] == "degraded" {
            break ready;
        }
        assert!(begun.elapsed() < PATIENCE, "{ready}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(ready["modules"]["notification"]["status"], "down");
    assert_eq!(ready["modules"]["profile"]["status"], "ready");
    let refused = http
        .get(format!("{}/dev/mailbox/messages", split.url))
        .send()
        .await
        .expect("the gateway answers");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));

    split.start_again("notification");
    split.all_ready().await;
    let mut conn = split.database("notification").await;
    let begun = std::time::Instant::now();
    let sent = "SELECT count(*) FROM notification.deliveries WHERE status = 'sent'";
    loop {
        let sent: i64 = sqlx::query_scalar(sent)
            .fetch_one(&mut conn)
            .await
            .expect("a count");
        if usize::try_from(sent).is_ok_and(|sent| sent == total) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{sent} mails of {total} sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "{total} registrations, {total} mails {:.1} s after its return",
        begun.elapsed().as_secs_f32()
    );
    let addresses: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT address) FROM notification.deliveries")
            .fetch_one(&mut conn)
            .await
            .expect("a count");
    assert_eq!(
        usize::try_from(addresses).expect("positive"),
        total,
        "none twice"
    );
    drop(conn);
    load::assert_consistent(&split, 0).await;
    split.stop().await;
}
