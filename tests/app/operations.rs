//! The door for those who run it: what is behind it, and that it is no other.

use std::collections::BTreeSet;

use axum::{Router, extract::Request, response::IntoResponse, routing::post};
use kernel::{Problem, principal::ClientAddress};
use serde_json::json;

use crate::support::{
    TestApp,
    process::{DataDir, banyan},
};

const DOCUMENTED: &str = include_str!("../../docs/operations.md");

async fn get(app: &TestApp, url: &str) -> (u16, String) {
    let answer = app.http.get(url).send().await.expect("it answers");
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a whole answer"))
}

/// The value of a line of metrics whose name and labels are these.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let mut lines = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    lines.next()?.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test]
async fn metrics_tell_of_requests_and_of_the_bus() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.send(reqwest::Method::GET, "/api/v1/profiles/me", None, None, &[])
        .await
        .expect(401);
    let edge = app.edge_operations();
    let (status, text) = get(&app, &format!("{edge}/metrics")).await;
    assert_eq!(status, 200);
    let refused = [r#"module="profile""#, r#"class="read""#, r#"status="4xx""#];
    assert_eq!(
        value(&text, "banyan_http_requests_total", &refused),
        Some(1.0)
    );
    let answered = [r#"module="profile""#, r#"le="+Inf""#];
    let bucket = "banyan_http_request_duration_seconds_bucket";
    assert_eq!(value(&text, bucket, &answered), Some(1.0));
    assert_eq!(
        value(&text, "banyan_http_requests_in_flight", &[]),
        Some(0.0)
    );
    assert!(value(&text, "process_resident_memory_bytes", &[]).unwrap() > 1e6);

    let operations = app.operations_of("profile");
    let (_, text) = get(&app, &format!("{operations}/metrics")).await;
    let profile = [r#"module="profile""#, r#"subscription=""#];
    assert_eq!(
        value(&text, "banyan_subscription_lag_seconds", &profile),
        Some(0.0),
        "{text}"
    );
    assert_eq!(
        value(&text, "banyan_subscription_parked_keys", &profile),
        Some(0.0)
    );
    assert_eq!(value(&text, "banyan_stages_unknown", &[]), Some(0.0));
    assert_eq!(
        value(&text, "banyan_module_up", &[r#"module="profile""#]),
        Some(1.0)
    );
}

#[tokio::test]
async fn every_metric_is_documented_and_none_is_invented() {
    let app = TestApp::start().await;
    app.send(reqwest::Method::GET, "/health/live", None, None, &[])
        .await
        .expect(200);
    let mut told = BTreeSet::new();
    for operations in app.all_operations() {
        let (_, text) = get(&app, &format!("{operations}/metrics")).await;
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        told.extend(names.map(|line| line.split(' ').next().unwrap().to_owned()));
    }
    let rows = DOCUMENTED
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .filter(|name| name.starts_with("banyan_") || name.starts_with("process_"))
        .collect();
    let missing: Vec<_> = told.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:?}");
    // What is told only where there is a shipper, an upstream, or a job that has run.
    let elsewhere = ["banyan_log_", "banyan_upstream_", "banyan_job_"];
    let invented: Vec<_> = documented
        .difference(&told)
        .filter(|name| !elsewhere.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    assert!(
        invented.is_empty(),
        "only in docs/operations.md: {invented:?}"
    );
}

#[tokio::test]
async fn operations_are_nothing_for_people() {
    let app = TestApp::start().await;
    for path in ["/metrics", "/config", "/internal/profile/echo"] {
        app.send(reqwest::Method::GET, path, None, None, &[])
            .await
            .problem(404, "not-found");
    }
    let operations = app.edge_operations();
    let (status, text) = get(&app, &format!("{operations}/config")).await;
    assert_eq!(status, 200);
    assert!(text.contains("[server]") && text.contains("fingerprint:"));
    assert!(!text.contains("AgICAgIC"), "a key is shown");
    assert_eq!(get(&app, &format!("{operations}/health/live")).await.0, 200);
    assert_eq!(get(&app, &format!("{operations}/nowhere")).await.0, 404);
    let (status, _) = get(&app, &format!("{operations}/api/v1/profiles/me")).await;
    assert_eq!(status, 404, "modules' own routes are at the front door");
}

#[tokio::test]
async fn a_module_answers_other_processes_and_nobody_else() {
    let mut app = TestApp::start().await;
    let echo = async |request: Request| {
        let client = request.extensions().get::<ClientAddress>().copied();
        let told = json!({
            "path": request.uri().to_string(),
            "client": client.and_then(|client| client.0),
        });
        axum::Json(told).into_response()
    };
    app.serve_internally("profile", Router::new().route("/echo/{id}", post(echo)));
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let client = ClientAddress(Some("203.0.113.7".parse().unwrap()));
        let request = request.extension(client).body(axum::body::Body::empty());
        app.gateway().ask_module("profile", request.unwrap()).await
    };
    let answer = ask("POST", "/echo/1?x=%2F").await.expect("it answers");
    assert_eq!(answer.status(), 200);
    let body = axum::body::to_bytes(answer.into_body(), 1_000)
        .await
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({ "path": "/echo/1?x=%2F", "client": "203.0.113.7" })
    );
    assert_eq!(
        ask("GET", "/echo/1").await.expect("it answers").status(),
        405
    );
    assert_eq!(
        ask("POST", "/nowhere").await.expect("it answers").status(),
        404
    );
    let unknown = axum::http::Request::new(axum::body::Body::empty());
    let nobody = app.gateway().ask_module("nobody", unknown).await;
    assert_eq!(nobody.expect_err("there is none").status, 503);

    // At the front door there is no such path, whoever hosts the module.
    for url in [&app.url, app.url_of("profile")] {
        let url = format!("{url}/internal/profile/echo/1");
        let answer = app.http.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 404);
    }
    let url = format!("{}/internal/profile/echo/1", app.operations_of("profile"));
    assert_eq!(app.http.post(url).send().await.unwrap().status(), 200);
    let url = format!("{}/internal/nobody/echo/1", app.operations_of("profile"));
    assert_eq!(app.http.post(url).send().await.unwrap().status(), 404);

    app.host_of("profile")
        .slot("profile")
        .unwrap()
        .down("a test took it");
    let refused = match ask("POST", "/echo/1").await {
        Ok(answer) => answer.status(),
        Err(problem) => Problem::status_code(&problem),
    };
    assert_eq!(refused, 503);
}

#[tokio::test]
async fn a_door_that_is_taken_is_named() {
    let folder = DataDir::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = banyan(&folder.0)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env(
            "BANYAN__SERVER__OPERATIONS_LISTEN",
            taken.local_addr().unwrap().to_string(),
        )
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("server.operations_listen"),
        "{error}"
    );
}
