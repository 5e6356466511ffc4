//! The pages of the log and of the audit trail, as an administrator meets them.

use kernel::telemetry::LogRecord;
use serde_json::json;

use super::walker::Walker;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn record(message: &str, level: tracing::Level) -> LogRecord {
    LogRecord {
        time: kernel::World::system().now(),
        level,
        service: "identity".into(),
        target: "identity::http".into(),
        message: message.to_owned(),
        fields: json!({ "user.id": 7, "path": "/a", "long": "word".repeat(60) })
            .as_object()
            .unwrap()
            .clone(),
        trace_id: Some(TRACE.to_owned()),
        span_id: None,
    }
}

fn push(walker: &Walker, message: &str, level: tracing::Level) {
    let logs = &walker.app.host_of("logging").logs;
    logs.push(record(message, level));
}

#[tokio::test]
async fn an_administrator_reads_the_log_and_the_audit_trail() {
    let mut walker = Walker::new().await;
    walker.sign_in_admin().await;
    for n in 0..60 {
        push(&walker, &format!("request {n} done"), tracing::Level::INFO);
    }
    push(&walker, "slow answer", tracing::Level::WARN);
    let wild = "\u{1b}[31m<script>alert(1)</script>\u{202e} failed";
    push(&walker, wild, tracing::Level::ERROR);
    walker.app.settle().await;

    walker.open("/admin/logs").await;
    assert!(walker.browser.text().await.contains("␛[31m<script>"));
    walker
        .browser
        .run("document.querySelector('.line').open = true")
        .await;
    walker.look("admin-logs").await;
    walker.browser.fill("q", "request service:identity").await;
    walker.browser.press("main form.search button").await;
    let text = walker.browser.text().await;
    assert!(text.contains("request 59 done"), "{text}");
    assert!(!text.contains("slow answer"), "{text}");
    walker.browser.press("[rel=next]").await;
    let text = walker.browser.text().await;
    assert!(text.contains("request 0 done") && !text.contains("request 59 done"));
    walker.browser.press("[rel=prev]").await;
    assert!(walker.browser.text().await.contains("request 10 done"));
    walker.open("/admin/logs?q=levle%3Ax").await;
    assert!(walker.browser.text().await.contains("is not known"));
    walker.look("admin-logs-wrong").await;

    // What comes, as it comes.
    walker.open("/admin/logs?q=%22live+word%22").await;
    assert!(walker.browser.text().await.contains("Nothing was found"));
    walker
        .browser
        .run("document.querySelector('[data-tail] button').click()")
        .await;
    while !walker.browser.text().await.contains("as they come") {}
    push(&walker, "no such word", tracing::Level::INFO);
    push(&walker, "a live word", tracing::Level::WARN);
    walker.app.settle().await;
    while !walker.browser.text().await.contains("a live word") {}
    assert!(!walker.browser.text().await.contains("no such word"));
    walker.look("admin-logs-live").await;

    walker.open(&format!("/admin/logs/trace/{TRACE}")).await;
    assert!(walker.browser.text().await.contains("slow answer"));
    walker.look("admin-logs-trace").await;

    walker.open("/admin/audit").await;
    walker.browser.press(".verification button").await;
    walker.app.settle().await;
    walker.open("/admin/audit").await;
    assert!(walker.browser.text().await.contains("intact"));
    walker
        .browser
        .run("document.querySelector('.line').open = true")
        .await;
    walker.look("admin-audit").await;
    walker
        .browser
        .fill("action", "identity.user.registered")
        .await;
    walker.browser.press("main form.search button").await;
    assert!(
        walker
            .browser
            .text()
            .await
            .contains("identity.user.registered.v1")
    );
    walker.open("/admin/audit?trace_id=7").await;
    assert!(walker.browser.text().await.contains("must be 32"));
    let app = walker.done();
    app.settle().await;
}

#[tokio::test]
async fn the_log_is_read_without_scripts_and_by_administrators_alone() {
    let mut walker = Walker::new().await;
    walker.app.sign_up("ada@example.com").await;
    walker.sign_in("ada@example.com").await;
    for path in ["/admin/logs", "/admin/audit"] {
        walker.open(path).await;
        assert!(!walker.browser.text().await.contains("Search"));
    }
    walker.browser.press(".who form button").await;
    walker.sign_in_admin().await;
    push(&walker, "a word", tracing::Level::WARN);
    walker.app.settle().await;
    walker.browser.scripts(false).await;
    walker.open("/admin/logs?level=warn&range=1h").await;
    let text = walker.browser.text().await;
    assert!(text.contains("a word") && !text.contains("Live"), "{text}");
    let app = walker.done();
    app.settle().await;
}
