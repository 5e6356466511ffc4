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
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Server,
    gateway::{Gateway, trace},
};

/// Time for connections in use to be told that they end.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// Serves people until the token is cancelled; then accepts no more, and returns when the requests in
/// flight are answered or `shutdown_seconds` have passed.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    config: &Server,
    stop: CancellationToken,
) {
    tokio::spawn({
        let (gateway, stop) = (Arc::clone(&gateway), stop.clone());
        async move { gateway.watch(stop).await }
    });
    let answer = move |peer, request| {
        let gateway = Arc::clone(&gateway);
        async move { trace::serve(&gateway, peer, request, |r| gateway.answer(r)).await }
    };
    accept(listener, answer, config, stop).await;
}

/// The same with any answers.
pub async fn accept<F>(
    listener: TcpListener,
    answer: impl Fn(IpAddr, Request<Body>) -> F + Clone + Send + 'static,
    config: &Server,
    stop: CancellationToken,
) where
    F: Future<Output = Response> + Send + 'static,
{
    // HTTP/1 alone: to tell the versions apart is to wait for the first bytes without a bound.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds));
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
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(write_timeout));
        let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = drive(connection.with_upgrades(), end.clone());
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
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
