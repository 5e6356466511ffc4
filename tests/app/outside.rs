//! Services behind the front door by configuration alone.

use std::net::SocketAddr;

use axum::{Router, extract::Request, http::StatusCode, routing::any};
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Answer, TestApp};

/// A service that tells what it was asked.
async fn service() -> SocketAddr {
    let tell = async |request: Request| {
        let (head, body) = request.into_parts();
        let headers: serde_json::Map<_, _> = head
            .headers
            .iter()
            .map(|(n, v)| (n.to_string(), json!(String::from_utf8_lossy(v.as_bytes()))))
            .collect();
        let size = axum::body::to_bytes(body, 1 << 30).await.unwrap().len();
        let target = head.uri.to_string();
        axum::Json(json!({ "target": target, "headers": headers, "bytes": size }))
    };
    serve(Router::new().fallback(tell)).await
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A table of `gateway.routes`.
fn route(name: &str, at: SocketAddr, rest: &str) -> String {
    format!(
        "[[gateway.routes]]\nname = {name:?}\nprefix = \"/{name}\"\n\
         upstream = {{ at = \"http://{at}\" }}\n{rest}\n"
    )
}

async fn get(app: &TestApp, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Answer {
    app.send(Method::GET, path, token, None, headers).await
}

#[tokio::test]
async fn only_those_who_may_call_reach_a_service_and_it_is_told_who_they_are() {
    let at = service().await;
    let app = TestApp::configured(
        &[
            route("open", at, "public = true"),
            route(
                "members",
                at,
                "require_sign_in = true\npass_authorization = true",
            ),
            route("shop", at, "require_scope = \"shop\""),
            route("office", at, "require_role = \"admin\""),
        ]
        .concat(),
    )
    .await;
    let ada = app.sign_up("ada@example.com").await;
    let root = app.admin("root@example.com").await;

    for path in ["/members", "/shop/a", "/office"] {
        get(&app, path, None, &[])
            .await
            .problem(401, "unauthorized");
        get(&app, path, Some("x.y.z"), &[])
            .await
            .problem(401, "invalid-token");
    }
    for path in ["/shop", "/office/"] {
        let refused = get(&app, path, Some(&ada.access_token), &[]).await;
        refused.problem(403, "forbidden");
    }
    let other = app.service_token("robot", "shopping other");
    get(&app, "/shop", Some(&other), &[])
        .await
        .problem(403, "forbidden");

    // Whatever a client says of itself is dropped.
    let lies = [
        ("x-banyan-principal", "user:root"),
        ("x_banyan_principal", "user:root"),
        ("x-banyan-roles", "admin"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-user", "root"),
        ("x-real-ip", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-request-id", "a-known-request"),
    ];
    let seen = |answer: Answer| answer.expect(200).json()["headers"].clone();
    let headers = seen(
        get(
            &app,
            "/shop",
            Some(&app.service_token("robot", "a shop")),
            &lies,
        )
        .await,
    );
    assert_eq!(headers["x-banyan-principal"], "service:robot");
    assert_eq!(headers["x-banyan-scopes"], "a shop");
    assert_eq!(headers["x-banyan-roles"], "");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], headers["host"]);
    assert_eq!(headers["x-request-id"], "a-known-request");
    assert_eq!(headers["traceparent"].as_str().unwrap().len(), 55);
    for name in [
        "x_banyan_principal",
        "x-real-ip",
        "forwarded",
        "x-forwarded-user",
        "authorization",
    ] {
        assert!(headers[name].is_null(), "{name} passed: {headers}");
    }

    let headers = seen(get(&app, "/office", Some(&root.access_token), &lies).await);
    assert_eq!(
        headers["x-banyan-principal"],
        format!("user:{}", root.user_id)
    );
    assert_eq!(headers["x-banyan-roles"], "admin user");
    let headers = seen(get(&app, "/members", Some(&ada.access_token), &[]).await);
    assert_eq!(
        headers["authorization"],
        format!("Bearer {}", ada.access_token)
    );
    // Public: who is known is named, who is not is nobody.
    for token in [None, Some("x.y.z")] {
        let headers = seen(get(&app, "/open", token, &lies).await);
        assert!(headers["x-banyan-principal"].is_null() && headers["authorization"].is_null());
    }
    let headers = seen(get(&app, "/open", Some(&ada.access_token), &lies).await);
    assert_eq!(
        headers["x-banyan-principal"],
        format!("user:{}", ada.user_id)
    );
    app.settle().await;
}

/// Sends bytes on a connection of their own.
async fn raw(app: &TestApp, bytes: &str) -> String {
    let address = app.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_a_connection_names_cannot_take_away_what_the_edge_says() {
    let at = service().await;
    let app = TestApp::configured(&route("members", at, "require_sign_in = true")).await;
    let ada = app.sign_up("ada@example.com").await;
    let answer = raw(
        &app,
        &format!(
            "GET /members HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\
             connection: close, x-banyan-principal, x-forwarded-for, x-request-id\r\n\r\n",
            ada.access_token
        ),
    )
    .await;
    for header in ["x-banyan-principal", "x-forwarded-for", "x-request-id"] {
        assert!(
            answer.contains(&format!("{header:?}:")),
            "{header}: {answer}"
        );
    }
}

#[tokio::test]
async fn requests_are_rewritten() {
    let at = service().await;
    let secret = std::env::temp_dir().join(format!("banyan-outside-{}", std::process::id()));
    std::fs::write(&secret, "from a file\n").unwrap();
    let routes = [
        route("whole", at, "public = true"),
        route(
            "cut",
            at,
            "public = true\nstrip_prefix = true\nremove_headers = [\"cookie\"]",
        ),
        route(
            "moved",
            at,
            &format!(
                "public = true\nrewrite_prefix = \"/api/v2\"\n\
                 set_headers = {{ \"x-key\" = {{ file = {secret:?} }}, \"authorization\" = \"Basic x\" }}"
            ),
        ),
        // The longest prefix counts.
        route("cut-more", at, "require_sign_in = true").replace("/cut-more", "/cut/more"),
    ];
    let app = TestApp::configured(&routes.concat()).await;
    std::fs::remove_file(&secret).unwrap();
    for (path, target) in [
        ("/whole/a%20b?c=d", "/whole/a%20b?c=d"),
        ("/cut", "/"),
        ("/cut/x?y", "/x?y"),
        ("/moved/x", "/api/v2/x"),
    ] {
        let answer = get(&app, path, None, &[]).await.expect(200);
        assert_eq!(answer.json()["target"], target);
        assert!(answer.headers.contains_key("x-request-id"));
    }
    get(&app, "/cut/more/x", None, &[])
        .await
        .problem(401, "unauthorized");
    get(&app, "/cutter", None, &[])
        .await
        .problem(404, "not-found");
    // No other spelling of it comes around the rule.
    for path in [
        "/cut/%6dore/x",
        "/cut//more",
        "/cut/more;a/x",
        "/cut/a%2f..%2fmore",
        "/cut/x\\more",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let line = raw(&app, &request).await;
        assert!(line.starts_with("HTTP/1.1 400 "), "{path}: {line}");
    }
    let dots = raw(
        &app,
        "GET /cut/x/../more HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    );
    assert!(dots.await.starts_with("HTTP/1.1 400 "));

    let cookie = [("cookie", "a=b"), ("authorization", "Bearer mine")];
    let headers = get(&app, "/cut", None, &cookie).await.json()["headers"].clone();
    assert!(headers["cookie"].is_null() && headers["authorization"].is_null());
    let headers = get(&app, "/moved", None, &cookie).await.json()["headers"].clone();
    assert_eq!(headers["cookie"], "a=b");
    assert_eq!(headers["x-key"], "from a file");
    assert_eq!(headers["authorization"], "Basic x");
    let shown = app.edge().config.show();
    assert!(!shown.contains("Basic x"), "{shown}");
}

#[tokio::test]
async fn a_route_has_bounds_of_its_own() {
    let at = service().await;
    let routes = [
        route("seldom", at, "public = true\nrequests_per_minute = 2"),
        route("small", at, "public = true\nmax_body_bytes = 10"),
        route("large", at, "public = true\nmax_body_bytes = 8_000_000"),
    ];
    let app = TestApp::configured(&routes.concat()).await;
    for _ in 0..2 {
        get(&app, "/seldom", None, &[]).await.expect(200);
    }
    let refused = get(&app, "/seldom", None, &[]).await;
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    refused.problem(429, "too-many-requests");
    get(&app, "/small", None, &[]).await.expect(200);

    let post = async |path: &str, body: String| {
        let body = Some(Value::String(body));
        app.send(Method::POST, path, None, body, &[]).await
    };
    post("/small", "x".repeat(9))
        .await
        .problem(413, "payload-too-large");
    let large = post("/large", "x".repeat(6_000_000)).await.expect(200);
    assert_eq!(large.json()["bytes"], 6_000_002);
    // One that does not say how long it is.
    let chunked = "POST /small HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n";
    let answer = raw(&app, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let trace = app.send(Method::TRACE, "/large", None, None, &[]).await;
    trace.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn some_networks_may_come_near_and_others_not() {
    let at = service().await;
    let rules = "[[gateway.networks]]\nprefix = \"/api/v1/audit\"\nallow = [\"10.0.0.0/8\"]\n\
                 [[gateway.networks]]\nprefix = \"/setup\"\ndeny = [\"127.0.0.0/8\"]\n";
    let routes = [
        "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n".to_owned(),
        rules.to_owned(),
        route(
            "inside",
            at,
            "public = true\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.0.0/16\"]",
        ),
        route("outside", at, "public = true\ndeny = [\"10.0.0.0/8\"]"),
    ];
    let app = TestApp::configured(&routes.concat()).await;
    let root = app.admin("root@example.com").await;
    let from = async |path: &str, address: &str| {
        let header = [("x-forwarded-for", address)];
        get(&app, path, Some(&root.access_token), &header).await
    };
    for (path, address, may) in [
        ("/inside", "10.1.1.1", true),
        ("/inside", "10.6.1.1", false),
        ("/inside", "192.0.2.1", false),
        ("/outside", "10.1.1.1", false),
        ("/outside", "192.0.2.1", true),
        ("/api/v1/audit", "10.1.1.1", true),
        ("/api/v1/audit", "192.0.2.1", false),
        ("/api/v1/auth/me", "192.0.2.1", true),
    ] {
        let answer = from(path, address).await;
        if may {
            answer.expect(200);
        } else {
            answer.problem(403, "forbidden");
        }
    }
    get(&app, "/setup", None, &[])
        .await
        .problem(403, "forbidden");
    app.settle().await;
}

#[tokio::test]
async fn a_service_that_is_down_takes_nobody_with_it() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], nats_server::free_port()));
    let rude =
        serve(Router::new().fallback(any(async || (StatusCode::CONFLICT, "plain words")))).await;
    let routes = [
        route("gone", nobody, "public = true"),
        route("rude", rude, "public = true"),
    ];
    let app = TestApp::configured(&routes.concat()).await;
    for _ in 0..10 {
        let answer = get(&app, "/gone/x", None, &[]).await;
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        answer.problem(503, "unavailable");
    }
    // Its own errors are passed on in its own words.
    let answer = get(&app, "/rude", None, &[]).await.expect(409);
    assert_eq!(answer.text, "plain words");

    let ready = get(&app, "/health/ready", None, &[])
        .await
        .expect(200)
        .json();
    assert_eq!(ready["status"], "ready");
    let services = json!({ "gone": { "status": "down" }, "rude": { "status": "up" } });
    assert_eq!(ready["services"], services);
    app.sign_up("ada@example.com").await;
}

#[tokio::test]
async fn websockets_pass_and_end_with_the_process() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            socket.send(message).await.unwrap();
        }
    });
    let app = TestApp::configured(&route("chat", at, "public = true")).await;
    let address = app.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let dialled = tokio_tungstenite::client_async("ws://a/chat", stream).await;
    let (mut socket, answer) = dialled.unwrap();
    assert!(answer.headers().contains_key("x-request-id"));
    for n in 0..10 {
        let message = Message::text(format!("message {n}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    app.edge().streams.cancel();
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
    // The service's end is let go of too.
    echo.await.unwrap();
}

#[tokio::test]
async fn a_service_speaks_for_itself() {
    let own = [
        ("content-security-policy", "default-src https:"),
        ("cache-control", "public, max-age=60"),
        ("referrer-policy", "unsafe-url"),
        ("x-content-type-options", "nosniff"),
    ];
    let said = Router::new()
        .route("/said", any(async move || own))
        .route("/silent", any(async || "quiet"));
    let rules = "public = true\nstrip_prefix = true";
    let app = TestApp::configured(&route("own", serve(said).await, rules)).await;
    let answer = get(&app, "/own/said", None, &[]).await.expect(200);
    for (name, value) in own {
        assert_eq!(answer.header(name), value);
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}");
    }
    let answer = get(&app, "/own/silent", None, &[]).await.expect(200);
    for (name, _) in own {
        assert!(
            !answer.headers.contains_key(name),
            "{name} is the edge's word"
        );
    }
    // But a refusal is the edge's own.
    let refused = get(&app, "/own//said", None, &[]).await.expect(400);
    assert_eq!(refused.header("referrer-policy"), "same-origin");
}

#[tokio::test]
async fn what_is_for_administrators_is_nothing_from_elsewhere() {
    let app = TestApp::configured(
        "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [gateway]\nadmin_allow = [\"10.0.0.0/8\"]\n",
    )
    .await;
    let root = app.admin("root@example.com").await;
    let token = Some(root.access_token.as_str());
    let office = [("x-forwarded-for", "10.1.1.1")];
    let elsewhere = [("x-forwarded-for", "192.0.2.1")];
    let mut refusals = Vec::new();
    for (path, status) in [
        ("/api/v1/audit", 200),
        ("/api/v1/logs", 200),
        ("/setup", 404),
        ("/setup/nowhere", 404),
        ("/admin/nowhere", 404),
        ("/api/v1/admin/nowhere", 404),
    ] {
        get(&app, path, token, &office).await.expect(status);
        for token in [token, None] {
            let mut refused = get(&app, path, token, &elsewhere).await;
            for of_the_moment in ["x-request-id", "date"] {
                refused.headers.remove(of_the_moment);
            }
            let headers = format!("{:?}", refused.headers);
            refusals.push((headers, refused.text.clone()));
            refused.problem(403, "forbidden");
        }
    }
    refusals.dedup();
    assert_eq!(
        refusals.len(),
        1,
        "nobody learns what is there: {refusals:#?}"
    );
    get(&app, "/api/v1/auth/me", token, &elsewhere)
        .await
        .expect(200);
    get(&app, "/administration", None, &elsewhere)
        .await
        .expect(404);
    get(&app, "/x//admin", token, &elsewhere).await.expect(400);
    app.settle().await;
}
