//! A front that forwards everything, and servers to forward to.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue},
    response::IntoResponse,
};
use http::{Request, Response};
use http_body_util::Limited;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kernel::Problem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use upstream::{Settings, Upstream};

/// For what should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What the front lets through of a body.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Waits until something holds; the test fails if it never does.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "it never came to be that {what}");
}

/// A front, and the upstream behind it.
pub struct Front {
    pub address: SocketAddr,
    pub upstream: Arc<Upstream>,
    pub streams: CancellationToken,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

impl Front {
    /// `settings` without `at`, as TOML.
    pub async fn new(at: &[SocketAddr], settings: &str) -> Self {
        let at: Vec<String> = at.iter().map(|a| format!("http://{a}")).collect();
        Self::at(&at, settings).await
    }

    pub async fn at(at: &[String], settings: &str) -> Self {
        let settings: Settings = toml::from_str(&format!("at = {at:?}\n{settings}")).unwrap();
        assert_eq!(settings.check(), [""; 0]);
        let streams = CancellationToken::new();
        let upstream = Upstream::new("test", settings, streams.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::clone(&upstream);
        serve(listener, move |request| {
            let upstream = Arc::clone(&behind);
            async move {
                let request =
                    request.map(|body| Body::new(Limited::new(Body::new(body), MAX_BODY_BYTES)));
                let set = [(
                    HeaderName::from_static("x-banyan-principal"),
                    HeaderValue::from_static("user:ada"),
                )];
                match upstream.forward(request, set).await {
                    Ok(answer) => answer,
                    Err(error) => Problem::from(error).into_response(),
                }
            }
        });
        Self {
            address,
            upstream,
            streams,
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of their own, and reads the answer to its end.
    pub async fn talk(&self, bytes: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n");
        self.talk(&request).await
    }

    pub async fn post(&self, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.talk(&format!(
            "POST / HTTP/1.1\r\nhost: front\r\nconnection: close\r\ncontent-length: {length}\r\n\
             {headers}\r\n{body}"
        ))
        .await
    }
}

pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A server that hangs up on what it did not read resets the connection.
    let _ = read.expect("the answer ends");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Serves over HTTP until the test ends.
pub fn serve<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
}

/// A server of routes.
pub async fn server(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A server that does with each connection what it is told; it counts them.
pub async fn raw<H, F>(handler: H) -> (SocketAddr, Arc<AtomicUsize>)
where
    H: Fn(TcpStream, usize) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(handler(stream, number));
        }
    });
    (address, count)
}

/// Reads a head.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A port where nobody listens.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
