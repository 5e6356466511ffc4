//! Heads and bodies of single requests.

use std::sync::{Arc, Mutex, atomic::Ordering};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::{any, get},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Front, OK, head, raw, read_answer, server, until};

/// Answers with the request as it came in.
async fn mirror(request: Request) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    text + "\n" + std::str::from_utf8(&body).unwrap()
}

#[tokio::test]
async fn a_request_arrives_as_it_was_without_what_belongs_to_its_connection() {
    let at = server(Router::new().fallback(mirror)).await;
    let front = Front::new(&[at], "").await;
    let seen = front
        .talk(
            "PUT /a%20b/c?d=e&f HTTP/1.1\r\nHost: shop.example\r\nAccept: x/y\r\n\
             Connection: close, X-Mine, X-Banyan-Principal, Host, Accept-Language\r\nX-Mine: 1\r\n\
             Accept-Language: de\r\nX-Banyan-Principal: user:eve\r\nTE: trailers\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authorization: Basic x\r\nTransfer-Encoding: chunked\r\n\
             \r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .await;
    assert_eq!(seen.status, 200);
    let (head, body) = seen.body.split_once("\n\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "PUT /a%20b/c?d=e&f",
            "accept: x/y",
            "host: shop.example",
            "transfer-encoding: chunked",
            "x-banyan-principal: user:ada"
        ]
    );
    assert_eq!(body, "hello");

    // A target with a host of its own goes before Host (RFC 9112 §3.2.2).
    let absolute =
        "GET http://a.example/x HTTP/1.1\r\nhost: b.example\r\nconnection: close\r\n\r\n";
    let seen = front.talk(absolute).await.body;
    assert!(
        seen.starts_with("GET /x\n") && seen.contains("host: a.example\n"),
        "{seen}"
    );

    let front = Front::new(&[at], "keep_host = false").await;
    let seen = front.get("/").await.body;
    assert!(seen.contains(&format!("host: {at}\n")), "{seen}");
    let length = front.post("", "12345").await.body;
    assert!(
        length.contains("content-length: 5\n") && length.ends_with("\n12345"),
        "{length}"
    );
}

#[tokio::test]
async fn answers_without_a_body_stay_so() {
    let routes = Router::new()
        .route("/page", get(|| async { "0123456789" }))
        .route("/none", any(|| async { http::StatusCode::NO_CONTENT }))
        .route(
            "/same",
            any(|| async {
                let answer = Response::builder().status(304).header("etag", "\"1\"");
                answer.body(Body::empty()).unwrap()
            }),
        );
    let front = Front::new(&[server(routes).await], "").await;
    let head = "HEAD /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = front.talk(head).await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("10"))
    );
    assert_eq!(answer.body, "");
    let answer = front.get("/none").await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(answer.header("content-length"), None);
    let answer = front.get("/same").await;
    assert_eq!((answer.status, &*answer.body), (304, ""));
    assert_eq!(answer.header("etag"), Some("\"1\""));
}

#[tokio::test]
async fn an_answer_has_one_length() {
    let (at, _) = raw(async |mut stream, _| {
        head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\
                      Connection: X-Inside\r\nX-Inside: 1\r\nX-Outside: 2\r\n\r\n\
                      5\r\nhello\r\n0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let front = Front::new(&[at], "").await;
    let answer = front.get("/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("x-inside"), None);
    assert_eq!(answer.header("x-outside"), Some("2"));
    assert_eq!(answer.body, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let (at, connections) = raw(async |mut stream, _| {
        while !head(&mut stream).await.is_empty() {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let front = Front::new(&[at], "").await;
    for _ in 0..50 {
        assert_eq!(front.get("/").await.body, "ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_is_all_its_addresses() {
    let at = server(Router::new().route("/", get(|| async { "ok" }))).await;
    let url = format!("http://localhost:{}", at.port());
    let front = Front::at(&[url], "keep_host = false").await;
    assert!(!front.upstream.state().is_up(), "nothing is known yet");
    for _ in 0..10 {
        assert_eq!(
            front.get("/").await.status,
            200,
            "the name may have an IPv6 address too"
        );
    }
    let state = front.upstream.state();
    assert!(
        state.addresses.iter().any(|a| a.at == at.to_string()),
        "{state:?}"
    );
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_gets_it() {
    let at = server(Router::new().fallback(mirror)).await;
    let front = Front::new(&[at], "").await;
    let mut stream = front.connect().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\
                   connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let leave = head(&mut stream).await;
    assert!(leave.starts_with("HTTP/1.1 100 "), "{leave}");
    stream.write_all(b"hello").await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(
        answer.status == 200 && answer.body.ends_with("\nhello"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_answer_may_come_before_the_end_of_the_request() {
    const REFUSED: &[u8] = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\
                             connection: close\r\n\r\nbig";
    let (at, _) = raw(async |mut stream, _| {
        head(&mut stream).await;
        stream.write_all(REFUSED).await.unwrap();
        // As servers do: read on for a while, so that the answer is not lost.
        let mut rest = [0; 64 * 1024];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    })
    .await;
    let front = Front::new(&[at], "").await;
    let mut stream = front.connect().await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        8 << 20
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(stream);
    until("nothing is in flight", || {
        front.upstream.state().in_flight == 0
    })
    .await;
    assert!(front.upstream.state().is_up());
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_the_clients_fault() {
    let taken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&taken);
    let routes = Router::new().route(
        "/",
        any(async move |body: Bytes| *count.lock().unwrap() += body.len()),
    );
    let at = server(routes).await;
    let front = Front::new(&[at], "breaker = { broken_in_a_row = 1 }").await;
    let mut stream = front.connect().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let (mut reads, mut writes) = stream.into_split();
    let sending =
        tokio::spawn(async move { while writes.write_all(chunk.as_bytes()).await.is_ok() {} });
    let mut answer = vec![0; 12];
    reads.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(reads);
    sending.await.unwrap();
    assert!(front.upstream.state().is_up());
    assert_eq!(*taken.lock().unwrap(), 0);
}

/// As many small servers are: what a GET brings along stays on the connection.
async fn reads_no_bodies(mut stream: tokio::net::TcpStream, _: usize) {
    loop {
        let head = head(&mut stream).await;
        let Some(target) = head.split(' ').nth(1) else {
            return;
        };
        let length = target.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{target}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if head.to_lowercase().contains("connection: close") {
            // An answer that was not read yet is lost when a connection ends with bytes to read.
            let _ = stream.shutdown().await;
            let mut rest = [0; 1024];
            while matches!(stream.read(&mut rest).await, Ok(1..)) {}
            return;
        }
    }
}

#[tokio::test]
async fn what_a_get_brings_along_is_not_the_next_request() {
    let (at, connections) = raw(reads_no_bodies).await;
    let front = Front::new(&[at], "").await;
    for method in ["GET", "DELETE"] {
        let inner = "GET /smuggled HTTP/1.1\r\nhost: a\r\nx-banyan-principal: user:eve\r\n\r\n";
        let outer = format!(
            "{method} /outer HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{inner}",
            inner.len()
        );
        assert_eq!(front.talk(&outer).await.body, "/outer");
        for _ in 0..5 {
            assert_eq!(front.get("/mine").await.body, "/mine");
        }
    }
    // The second takes the one that rests with it.
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}
