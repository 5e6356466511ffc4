//! Log records, from the buffer to the administrator.

use kernel::telemetry::LogRecord;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

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

/// Sends lines as a service.
async fn send(app: &TestApp, token: &str, lines: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
    let mut request = app
        .http
        .post(format!("{}/api/v1/logs", app.url))
        .bearer_auth(token)
        .body(lines);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("the application answers");
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a whole answer"),
    }
}

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// The messages that a query finds, newest first.
async fn messages(app: &TestApp, token: &str, query: &str) -> Vec<String> {
    let mut url = url::Url::parse("http://x/api/v1/logs").unwrap();
    url.query_pairs_mut().append_pair("q", query);
    let path = &url[url::Position::BeforePath..];
    let page = app.get(path, token).await.expect(200).json();
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["message"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn lines_are_stored_and_bad_ones_refused_alone() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    let token = app.service_token("shop", "logs:write");
    let lines = "{\"message\":\"one\",\"level\":\"error\"}\nno JSON\n{\"message\":\"two\"}\n";
    let key = ("idempotency-key", "0198c0de-0000-7000-8000-000000000001");
    for _ in 0..2 {
        let answer = send(&app, &token, lines.into(), &[NDJSON, key]).await;
        let answer = answer.expect(200).json();
        assert_eq!(
            (&answer["accepted"], &answer["rejected"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(answer["errors"][0]["line"], 2);
    }
    assert_eq!(
        messages(&app, &admin.access_token, "service:shop")
            .await
            .len(),
        2
    );
    let found = messages(&app, &admin.access_token, "service:shop level:warn").await;
    assert_eq!(found, ["one"]);

    // Nobody poses as a module, and nobody writes without the scope.
    let forged = json!({ "message": "a forged word", "service": "identity" }).to_string();
    send(&app, &token, forged.clone().into(), &[NDJSON])
        .await
        .expect(200);
    let found = messages(&app, &admin.access_token, "forged service:identity").await;
    assert!(found.is_empty(), "{found:?}");
    let reader = app.service_token("shop", "logs:read");
    let answer = send(&app, &reader, forged.into(), &[NDJSON]).await;
    answer.problem(403, "forbidden");
    let json = ("content-type", "application/json");
    let answer = send(&app, &token, Vec::new(), &[json]).await;
    answer.problem(415, "unsupported-media-type");
    let answer = send(&app, &token, vec![b'x'; 4_200_000], &[NDJSON]).await;
    answer.problem(413, "payload-too-large");
    let answer = send(&app, &token, "{}\n".repeat(40_000).into(), &[NDJSON]).await;
    answer.problem(413, "payload-too-large");
    app.settle().await;
}

#[tokio::test]
async fn what_the_search_box_says_is_looked_for() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    let token = app.service_token("shop", "logs:write");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let lines = [
        json!({ "message": "the till is open", "user.id": 7, "till": { "no": "9" } }),
        json!({ "message": "100% of _all_ \"quoted\"", "level": "warn", "trace_id": trace }),
        json!({ "message": "till closed", "level": "error", "note": "a\\b", "user.id": 8 }),
    ];
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    send(&app, &token, lines.join("\n").into(), &[NDJSON])
        .await
        .expect(200);
    let search = async |query: &str| {
        let query = format!("service:shop {query}");
        messages(&app, &admin.access_token, &query).await.len()
    };
    for (query, count) in [
        ("", 3),
        ("TILL", 2),
        ("till -open", 1),
        ("-till", 1),
        ("\"the till\"", 1),
        ("100% _all_ \"\\\"quoted\\\"\"", 1),
        ("user.id=7", 1),
        ("-user.id=7", 2),
        ("till.no=9", 1),
        ("till.no=8", 0),
        ("note=\"a\\\\b\"", 1),
        ("level:warn", 2),
        (&format!("trace:{trace}"), 1),
        (&format!("-trace:{trace}"), 2),
        ("-service:shop", 0),
        ("after:1h", 3),
        ("before:1h", 0),
    ] {
        assert_eq!(search(query).await, count, "{query}");
    }
    for query in ["q=levle:x", "q=%22open", "q=after:soon", "q=-level:warn"] {
        for path in ["/api/v1/logs", "/api/v1/logs/histogram"] {
            let answer = app
                .get(&format!("{path}?{query}"), &admin.access_token)
                .await;
            answer.problem(422, "validation-failed");
        }
    }
    for query in ["q=%00", "text=%00"] {
        let path = format!("/api/v1/logs?{query}");
        let answer = app.get(&path, &admin.access_token).await;
        answer.problem(400, "malformed-request");
    }
    let counts = app
        .get("/api/v1/logs/histogram?q=service:shop", &admin.access_token)
        .await
        .expect(200)
        .json();
    let buckets = counts["buckets"].as_array().unwrap();
    assert!(buckets.len() <= 60);
    let sum = |level: &str| {
        buckets
            .iter()
            .map(|b| b[level].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!((sum("error"), sum("warn"), sum("info")), (1, 1, 1));
    assert_eq!(counts["approximate"], false);
    app.settle().await;
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_given_up() {
    let app = TestApp::with(&[("BANYAN__LOGGING__SEARCH_TIMEOUT_SECONDS", "1")]).await;
    let admin = app.admin("root@example.com").await;
    let mut tx = app.admin_of("logging").begin().await.unwrap();
    sqlx::query("LOCK TABLE logging.records IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();
    for path in ["/api/v1/logs?q=x", "/api/v1/logs/histogram"] {
        let answer = app.get(path, &admin.access_token).await;
        answer.problem(504, "query-too-slow");
    }
    tx.rollback().await.unwrap();
    app.settle().await;
}

/// Whatever somebody writes, wherever it comes in, it is stored and found, and harms nobody.
#[tokio::test]
async fn wild_records_do_no_harm() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    let token = app.service_token("shop", "logs:write");
    let wild = "wild \0 \u{1b}[31m\u{202e} <script>alert(1)</script> \r\n=1+1";
    let times = [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2150-01-01T00:00:00Z",
    ];
    for time in times {
        let line = json!({
            "message": wild, "time": time, "k\0ey": wild, "nested": { "a\0": [wild] },
            "long": "x".repeat(100_000),
        });
        let answer = send(&app, &token, line.to_string().into(), &[NDJSON]).await;
        assert_eq!(answer.expect(200).json()["accepted"], 1);
        let ns = if time.starts_with("2150") {
            u64::MAX
        } else {
            1
        };
        let text = json!({ "stringValue": wild });
        let record = json!({
            "timeUnixNano": ns.to_string(), "body": text,
            "attributes": [{ "key": "k\0ey", "value": text }],
        });
        let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] });
        app.send(
            reqwest::Method::POST,
            "/otlp/v1/logs",
            Some(&token),
            Some(body),
            &[],
        )
        .await
        .expect(200);
        let mut own = record_of_ours(wild, time);
        own.fields
            .insert("nested".to_owned(), json!({ "a\0": [wild] }));
        app.host_of("logging").logs.push(own);
    }
    app.settle().await;
    for query in [
        "wild",
        "wild -nothing=7",
        "\u{1b}[31m",
        "nested.a\u{2400}.0=x -x=y",
    ] {
        let found = messages(&app, &admin.access_token, query).await;
        let expected = if query.starts_with("nested") { 0 } else { 9 };
        assert_eq!(found.len(), expected, "{query}");
    }
    let path = "/api/v1/logs?q=service:shop";
    let page = app.get(path, &admin.access_token).await.expect(200).json();
    for item in page["items"].as_array().unwrap() {
        assert!(item["skewed_time"].is_string(), "{item}");
        assert_eq!(item["message"], wild.replace('\0', "\u{2400}"));
    }
    // No partition of its own for each.
    assert!(app.count("logging.records").await >= 9);
    let partitions: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'logging.records'::regclass",
    )
    .fetch_one(&app.admin_of("logging"))
    .await
    .unwrap();
    assert!(partitions < 20, "{partitions}");
}

fn record_of_ours(message: &str, time: &str) -> LogRecord {
    let time = time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339);
    LogRecord {
        time: time.unwrap(),
        ..record(message, tracing::Level::INFO)
    }
}

/// Longer than the comments that keep a stream alive are apart.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A live tail that is read.
struct Reader {
    response: reqwest::Response,
    text: String,
}

impl Reader {
    async fn open(app: &TestApp, token: &str, query: &str) -> Self {
        let url = format!("{}/api/v1/logs/tail?{query}", app.url);
        let response = app.http.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let text = String::new();
        let mut reader = Self { response, text };
        reader.until("event: ready").await;
        reader
    }

    /// Reads until this has come; false when the stream ends before.
    async fn until(&mut self, expected: &str) -> bool {
        while !self.text.contains(expected) {
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            match chunk.await.expect("something comes").expect("a stream") {
                Some(chunk) => self.text.push_str(&String::from_utf8_lossy(&chunk)),
                None => return false,
            }
        }
        true
    }
}

#[tokio::test]
async fn the_tail_shows_what_is_stored_as_it_is_stored() {
    let app = TestApp::with(&[("BANYAN__LOGGING__TAILS_TOTAL", "2")]).await;
    let admin = app.admin("root@example.com").await;
    let token = app.service_token("shop", "logs:write");
    let mut all = Reader::open(&app, &admin.access_token, "q=service:shop").await;
    let mut few = Reader::open(&app, &admin.access_token, "q=needle+level:warn").await;
    let third = app.get("/api/v1/logs/tail", &admin.access_token).await;
    third.problem(429, "too-many-streams");
    let wrong = app
        .get("/api/v1/logs/tail?q=levle:x", &admin.access_token)
        .await;
    wrong.problem(422, "validation-failed");

    let line = json!({ "message": "one", "time": "1970-01-01T00:00:00Z" }).to_string();
    send(&app, &token, line.into(), &[NDJSON]).await.expect(200);
    app.host_of("logging")
        .logs
        .push(record("a needle", tracing::Level::ERROR));
    app.settle().await;
    assert!(all.until("\"message\":\"one\"").await);
    assert!(few.until("\"message\":\"a needle\"").await);
    assert!(!few.text.contains("\"one\"") && !all.text.contains("needle"));

    // More than is sent at once is counted.
    let many = "{\"message\":\"many\"}\n".repeat(1_000);
    send(&app, &token, many.into(), &[NDJSON]).await.expect(200);
    assert!(all.until("{\"dropped\":800}").await, "{}", all.text.len());
    assert_eq!(all.text.matches("\"message\":\"many\"").count(), 200);

    // The right to it ends, and so does the stream.
    let ended = app.send(
        reqwest::Method::POST,
        "/api/v1/auth/logout",
        Some(&admin.access_token),
        Some(json!({ "refresh_token": admin.refresh_token })),
        &[],
    );
    ended.await.expect(204);
    app.settle().await;
    send(&app, &token, "{\"message\":\"after\"}".into(), &[NDJSON])
        .await
        .expect(200);
    assert!(!all.until("\"message\":\"after\"").await);
    drop(few);
    app.settle().await;
}

/// Two instances on one database: what one stores, the other's listeners see.
#[tokio::test]
async fn the_tail_works_across_instances() {
    let app = TestApp::start().await;
    let admin = app.admin("root@example.com").await;
    app.settle().await;
    let other = TestApp::on(&app.databases, &[]).await;
    // As the host runs it beside the requests.
    let calls = |app: &TestApp| {
        let mut hosted = app.hosted();
        let logging = hosted.find(|hosted| hosted.db.module() == "logging");
        let attached = logging.expect("it is hosted").attached.clone();
        tokio::spawn(async move { attached.run_wakeup().await })
    };
    let running = [calls(&app), calls(&other)];
    let mut tail = Reader::open(&other, &admin.access_token, "q=service:shop").await;
    let token = app.service_token("shop", "logs:write");
    // Until the one hears the other.
    let sending = async {
        loop {
            send(&app, &token, "{\"message\":\"afar\"}".into(), &[NDJSON])
                .await
                .expect(200);
        }
    };
    tokio::select! {
        came = tail.until("\"message\":\"afar\"") => assert!(came),
        () = sending => {}
    }
    for task in running {
        task.abort();
    }
    drop(tail);
    app.settle().await;
    other.settle().await;
}
