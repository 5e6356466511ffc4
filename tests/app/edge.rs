//! The front door: what holds for every request.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{TestApp, is_split};

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let app = TestApp::start().await;
    let raw = async |method: Method, path: &str, body: &str, content_type: &str| {
        let response = app
            .http
            .request(method, format!("{}{path}", app.url))
            .header("content-type", content_type)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").cloned();
        assert_eq!(
            kind.as_ref().and_then(|k| k.to_str().ok()),
            Some("application/problem+json"),
            "{path} answered {status}"
        );
        assert!(response.headers().contains_key("x-request-id"));
        status
    };
    let login = "/api/v1/auth/login";
    let json = "application/json";
    assert_eq!(raw(Method::GET, "/nowhere", "", json).await, 404);
    assert_eq!(
        raw(Method::GET, "/api/v1/auth/nowhere", "", json).await,
        404
    );
    assert_eq!(raw(Method::GET, "/api/v1/authority", "", json).await, 404);
    assert_eq!(raw(Method::DELETE, login, "", json).await, 405);
    assert_eq!(raw(Method::DELETE, "/health/live", "", json).await, 405);
    assert_eq!(raw(Method::POST, login, "{}", "text/plain").await, 415);
    assert_eq!(raw(Method::POST, login, "{", json).await, 400);
    assert_eq!(raw(Method::POST, login, "{}", json).await, 422);
    assert_eq!(
        raw(Method::POST, login, &"[".repeat(100_000), json).await,
        422
    );
    assert_eq!(
        raw(Method::POST, login, &"x".repeat(2_000_000), json).await,
        413
    );
    assert_eq!(raw(Method::GET, "/api/v1/auth/me", "", json).await, 401);
    let token = "/api/v1/notifications/not-a-uuid/read";
    assert_eq!(raw(Method::POST, token, "", json).await, 401);
}

#[tokio::test]
async fn health_says_how_each_module_is() {
    let app = TestApp::start().await;
    let live = app
        .send(Method::GET, "/health/live", None, None, &[])
        .await
        .expect(200);
    assert_eq!(live.json()["status"], "live");
    let becomes = async |module: &str, status: &str| {
        loop {
            let ready = app
                .send(Method::GET, "/health/ready", None, None, &[])
                .await;
            if ready.json()["modules"][module]["status"] == status {
                break ready;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Of a module in another process it is learnt when that is asked first, and next.
    for module in ["identity", "logging", "notification", "profile"] {
        becomes(module, "ready").await;
    }
    let ready = becomes("identity", "ready").await.expect(200).json();
    assert_eq!(ready["status"], "ready");

    app.host_of("profile")
        .slot("profile")
        .unwrap()
        .down("a test took it");
    let ready = becomes("profile", "down").await;
    // The process that lacks it is not ready; a gateway in front of it is.
    let (status, word) = if is_split() {
        (200, "degraded")
    } else {
        (503, "not_ready")
    };
    let ready = ready.expect(status).json();
    assert_eq!(ready["status"], word);
    assert_eq!(ready["modules"]["identity"]["status"], "ready");
    // Asked for one of its own, a process tells of that alone.
    let of = async |module| {
        let path = format!("/health/ready?module={module}");
        app.send(Method::GET, &path, None, None, &[]).await
    };
    let (well, down) = if is_split() { (421, 421) } else { (200, 503) };
    let identity = of("identity").await.expect(well).json();
    of("profile").await.expect(down);
    of("nobody").await.problem(421, "misdirected");
    if !is_split() {
        let of_it = serde_json::json!({ "identity": { "status": "ready" } });
        assert_eq!(identity["modules"], of_it);
    }
    let down = app
        .send(Method::GET, "/api/v1/profiles/me", None, None, &[])
        .await;
    assert!(down.headers.contains_key("retry-after"));
    down.problem(503, "unavailable");
    app.send(Method::GET, "/.well-known/jwks.json", None, None, &[])
        .await
        .expect(200);
}

#[tokio::test]
async fn too_many_sign_ins_from_one_client_are_refused() {
    let app = TestApp::with(&[("BANYAN__GATEWAY__AUTH_REQUESTS_PER_MINUTE", "3")]).await;
    let body = json!({ "email": "ada@example.com", "password": "wrong wrong wrong" });
    // Whatever the client claims: nobody in front of us is trusted.
    for n in 0..3 {
        let forwarded = format!("10.0.0.{n}");
        let headers = [("x-forwarded-for", &*forwarded)];
        let login = "/api/v1/auth/login";
        app.send(Method::POST, login, None, Some(body.clone()), &headers)
            .await
            .expect(401);
    }
    let refused = app.post("/api/v1/auth/login", body).await;
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    refused.problem(429, "too-many-requests");
    app.send(Method::GET, "/.well-known/jwks.json", None, None, &[])
        .await
        .expect(200);
    app.settle().await;
}

#[tokio::test]
async fn the_openapi_document_names_every_route() {
    let app = TestApp::start().await;
    let document = app
        .send(Method::GET, "/api/openapi.json", None, None, &[])
        .await
        .expect(200)
        .json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for module in banyan::modules::MODULES {
        for route in module.api().routes.iter().filter(|route| !route.is_page) {
            let method = route.method.as_str().to_lowercase();
            let operation = &document["paths"][&route.path][&method];
            assert!(
                operation.is_object(),
                "{method} {} is not described",
                route.path
            );
            assert_eq!(operation["tags"][0], module.name());
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|r| !r.is_empty())
            );
        }
    }
}

#[tokio::test]
async fn a_request_has_one_host_and_one_caller() {
    let app = TestApp::start().await;
    let address = app.url.strip_prefix("http://").unwrap();
    for (hosts, status) in [
        (
            "host: a\r\nauthorization: a b\r\nauthorization: c d\r\n",
            400,
        ),
        ("host: a\r\n", 200),
        ("", 400),
        ("host: a\r\nhost: b\r\n", 400),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /health/live HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let line = answer.lines().next().unwrap();
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status} ")),
            "{hosts:?}: {line}"
        );
    }
}

/// Waits until the server hangs up; forever if it does not.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn one_client_cannot_take_every_place() {
    let app = TestApp::with(&[("BANYAN__GATEWAY__MAX_IN_FLIGHT_PER_CLIENT", "2")]).await;
    let address = app.url.strip_prefix("http://").unwrap();
    let jwks = "/.well-known/jwks.json";
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST /api/v1/auth/refresh HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\
                    content-type: application/json\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let refused = loop {
        let answer = app.send(Method::GET, jwks, None, None, &[]).await;
        if answer.status != 200 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    refused.problem(429, "too-many-requests");
    // Whoever goes gives the place back.
    drop(slow);
    while app.send(Method::GET, jwks, None, None, &[]).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_is_silent_or_does_not_read_is_let_go() {
    let app = TestApp::with(&[
        ("BANYAN__SERVER__HEADER_TIMEOUT_SECONDS", "1"),
        ("BANYAN__SERVER__WRITE_TIMEOUT_SECONDS", "1"),
    ])
    .await;
    let address = app.url.strip_prefix("http://").unwrap();
    let patience = Duration::from_secs(30);
    // Nothing at all; what may become HTTP/2; half a request.
    for said in ["", "P", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let end = tokio::time::timeout(patience, closed(&mut stream)).await;
        assert!(end.is_ok(), "{said:?} holds a connection");
    }

    // Asks for more than the buffers between the two can hold, and reads nothing.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /api/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let greedy = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    let end = tokio::time::timeout(patience, greedy).await;
    assert!(end.is_ok(), "who does not read holds a connection");
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let app = TestApp::with(&[("BANYAN__SERVER__PUBLIC_URL", "https://api.example.com")]).await;
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/.well-known/jwks.json", 200),
        (Method::GET, "/api/v1/auth/me", 401),
        (Method::GET, "/nowhere", 404),
        (Method::DELETE, "/api/v1/auth/login", 405),
        (Method::GET, "/setup", 200),
        (Method::GET, "/dev/mailbox", 200),
    ] {
        let answer = app.send(method, path, None, None, &[]).await.expect(status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        let cached = answer.header("cache-control");
        assert_eq!(
            cached == "no-store",
            path != "/.well-known/jwks.json",
            "{path}"
        );
    }
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_them_so() {
    async fn read(encoded: &[u8], coding: &str) -> Vec<u8> {
        use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
        let mut bytes = Vec::new();
        let read = match coding {
            "zstd" => ZstdDecoder::new(encoded).read_to_end(&mut bytes).await,
            _ => GzipDecoder::new(encoded).read_to_end(&mut bytes).await,
        };
        read.expect("a whole answer");
        bytes
    }
    let app = TestApp::start().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = app.http.get(format!("{}{path}", app.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let coding = answer.headers().get("content-encoding").cloned();
        let coding = coding.map(|coding| coding.to_str().unwrap().to_owned());
        let vary = answer.headers().get_all("vary").iter();
        let varies = vary.filter(|v| *v == "accept-encoding").count();
        (coding, varies, answer.bytes().await.unwrap())
    };
    // Of the edge, and of a module wherever it is.
    let root = app.admin("root@example.com").await;
    let bearer = format!("Bearer {}", root.access_token);
    let token = ("authorization", bearer.as_str());
    let preview = "/api/v1/notifications/templates/welcome";
    for path in ["/api/openapi.json", preview] {
        let (coding, varies, plain) = get(path, &[token]).await;
        assert_eq!((coding, varies), (None, 1), "{path}");
        for accepted in ["gzip", "zstd"] {
            let (coding, varies, bytes) = get(path, &[token, ("accept-encoding", accepted)]).await;
            assert_eq!(coding.as_deref(), Some(accepted), "{path}");
            assert_eq!(varies, 1, "{path}");
            assert!(bytes.len() < plain.len() / 2, "{path}: {}", bytes.len());
            assert_eq!(read(&bytes, accepted).await, plain, "{path}");
        }
    }
    let all = ("accept-encoding", "gzip, zstd");
    // Whose length could tell of a session, and what is short.
    let (coding, ..) = get("/api/openapi.json", &[all, ("cookie", "session=1")]).await;
    assert_eq!(coding, None);
    assert_eq!(get("/health/live", &[all]).await.0, None);
    app.settle().await;
}

#[tokio::test]
async fn every_field_that_is_wrong_is_named() {
    let app = TestApp::start().await;
    let body = json!({ "email": 3, "display_nmae": "Ada", "locale": ["de"] });
    let problem = app.post("/api/v1/auth/registrations", body).await;
    let problem = problem.problem(422, "validation-failed");
    let errors = problem["errors"].as_array().unwrap().iter();
    let mut fields: Vec<_> = errors.map(|e| e["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["/display_nmae", "/email", "/locale"]);
}
