//! Log records, from the buffer to the administrator.

use kernel::telemetry::LogRecord;

use crate::support::TestApp;

fn record(message: &str, level: tracing::Level) -> LogRecord {
    LogRecord {
        time: kernel::World::system().now(),
        level,
        service: "identity".into(),
        target: "identity::http".into(),
        message: message.to_owned(),
        fields: serde_json::Map::new(),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        span_id: None,
    }
}

#[tokio::test]
async fn records_are_stored_and_found() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    app.host_of("logging")
        .logs
        .push(record("a needle in the hay", tracing::Level::WARN));
    app.host_of("logging")
        .logs
        .push(record("100% _hay_", tracing::Level::INFO));
    app.host_of("logging").logs.push(record(
        "nul \u{2400} \u{1b}[31m <script>",
        tracing::Level::ERROR,
    ));
    app.settle().await;
    let search = async |query: &str| {
        let page = app
            .get(&format!("/api/v1/logs?{query}"), &admin.access_token)
            .await;
        let page = page.expect(200).json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(search("text=needle").await, ["a needle in the hay"]);
    assert_eq!(search("text=100%25").await, ["100% _hay_"]);
    assert_eq!(search("text=_hay_").await, ["100% _hay_"]);
    let warnings = search("level=warn&service=identity").await;
    assert_eq!(
        warnings,
        ["nul \u{2400} \u{1b}[31m <script>", "a needle in the hay"]
    );
    let trace = "trace_id=4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(search(trace).await.len(), 3);

    // Summaries of the pages so far neither hide what is there nor what comes next.
    app.run_job("manage_partitions").await;
    assert_eq!(search(trace).await.len(), 3);
    app.host_of("logging")
        .logs
        .push(record("after the job", tracing::Level::INFO));
    app.settle().await;
    assert_eq!(search(trace).await.len(), 4);
    let none = app
        .get("/api/v1/logs?level=loud", &admin.access_token)
        .await;
    none.problem(422, "validation-failed");
}
