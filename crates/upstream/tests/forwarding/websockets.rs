//! Connections that change their protocol.

use axum::Router;
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message},
};

use crate::support::{Front, server, until};

/// Says everything back, and closes on "bye".
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = accept_async(stream).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    let bye = message == Message::text("bye");
                    if bye {
                        let _ = socket.close(None).await;
                    } else if message.is_text() || message.is_binary() {
                        let _ = socket.send(message).await;
                    }
                }
            });
        }
    });
    address
}

async fn dial(front: &Front) -> Result<WebSocketStream<tokio::net::TcpStream>, Error> {
    let stream = front.connect().await;
    client_async("ws://front/socket", stream)
        .await
        .map(|(socket, _)| socket)
}

#[tokio::test]
async fn messages_go_both_ways_until_one_side_closes() {
    let front = Front::new(&[echo().await], "").await;
    for says_bye in [true, false] {
        let mut socket = dial(&front).await.unwrap();
        assert_eq!(front.upstream.state().upgraded, 1);
        assert_eq!(front.upstream.state().in_flight, 0);
        for size in [1, 1_000, 300_000] {
            let message = Message::binary(vec![7; size]);
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        if says_bye {
            socket.send(Message::text("bye")).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().is_close());
            assert!(socket.next().await.is_none(), "closed in good order");
        } else {
            drop(socket);
        }
        until("it is over", || front.upstream.state().upgraded == 0).await;
        assert_eq!(front.upstream.state().addresses[0].in_flight, 0);
    }
}

#[tokio::test]
async fn they_end_with_the_process_and_in_silence() {
    let front = Front::new(&[echo().await], "").await;
    let mut socket = dial(&front).await.unwrap();
    front.streams.cancel();
    assert!(socket.next().await.unwrap().is_err());
    assert_eq!(front.upstream.state().upgraded, 0);

    let front = Front::new(&[echo().await], "upgraded_idle_seconds = 1").await;
    let mut socket = dial(&front).await.unwrap();
    assert!(socket.next().await.unwrap().is_err());
    until("it is over", || front.upstream.state().upgraded == 0).await;
}

#[tokio::test]
async fn there_are_so_many_and_no_more() {
    let front = Front::new(&[echo().await], "max_upgraded = 1").await;
    let first = dial(&front).await.unwrap();
    match dial(&front).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 503),
        other => panic!("{other:?}"),
    }
    drop(first);
    until("there is room", || front.upstream.state().upgraded == 0).await;
    dial(&front).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_passed_on_and_other_protocols_are_not() {
    let at = server(Router::new().fallback(async |headers: http::HeaderMap| {
        format!(
            "upgrade {:?} settings {:?}",
            headers.get("upgrade"),
            headers.get("http2-settings")
        )
    }))
    .await;
    let front = Front::new(&[at], "").await;
    match dial(&front).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 200),
        other => panic!("{other:?}"),
    }
    until("nothing is held", || front.upstream.state().upgraded == 0).await;
    let mut stream = front.connect().await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\n\
                   upgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("upgrade None settings None"), "{answer}");
}
