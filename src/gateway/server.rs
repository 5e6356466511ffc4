//! Accepting connections, and letting go of them without losing a request.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{BoxError, body::Body, response::Response};
use futures::FutureExt;
use hyper::{
    Request,
    body::{Body as HttpBody, Incoming},
    rt::{Read, Write},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Server,
    gateway::{
        Gateway,
        tls::{HANDSHAKE, Tls},
        trace,
    },
};

/// To who speaks HTTP where TLS is expected.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\n\
                     content-type: application/problem+json\r\n\
                     content-length: 101\r\n\
                     connection: close\r\n\r\n\
                     {\"type\":\"/problems/https-required\",\"title\":\"This port speaks HTTPS alone: use https://\",\"status\":400}";
/// Time for connections in use to be told that they end.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// Serves people until the token is cancelled; then accepts no more, and returns when the requests in
/// flight are answered or `shutdown_seconds` have passed.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    config: &Server,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) {
    tokio::spawn({
        let (gateway, stop) = (Arc::clone(&gateway), stop.clone());
        async move { gateway.watch(stop).await }
    });
    if let Some(tls) = tls.clone() {
        let stop = stop.clone();
        tokio::spawn(async move { tls.follow(stop).await });
    }
    let answer = move |peer, request| {
        let gateway = Arc::clone(&gateway);
        async move { trace::serve(&gateway, peer, request, |r| gateway.answer(r)).await }
    };
    accept(listener, answer, config, tls, stop).await;
}

/// The same with any answers.
pub async fn accept<F>(
    listener: TcpListener,
    answer: impl Fn(IpAddr, Request<Body>) -> F + Clone + Send + 'static,
    config: &Server,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
) where
    F: Future<Output = Response> + Send + 'static,
{
    // HTTP/1 alone: to tell the versions apart is to wait for the first bytes without a bound.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds));
    let handshake_timeout = Duration::from_secs(config.header_timeout_seconds);
    let write_timeout = Duration::from_secs(config.write_timeout_seconds);
    let (connections, end) = (TaskTracker::new(), CancellationToken::new());
    let places = Arc::new(Semaphore::new(config.max_connections));
    let admit = |stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit| {
        // An answer in two packets must not wait for the first one's acknowledgement.
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            answer(peer.ip(), request.map(Body::new)).map(Ok::<_, Infallible>)
        });
        let (builder, end) = (builder.clone(), end.clone());
        let timed = move |stream| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(write_timeout));
            Box::pin(stream)
        };
        match &tls {
            None => {
                let io = TokioIo::new(timed(stream));
                let connection = builder.serve_connection(io, service);
                connections.spawn(async move {
                    drive(connection.with_upgrades(), end).await;
                    drop(place);
                });
            }
            Some(tls) => {
                let acceptor = tls.acceptor();
                connections.spawn(async move {
                    let handshake = async {
                        let stream = only_tls(stream).await?;
                        acceptor.accept(timed(stream)).await.ok()
                    };
                    // Whoever sends garbage, or nothing, is let go: nobody's fault either.
                    let stream = tokio::select! {
                        stream = tokio::time::timeout(handshake_timeout, handshake) => stream,
                        () = end.cancelled() => return,
                    };
                    if let Ok(Some(stream)) = stream {
                        let connection = builder.serve_connection(TokioIo::new(stream), service);
                        drive(connection.with_upgrades(), end).await;
                    }
                    drop(place);
                });
            }
        }
    };
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("never closed"),
            () = stop.cancelled() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: some will be given back.
                    tracing::warn!(%error, "connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        admit(stream, peer, place);
    }
    // Who has connected before is let in: closing the door would reset their connections, and the
    // requests that they have sent already.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept()
            && let Ok(place) = Arc::clone(&places).try_acquire_owned()
        {
            let stream = stream.set_nonblocking(true).and(Ok(stream));
            if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                admit(stream, peer, place);
            }
        }
    }
    // A client may be sending on a connection that rests. Those in use learn from their next answer
    // that it was the last; only then are those closed that still rest.
    if places.available_permits() < config.max_connections {
        tokio::time::sleep(LAST_ANSWERS).await;
    }
    let limit = Duration::from_secs(config.shutdown_seconds);
    end.cancel();
    connections.close();
    if tokio::time::timeout(limit, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("requests were still in flight when the time to stop had passed");
    }
}

/// The stream, if a handshake begins on it. Whoever speaks plain HTTP is told.
async fn only_tls(mut stream: TcpStream) -> Option<TcpStream> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] == HANDSHAKE {
        return Some(stream);
    }
    if first[0].is_ascii_uppercase() {
        // Read before it is closed, or the answer may be lost with what was not.
        let _ = stream.read(&mut [0; 8 * 1024]).await;
        let _ = stream.write_all(PLAIN.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
    None
}

/// Serves a connection to its end: the client's, that of the request that is answered when `end`
/// comes, or the change to another protocol. hyper-util's graceful shutdown does not know
/// connections that may change it.
async fn drive<I, S>(connection: http1::UpgradeableConnection<I, S>, end: CancellationToken)
where
    S: HttpService<
            Incoming,
            ResBody: HttpBody<Error: Into<BoxError>> + 'static,
            Error: Into<BoxError>,
        >,
    I: Read + Write + Unpin + Send + 'static,
{
    let mut connection = pin!(connection);
    // Clients that hang up are nobody's fault.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
