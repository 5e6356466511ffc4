//! Log records of a process without the module logging, to the one that has it, through outages.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::{Router, http::StatusCode, response::IntoResponse, routing::post};
use banyan::shipping::{Counters, Settings, Shipper, TokenSource};
use kernel::{
    Secret, World,
    telemetry::{LogBuffer, LogRecord},
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::support::{
    TestApp,
    relay::{Relay, Wire},
};

const SERVICE: &str = "notification";
const SCOPES: &str = "logs:write logs:write:internal";

struct Token(String);

#[async_trait]
impl TokenSource for Token {
    async fn token(&self) -> anyhow::Result<Secret> {
        Ok(Secret::new(self.0.clone()))
    }

    fn refused(&self, _: &Secret) {}
}

fn settings() -> Settings {
    Settings {
        interval: Duration::from_millis(10),
        spool_max_bytes: 1 << 28,
        retry_base: Duration::from_millis(5),
        retry_max: Duration::from_millis(50),
        timeout: Duration::from_secs(10),
        last_words: Duration::from_secs(10),
    }
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        time: World::system().now(),
        level: Level::INFO,
        service: SERVICE.into(),
        target: "notification::jobs".into(),
        message: message.to_owned(),
        fields: serde_json::Map::new(),
        trace_id: None,
        span_id: None,
    }
}

/// Another process, as far as its log goes.
struct Process {
    logs: Arc<LogBuffer>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Process {
    fn start(settings: Settings, url: &str, token: String, data_dir: &Path) -> Self {
        let logs = Arc::new(LogBuffer::new(10_000));
        let url = url.parse().expect("a URL");
        let (token, world) = (Arc::new(Token(token)), World::system());
        let shipper = Shipper::new(settings, &url, Arc::clone(&logs), token, data_dir, world);
        let shipper = shipper.expect("TLS is there");
        let (counters, stop) = (shipper.counters(), CancellationToken::new());
        let running = tokio::spawn(shipper.run(stop.clone()));
        Self {
            logs,
            counters,
            stop,
            running,
        }
    }

    fn log(&self, messages: impl IntoIterator<Item = u32>) {
        for n in messages {
            self.logs.push(record(&n.to_string()));
        }
    }

    async fn stop(self) -> Arc<Counters> {
        self.stop.cancel();
        self.running.await.expect("it ends in order");
        self.counters
    }
}

#[track_caller]
fn until(holds: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        while !holds().await {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "waited in vain at {caller}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// In the order of arrival.
async fn stored(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT message FROM logging.records WHERE service = $1 ORDER BY id")
        .bind(SERVICE)
        .fetch_all(&app.admin_of("logging"))
        .await
        .expect("the messages")
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn records_arrive_as_they_were_written() {
    let app = TestApp::start().await;
    let token = app.service_token("worker-1", SCOPES);
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(settings(), &app.url, token, folder.path());
    let mut full = record("a \u{1b}[31m <script> \"quoted\"");
    full.level = Level::WARN;
    full.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    full.span_id = Some("00f067aa0ba902b7".into());
    let fields =
        json!({ "user.id": "x", "n": -3, "half": 0.5, "yes": true, "list": [1, {"a": null}] });
    full.fields = fields.as_object().unwrap().clone();
    let time = full.time;
    process.logs.push(full);
    until(async || process.counters.shipped() == 1).await;
    assert_eq!(process.counters.spooled_bytes(), 0);
    process.stop().await;

    let admin = app.admin("root@example.com").await;
    app.settle().await;
    let page = app.get(
        "/api/v1/logs?service=notification&level=warn",
        &admin.access_token,
    );
    let page = page.await.expect(200).json();
    let item = &page["items"][0];
    assert_eq!(item["message"], "a \u{1b}[31m <script> \"quoted\"");
    assert_eq!(item["level"], "warn");
    assert_eq!(item["target"], "notification::jobs");
    assert_eq!(item["fields"], fields);
    assert_eq!(item["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(item["span_id"], "00f067aa0ba902b7");
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    assert_eq!(item["time"], time.format(rfc3339).unwrap());
}

#[tokio::test]
async fn an_outage_loses_nothing_and_doubles_nothing() {
    let app = TestApp::start().await;
    let token = app.service_token("worker-1", SCOPES);
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::to(&app.url, Wire::Cut).await;
    let start = || Process::start(settings(), &relay.url, token.clone(), folder.path());

    // Nothing gets through; the process ends, and another comes.
    let process = start();
    process.log(0..3_000);
    until(async || process.counters.spooled_bytes() > 0).await;
    process.log(3_000..3_100);
    assert_eq!(process.stop().await.shipped(), 0);
    // As kill -9 leaves it in the middle of writing a batch.
    let place = folder.path().join("spool/logs/0");
    std::fs::write(place.join("00000000000000000099.part"), b"BNYSPL").unwrap();
    let process = start();
    assert!(process.counters.spooled_bytes() > 0);
    process.log(3_100..3_200);

    // Batches are stored, and nobody hears of it.
    relay.set(Wire::LosesAnswers);
    until(async || !stored(&app).await.is_empty()).await;
    process.log(3_200..3_300);
    until(async || process.counters.failures() > 1).await;
    assert_eq!(process.counters.shipped(), 0);

    relay.set(Wire::Whole);
    until(async || process.counters.shipped() == 3_300).await;
    until(async || process.counters.spooled_bytes() == 0).await;
    let counters = process.stop().await;
    assert_eq!((counters.dropped(), counters.failures()), (0, 0));
    assert_eq!(stored(&app).await, numbers(0..3_300));
}

#[tokio::test]
async fn what_overflows_is_counted_and_the_counts_arrive() {
    let app = TestApp::start().await;
    let token = app.service_token("worker-1", SCOPES);
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::to(&app.url, Wire::Cut).await;
    let settings = Settings {
        spool_max_bytes: 4 * 4_096,
        ..settings()
    };
    let process = Process::start(settings, &relay.url, token, folder.path());
    let mut logged = 0;
    while process.counters.dropped() < 50 {
        process.log(logged..logged + 10);
        logged += 10;
        until(async || process.logs.is_empty()).await;
    }
    assert!(process.counters.spooled_bytes() <= 4 * 4_096);
    // The count of what was dropped pushes out nothing else.
    let five_failures = async || {
        let failures = process.counters.failures();
        until(async || process.counters.failures() > failures + 5).await;
        process.counters.dropped()
    };
    let dropped = five_failures().await;
    assert_eq!(five_failures().await, dropped);
    relay.set(Wire::Whole);
    until(async || {
        let counters = &process.counters;
        counters.spooled_bytes() == 0 && counters.failures() == 0 && counters.shipped() > 0
    })
    .await;
    let counters = process.stop().await;

    let sum = "SELECT coalesce(sum((fields->>'dropped')::bigint), 0)::bigint FROM logging.records
                WHERE service = $1 AND level = 9 AND target = 'logging::dropped'";
    let noted: i64 = sqlx::query_scalar(sum)
        .bind(SERVICE)
        .fetch_one(&app.admin_of("logging"))
        .await
        .unwrap();
    assert_eq!(u64::try_from(noted).unwrap(), counters.dropped());
    let arrived: Vec<u32> = (stored(&app).await.iter())
        .filter_map(|m| m.parse().ok())
        .collect();
    assert_eq!(arrived.len() as u64 + counters.dropped(), u64::from(logged));
    // The newest are there, in order.
    assert!(arrived.is_sorted());
    assert_eq!(arrived.last(), Some(&(logged - 1)));
}

#[tokio::test]
async fn an_orderly_stop_sends_what_waits() {
    let app = TestApp::start().await;
    let token = app.service_token("worker-1", SCOPES);
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        interval: Duration::from_secs(3_600),
        ..settings()
    };
    let process = Process::start(settings.clone(), &app.url, token.clone(), folder.path());
    process.log(0..5_000);
    let counters = process.stop().await;
    assert_eq!((counters.shipped(), counters.spooled_bytes()), (5_000, 0));
    assert_eq!(stored(&app).await, numbers(0..5_000));

    // No time to send: it is left for the next.
    let hurried = Settings {
        last_words: Duration::ZERO,
        ..settings.clone()
    };
    let process = Process::start(hurried, &app.url, token.clone(), folder.path());
    process.log(5_000..5_010);
    assert!(process.stop().await.spooled_bytes() > 0);
    let process = Process::start(settings, &app.url, token, folder.path());
    until(async || process.counters.spooled_bytes() == 0).await;
    process.stop().await;
    assert_eq!(stored(&app).await, numbers(0..5_010));
}

#[tokio::test]
async fn without_a_scope_or_a_disk_records_wait() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let token = app.service_token("worker-1", "logs:read");
    let process = Process::start(settings(), &app.url, token, folder.path());
    process.log(0..10);
    until(async || process.counters.failures() > 3).await;
    let counters = process.stop().await;
    assert_eq!((counters.shipped(), counters.dropped()), (0, 0));
    assert!(counters.spooled_bytes() > 0);

    // A file is where the folder should be.
    let no_folder = folder.path().join("file");
    std::fs::write(&no_folder, b"").unwrap();
    let token = app.service_token("worker-1", SCOPES);
    let relay = Relay::to(&app.url, Wire::Cut).await;
    let process = Process::start(settings(), &relay.url, token, &no_folder);
    process.log(0..10);
    until(async || process.counters.failures() > 3).await;
    process.log(10..20);
    relay.set(Wire::Whole);
    until(async || process.counters.shipped() == 20).await;
    process.stop().await;
    assert_eq!(stored(&app).await, numbers(0..20));
}

/// A destination that says no in ways that ours does not when it is asked to.
#[tokio::test]
async fn who_is_told_to_wait_waits_and_who_is_refused_goes_on() {
    let attempts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&attempts);
    let answer = move || {
        let attempt = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            match attempt {
                0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
                1 => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
                _ => StatusCode::OK.into_response(),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/behind/a/path/", listener.local_addr().unwrap());
    let router = Router::new().route("/behind/a/path/otlp/v1/logs", post(answer));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(settings(), &url, "a token".into(), folder.path());
    let started = Instant::now();
    process.log(0..10);
    until(async || attempts.load(Ordering::SeqCst) > 1).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    // The batch is gone for good, and the note of it arrives.
    until(async || attempts.load(Ordering::SeqCst) > 2).await;
    let counters = process.stop().await;
    assert_eq!((counters.dropped(), counters.spooled_bytes()), (10, 0));
    serving.abort();
}
