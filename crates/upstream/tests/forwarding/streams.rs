//! Bodies that last.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::sse::{Event, Sse},
    routing::{get, post},
};
use futures::StreamExt;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
};

use crate::support::{Front, head, raw, read_answer, server, until};

const CHUNK: usize = 64 * 1024;

#[tokio::test]
async fn who_does_not_read_stops_who_writes() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let routes = Router::new().route(
        "/",
        get(async move || {
            Body::from_stream(futures::stream::repeat_with(move || {
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Bytes::from(vec![0; CHUNK]))
            }))
        }),
    );
    let front = Front::new(&[server(routes).await], "").await;
    let mut stream = front.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    head(&mut stream).await;
    // It fills the buffers between, and comes to rest.
    let mut before = usize::MAX;
    let rests = async {
        while made.load(Ordering::SeqCst) != before {
            before = made.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rests)
        .await
        .expect("it rests");
    // And it goes on when the client does.
    let mut rest = vec![0; 32 << 20];
    stream.read_exact(&mut rest).await.unwrap();
    assert!(made.load(Ordering::SeqCst) > before);
    // A client that leaves ends it.
    drop(stream);
    until("nothing is in flight", || {
        front.upstream.state().in_flight == 0
    })
    .await;
}

#[tokio::test]
async fn an_upload_arrives_as_it_is_sent() {
    let (seen, mut chunks) = mpsc::unbounded_channel();
    let routes = Router::new().route(
        "/",
        post(async move |request: Request| {
            let mut body = request.into_body().into_data_stream();
            while let Some(Ok(chunk)) = body.next().await {
                seen.send(chunk).unwrap();
            }
            "thanks"
        }),
    );
    let front = Front::new(&[server(routes).await], "").await;
    let mut stream = front.connect().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                   connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"3\r\nabc\r\n").await.unwrap();
        assert_eq!(chunks.recv().await.unwrap(), "abc");
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
}

#[tokio::test]
async fn events_arrive_one_by_one_and_end_with_the_process() {
    let (send, receive) = mpsc::unbounded_channel::<&'static str>();
    let receive = Arc::new(tokio::sync::Mutex::new(receive));
    let routes = Router::new().route(
        "/",
        get(async move || {
            let events = futures::stream::unfold(receive, |receive| async move {
                let text = receive.lock().await.recv().await?;
                Some((Ok::<_, Infallible>(Event::default().data(text)), receive))
            });
            Sse::new(events)
        }),
    );
    let front = Front::new(&[server(routes).await], "").await;
    let mut stream = front.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.contains("text/event-stream"), "{answer}");
    for text in ["one", "two"] {
        send.send(text).unwrap();
        let mut event = Vec::new();
        while !event.ends_with(b"\n\n\r\n") {
            event.push(stream.read_u8().await.unwrap());
        }
        assert!(
            String::from_utf8(event)
                .unwrap()
                .contains(&format!("data: {text}\n"))
        );
    }
    front.streams.cancel();
    let mut end = [0; 5];
    stream.read_exact(&mut end).await.unwrap();
    assert_eq!(&end, b"0\r\n\r\n", "a clean end");
    until("nothing is in flight", || {
        front.upstream.state().in_flight == 0
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_stops_is_broken_off() {
    for pause in [false, true] {
        let (at, _) = raw(move |mut stream, _| async move {
            head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            stream.write_all(answer).await.unwrap();
            if pause {
                head(&mut stream).await;
            }
        })
        .await;
        let settings = "idle_timeout_seconds = 1\n\
                        breaker = { broken_in_a_row = 1, min_requests = 2 }";
        let front = Front::new(&[at], settings).await;
        let answer = front.get("/").await;
        assert_eq!((answer.status, &*answer.body), (200, "half"));
        until("nothing is in flight", || {
            front.upstream.state().in_flight == 0
        })
        .await;
        assert!(!front.upstream.state().is_up(), "it is left alone");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_no_fault_of_the_upstreams() {
    let gave_up = Arc::new(Notify::new());
    let gives_up = Arc::clone(&gave_up);
    let (at, _) = raw(move |mut stream, _| {
        let gives_up = Arc::clone(&gives_up);
        async move {
            head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            // As servers do with who takes nothing for some time.
            let patience = Duration::from_millis(1_500);
            while let Ok(wrote) =
                tokio::time::timeout(patience, stream.write_all(&[0; CHUNK])).await
            {
                wrote.unwrap();
            }
            drop(stream);
            gives_up.notify_one();
        }
    })
    .await;
    let front = Front::new(&[at], "breaker = { broken_in_a_row = 1 }").await;
    let mut stream = front.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    gave_up.notified().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 1_000_000_000);
    until("nothing is in flight", || {
        front.upstream.state().in_flight == 0
    })
    .await;
    assert!(front.upstream.state().is_up());
}

#[tokio::test]
async fn an_answer_may_pause_while_the_client_does() {
    let whole = vec![b'x'; 16 << 20];
    let sent = Bytes::from(whole.clone());
    let routes = Router::new().route("/", get(async move || sent.clone()));
    let front = Front::new(&[server(routes).await], "idle_timeout_seconds = 1").await;
    let mut stream = front.connect().await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    head(&mut stream).await;
    // Longer than the upstream may be silent: it is not the one who is.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    assert!(read == whole, "{} bytes came", read.len());
}

#[tokio::test]
async fn a_slow_client_is_told_and_the_upstream_is_not_blamed() {
    let routes = Router::new().route(
        "/",
        post(async |request: Request| {
            let _ = request.into_body().collect().await;
        }),
    );
    let settings = "write_timeout_seconds = 1\nbreaker = { min_requests = 1 }";
    let front = Front::new(&[server(routes).await], settings).await;
    let answer = front
        .talk("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab")
        .await;
    assert_eq!(answer.status, 408);
    assert!(front.upstream.state().is_up());
}
