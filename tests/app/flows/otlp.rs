//! Log records of other services, as OpenTelemetry's shippers send them.

use std::io::Write;

use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::TestApp;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const WRITE: &str = "logs:write";

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn accepted(self) -> ExportLogsServiceResponse {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers["content-type"], PROTOBUF);
        ExportLogsServiceResponse::decode(&*self.body).expect("an answer in protobuf")
    }
}

async fn post(
    app: &TestApp,
    token: &str,
    content_type: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut request = app
        .http
        .post(format!("{}/otlp/v1/logs", app.url))
        .bearer_auth(token)
        .header("content-type", content_type)
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("the application answers");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.expect("a whole answer").to_vec(),
    }
}

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Any::StringValue(text.to_owned())),
    })
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: text(value),
        ..KeyValue::default()
    }
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        severity_number: 17,
        body: text(message),
        ..LogRecord::default()
    }
}

fn request(service: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", service)],
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "shop.cart".to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(plain).expect("into memory");
    writer.finish().expect("into memory")
}

/// What an administrator finds, oldest first.
async fn found(app: &TestApp, query: &str) -> Vec<Value> {
    let admin = app
        .admin(&format!("{}@example.com", app.edge().world.uuid()))
        .await;
    app.settle().await;
    let page = app
        .get(&format!("/api/v1/logs?{query}"), &admin.access_token)
        .await
        .expect(200)
        .json();
    let mut items = page["items"].as_array().expect("a list").clone();
    items.reverse();
    items
}

#[tokio::test]
async fn records_in_protobuf_are_stored_as_they_were() {
    let app = TestApp::start().await;
    let token = app.service_token("shop", WRITE);
    let mut full = record("the till is open");
    full.attributes = vec![attribute("till", "7"), attribute("a\0b", "c\0d")];
    full.trace_id = vec![0xab; 16];
    full.span_id = vec![0xcd; 8];
    full.severity_number = 21;
    full.severity_text = "FATAL".into();
    // The year 1970, as from a clock that was never set.
    full.time_unix_nano = 1_000_000_007;
    let body = gzip(&request("shop", vec![full, record("second")]).encode_to_vec());
    let gzipped = [("content-encoding", "gzip")];
    let answer = post(&app, &token, PROTOBUF, &gzipped, body).await;
    assert_eq!(answer.accepted(), ExportLogsServiceResponse::default());

    let items = found(&app, "service=shop").await;
    // The first is filed under the time it was stored at.
    let [second, first] = &items[..] else {
        panic!("two records: {items:#?}")
    };
    assert_eq!(first["message"], "the till is open");
    assert_eq!(first["level"], "error");
    assert_eq!(first["target"], "shop.cart");
    assert_eq!(first["trace_id"], "ab".repeat(16));
    assert_eq!(first["span_id"], "cd".repeat(8));
    assert_eq!(first["skewed_time"], "1970-01-01T00:00:01Z");
    assert_eq!(
        first["fields"],
        json!({ "till": "7", "a\u{2400}b": "c\u{2400}d", "severity_text": "FATAL" })
    );
    assert_eq!(second["message"], "second");
}

#[tokio::test]
async fn records_in_json_are_stored_and_a_bad_one_is_refused_alone() {
    let app = TestApp::start().await;
    let token = app.service_token("shop", WRITE);
    // What is not known is passed over; numbers of 64 bits may be strings.
    let body = json!({ "resourceLogs": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "checkout" } },
            { "key": "host.name", "value": { "stringValue": "till-7" } },
        ] },
        "scopeLogs": [{
            "scope": null,
            "logRecords": [
                {
                    "timeUnixNano": "0", "observedTimeUnixNano": 0, "severityText": "Warning",
                    "traceId": "5B8EFFF798038103D269B633813FC60C", "novel": [{}],
                    "body": { "kvlistValue": { "values": [
                        { "key": "paid", "value": { "boolValue": false } } ] } },
                    "attributes": [
                        { "key": "cents", "value": { "intValue": "1999" } },
                        { "key": "code.namespace", "value": { "stringValue": "shop.Till" } },
                    ],
                },
                { "body": { "stringValue": 7 } },
                { "body": { "stringValue": "nul \u{0}" } },
            ],
        }],
    }] });
    let answer = post(&app, &token, JSON, &[], body.to_string().into_bytes()).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &JSON.parse().unwrap())
    );
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1");
    assert!(
        answer["partialSuccess"]["errorMessage"]
            .as_str()
            .unwrap()
            .contains("integer `7`")
    );

    let items = found(&app, "service=shop/checkout").await;
    assert_eq!(items.len(), 2, "{items:#?}");
    assert_eq!(items[0]["message"], r#"{"paid":false}"#);
    assert_eq!(items[0]["level"], "warn");
    assert_eq!(items[0]["target"], "shop.Till");
    assert_eq!(items[0]["trace_id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(items[0]["fields"]["cents"], 1999);
    assert_eq!(items[0]["fields"]["host.name"], "till-7");
    assert_eq!(items[1]["message"], "nul \u{2400}");

    let empty = post(&app, &token, JSON, &[], b"{}".to_vec()).await;
    assert_eq!((empty.status, &*empty.body), (200, &b"{}"[..]));
}

#[tokio::test]
async fn a_batch_that_comes_again_is_stored_once() {
    let app = TestApp::start().await;
    let token = app.service_token("shop", WRITE);
    let mut batch = request("shop", vec![record("once")]).encode_to_vec();
    // A record whose text is no UTF-8: refused, at each attempt alike.
    let mut bad = request("shop", vec![record("????")]).encode_to_vec();
    let at = bad.windows(4).position(|w| w == b"????").unwrap();
    bad[at] = 0xff;
    batch.extend(bad);
    let key = [(
        "idempotency-key",
        "\"0198c0de-0000-7000-8000-000000000001\"",
    )];
    let send = || post(&app, &token, PROTOBUF, &key, batch.clone());
    for answer in [tokio::join!(send(), send()), tokio::join!(send(), send())] {
        for answer in [answer.0, answer.1] {
            let partial = answer.accepted().partial_success.expect("one is refused");
            assert_eq!(partial.rejected_log_records, 1);
        }
    }
    assert_eq!(app.count("logging.records").await, 1);

    // Another's key is another key.
    let other = app.service_token("bakery", WRITE);
    post(&app, &other, PROTOBUF, &key, batch.clone())
        .await
        .accepted();
    assert_eq!(app.count("logging.records").await, 2);

    // Keys are kept for a day.
    app.run_job("manage_partitions").await;
    assert_eq!(app.count("logging.received_batches").await, 2);
    sqlx::query("UPDATE logging.received_batches SET received_at = now() - interval '25 hours'")
        .execute(&app.admin_of("logging"))
        .await
        .unwrap();
    app.run_job("manage_partitions").await;
    assert_eq!(app.count("logging.received_batches").await, 0);
}

#[tokio::test]
async fn nobody_poses_as_a_module() {
    let app = TestApp::start().await;
    let body = request("identity", vec![record("a forged word")]).encode_to_vec();
    for (id, scope) in [("shop", WRITE), ("identity", WRITE)] {
        let token = app.service_token(id, scope);
        post(&app, &token, PROTOBUF, &[], body.clone())
            .await
            .accepted();
    }
    assert_eq!(found(&app, "service=identity").await, Vec::<Value>::new());
    assert_eq!(found(&app, "service=shop/identity").await.len(), 1);
    assert_eq!(found(&app, "service=identity/identity").await.len(), 1);

    let ours = app.service_token("gateway-1", "logs:write logs:write:internal");
    post(&app, &ours, PROTOBUF, &[], body.clone())
        .await
        .accepted();
    assert_eq!(found(&app, "service=identity").await.len(), 1);

    let reader = app.service_token("shop", "logs:read");
    assert_eq!(post(&app, &reader, PROTOBUF, &[], body).await.status, 403);
}

#[tokio::test]
async fn what_is_too_large_or_cannot_be_read_is_refused() {
    let app = TestApp::with(&[("BANYAN__LOGGING__OTLP_MAX_BYTES", "500000")]).await;
    let token = app.service_token("shop", WRITE);
    let gzipped = [("content-encoding", "gzip")];
    // 20 MB of one letter, in 20 kB.
    let bomb = gzip(&request("shop", vec![record(&"x".repeat(20_000_000))]).encode_to_vec());
    assert!(bomb.len() < 50_000);
    // Two bytes each, which would decode to hundreds of times that.
    let many = request("shop", vec![LogRecord::default(); 40_000]).encode_to_vec();
    let deep = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{}1{}}}]}}]}}]}}"#,
        r#"{"arrayValue":{"values":["#.repeat(5_000),
        "]}}".repeat(5_000)
    );
    let cut = gzip(&request("shop", vec![record("cut")]).encode_to_vec());
    let cut = cut[..cut.len() - 9].to_vec();
    let bad_key = [("idempotency-key", "7")];
    let brotli = [("content-encoding", "br")];
    for (status, content_type, headers, body) in [
        (413, PROTOBUF, &gzipped[..], bomb),
        (413, PROTOBUF, &[], vec![b'x'; 500_001]),
        (413, PROTOBUF, &[], many),
        (400, PROTOBUF, &gzipped, cut),
        (400, PROTOBUF, &gzipped, b"no gzip".to_vec()),
        (400, PROTOBUF, &[], b"no protobuf".to_vec()),
        (400, PROTOBUF, &bad_key, Vec::new()),
        (400, JSON, &[], b"{\"resourceLogs\":[".to_vec()),
        (400, JSON, &[], b"7".to_vec()),
        (415, PROTOBUF, &brotli, Vec::new()),
        (415, "text/plain", &[], b"{}".to_vec()),
    ] {
        let answer = post(&app, &token, content_type, headers, body).await;
        assert_eq!(
            answer.status,
            status,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let expected = match content_type {
            PROTOBUF => PROTOBUF,
            _ => "application/problem+json",
        };
        assert_eq!(answer.headers["content-type"], expected);
        assert!(!answer.body.is_empty());
    }
    let answer = post(&app, &token, JSON, &[], deep.into_bytes()).await;
    assert_eq!(answer.status, 200);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1");
    assert_eq!(app.count("logging.records").await, 0);
}

#[tokio::test]
async fn when_the_store_is_behind_shippers_are_told_to_come_again() {
    let app = TestApp::with(&[("BANYAN__LOGGING__OTLP_CONCURRENCY", "1")]).await;
    let token = app.service_token("shop", WRITE);
    // Whoever enters the key holds it, and the batch with it waits.
    let mut tx = app.admin_of("logging").begin().await.unwrap();
    sqlx::query(
        "INSERT INTO logging.received_batches (sender, key, rejected)
         VALUES ('service:shop', '0198c0de-0000-7000-8000-000000000002', 0)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let key = [("idempotency-key", "0198c0de-0000-7000-8000-000000000002")];
    let body = request("shop", vec![record("waits")]).encode_to_vec();
    let waiting = post(&app, &token, PROTOBUF, &key, body.clone());
    let refused = async {
        loop {
            let answer = post(&app, &token, PROTOBUF, &[], body.clone()).await;
            if answer.status == 503 {
                break answer;
            }
        }
    };
    let release = async {
        let refused = refused.await;
        tx.rollback().await.unwrap();
        refused
    };
    let (waited, refused) = tokio::join!(waiting, release);
    assert_eq!(refused.headers["retry-after"], "2");
    waited.accepted();
    assert!(!found(&app, "text=waits").await.is_empty());
}
