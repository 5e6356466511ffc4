//! Second tries, the breaker, and what is said when nothing helps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::any};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Front, OK, head, nobody, raw, server, until};

#[tokio::test]
async fn nobody_there_is_said_so_and_when_to_come_back() {
    let front = Front::new(&[nobody().await], "breaker = { broken_in_a_row = 2 }").await;
    for _ in 0..3 {
        let answer = front.get("/").await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("/problems/unavailable"), "{answer:?}");
        assert!(
            answer
                .header("retry-after")
                .unwrap()
                .parse::<u32>()
                .unwrap()
                >= 1
        );
    }
    let state = front.upstream.state();
    assert!(!state.is_up() && state.addresses[0].open, "{state:?}");
    assert!(state.addresses[0].down_for.is_some());
}

#[tokio::test]
async fn a_request_that_was_not_sent_goes_elsewhere_whatever_it_is() {
    let good = server(Router::new().fallback(async || "ok")).await;
    let front = Front::new(&[nobody().await, good], "").await;
    for _ in 0..20 {
        assert_eq!(front.post("", "once").await.status, 200);
    }
    let state = front.upstream.state();
    assert!(!state.addresses[0].up && state.addresses[1].up, "{state:?}");
}

/// A server that reads the whole request and hangs up, and one that answers.
async fn hangs_up_and_answers() -> ([std::net::SocketAddr; 2], Arc<AtomicUsize>) {
    let (bad, count) = raw(async |mut stream, _| {
        head(&mut stream).await;
    })
    .await;
    let good = server(Router::new().fallback(async |body: String| format!("got {body}"))).await;
    ([bad, good], count)
}

#[tokio::test]
async fn only_what_can_be_repeated_is() {
    let patient = "breaker = { broken_in_a_row = 1000, min_requests = 1000 }";
    let (both, count) = hangs_up_and_answers().await;
    let front = Front::new(&both, patient).await;
    for _ in 0..10 {
        assert_eq!(front.get("/").await.status, 200);
        let keyed = front.post("idempotency-key: 1\r\n", "twice").await;
        assert_eq!((keyed.status, &*keyed.body), (200, "got twice"));
    }
    assert!(count.load(Ordering::SeqCst) >= 5, "both were asked");
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(front.post("", "once").await.status);
    }
    assert!(
        statuses.contains(&502) && statuses.contains(&200),
        "{statuses:?}"
    );

    // Too large to be kept.
    let front = Front::new(&both[..1], patient).await;
    let before = count.load(Ordering::SeqCst);
    let large = front
        .post("idempotency-key: 1\r\n", &"x".repeat(70_000))
        .await;
    assert_eq!(large.status, 502);
    assert_eq!(count.load(Ordering::SeqCst), before + 1);
    // One second try at most.
    assert_eq!(front.get("/").await.status, 502);
    assert_eq!(count.load(Ordering::SeqCst), before + 3);
}

#[tokio::test]
async fn second_tries_have_a_budget() {
    let (both, count) = hangs_up_and_answers().await;
    let front = Front::new(&both[..1], "retry_percent = 0\nretry_floor = 0").await;
    assert_eq!(front.get("/").await.status, 502);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_gave_up_is_no_error() {
    // Each connection serves one request and takes the next one only to hang up.
    let (at, count) = raw(async |mut stream, _| {
        head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        head(&mut stream).await;
    })
    .await;
    let front = Front::new(&[at], "").await;
    for _ in 0..10 {
        assert_eq!(front.get("/").await.status, 200);
    }
    assert!(count.load(Ordering::SeqCst) >= 10);

    // Closed while it rests: even what cannot be repeated goes over a new one.
    let closed = Arc::new(AtomicUsize::new(0));
    let closes = Arc::clone(&closed);
    let (at, _) = raw(move |mut stream, _| {
        let closes = Arc::clone(&closes);
        async move {
            head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            drop(stream);
            closes.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let front = Front::new(&[at], "").await;
    for n in 1..=10 {
        assert_eq!(front.post("", "").await.status, 200);
        until("it is closed", || closed.load(Ordering::SeqCst) == n).await;
    }
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    let (at, _) = raw(async |mut stream, _| {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let settings = "read_timeout_seconds = 1\nbreaker = { min_requests = 1 }";
    let front = Front::new(&[at], settings).await;
    let answer = front.get("/").await;
    assert_eq!(answer.status, 504);
    assert!(answer.body.contains("/problems/timeout"), "{answer:?}");
    assert!(front.upstream.state().addresses[0].open);
    assert_eq!(front.get("/").await.status, 503);
}

#[tokio::test]
async fn who_hangs_up_on_a_body_is_not_broken() {
    // Reads the head, and has had enough.
    let (at, _) = raw(async |mut stream, _| {
        head(&mut stream).await;
    })
    .await;
    let front = Front::new(&[at], "breaker = { broken_in_a_row = 1 }").await;
    let mut stream = front.connect().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\na part of it";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(front.upstream.state().is_up());
}

#[tokio::test]
async fn nonsense_is_a_bad_gateway() {
    for nonsense in [
        "SMTP ready\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let (at, _) = raw(move |mut stream, _| async move {
            head(&mut stream).await;
            stream.write_all(nonsense.as_bytes()).await.unwrap();
            head(&mut stream).await;
        })
        .await;
        let front = Front::new(&[at], "").await;
        let answer = front.get("/").await;
        assert_eq!(answer.status, 502, "{nonsense:?}");
        assert!(answer.body.contains("/problems/bad-gateway"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_breaker_spares_who_fails_and_tries_again() {
    let failing = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let (fails, counts) = (Arc::clone(&failing), Arc::clone(&asked));
    let at = server(Router::new().fallback(async move || {
        counts.fetch_add(1, Ordering::SeqCst);
        if fails.load(Ordering::SeqCst) {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::OK
        }
    }))
    .await;
    let front = Front::new(&[at], "").await;
    for _ in 0..20 {
        assert_eq!(front.get("/").await.status, 502, "an answer is passed on");
    }
    let refused = front.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("unavailable"));
    assert_eq!(asked.load(Ordering::SeqCst), 20, "it is left alone");

    failing.store(false, Ordering::SeqCst);
    let well = async {
        while front.get("/").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), well)
        .await
        .expect("it is tried again");
    for _ in 0..3 {
        assert_eq!(front.get("/").await.status, 200);
    }
    assert!(front.upstream.state().is_up());
}

#[tokio::test]
async fn a_refusal_in_good_order_is_no_failure() {
    let at = server(Router::new().fallback(any(async || {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")])
    })))
    .await;
    let front = Front::new(&[at], "").await;
    for _ in 0..40 {
        let answer = front.get("/").await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("7"))
        );
    }
    assert!(front.upstream.state().is_up());
}

#[tokio::test]
async fn more_than_may_be_in_flight_is_refused() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let at = server(Router::new().fallback(async move || wait.notified().await)).await;
    let front = Arc::new(Front::new(&[at], "max_in_flight = 2").await);
    let mut waiting = Vec::new();
    for n in 1..=2 {
        let front_of = Arc::clone(&front);
        waiting.push(tokio::spawn(async move { front_of.get("/").await.status }));
        until("it is in flight", || front.upstream.state().in_flight == n).await;
    }
    let refused = front.get("/").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    // Who asked, and hung up, is in flight no more.
    let mut stream = front.connect().await;
    waiting.pop().unwrap().abort();
    until("one left", || front.upstream.state().in_flight == 1).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    until("another came", || front.upstream.state().in_flight == 2).await;
    go.notify_waiters();
    assert_eq!(waiting.pop().unwrap().await.unwrap(), 200);
}

#[tokio::test]
async fn who_sends_slowly_takes_no_place() {
    let at = server(Router::new().fallback(async || "served")).await;
    let front = Front::new(&[at], "max_in_flight = 1").await;
    let mut slow = front.connect().await;
    for more in ["", "idempotency-key: 1\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{more}content-length: 10\r\n\r\nab");
        slow.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..10 {
            assert_eq!(front.get("/").await.body, "served");
        }
        slow.write_all(b"cdefghij").await.unwrap();
        let mut answer = vec![0; 12];
        slow.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        slow = front.connect().await;
    }
}

#[tokio::test]
async fn the_least_loaded_address_is_chosen() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let slow = server(Router::new().fallback(async move || {
        wait.notified().await;
        "slow"
    }))
    .await;
    let quick = server(Router::new().fallback(async || "quick")).await;
    let front = Arc::new(Front::new(&[slow, quick], "").await);
    let mut waiting = Vec::new();
    let in_flight = || front.upstream.state().addresses[0].in_flight;
    while in_flight() == 0 {
        let front = Arc::clone(&front);
        waiting.push(tokio::spawn(async move { front.get("/").await }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        assert_eq!(front.get("/").await.body, "quick");
    }
    go.notify_waiters();
    for request in waiting {
        assert_eq!(request.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn health_is_asked_for_and_believed() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let at = server(Router::new().fallback(async move || {
        if is_well.load(Ordering::SeqCst) {
            StatusCode::OK
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }))
    .await;
    let settings = "health = { path = '/health/live', interval_seconds = 1, failures = 1 }";
    let front = Front::new(&[at], settings).await;
    assert!(front.upstream.state().is_up());
    let stop = CancellationToken::new();
    let watching = {
        let (upstream, stop) = (Arc::clone(&front.upstream), stop.clone());
        tokio::spawn(async move { upstream.watch(stop).await })
    };
    until("it is down", || !front.upstream.state().is_up()).await;
    assert_eq!(front.get("/").await.status, 503);
    well.store(true, Ordering::SeqCst);
    until("it is up", || front.upstream.state().is_up()).await;
    assert_eq!(front.get("/").await.status, 200);
    stop.cancel();
    watching.await.unwrap();
}
