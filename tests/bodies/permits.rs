//! Permits of work that outlives its call.

use std::time::Instant;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router};
use futures::StreamExt;
use seawall::bulkhead::SharedPermit;
use seawall::{Bulkhead, ServerStack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ms, serve};

/// Waits until this number of calls is in flight.
async fn until(bulkhead: &Bulkhead, in_flight: u32) {
    let start = Instant::now();
    while bulkhead.snapshot().in_flight != in_flight {
        assert!(start.elapsed() < ms(10_000), "{:?}", bulkhead.snapshot());
        tokio::time::sleep(ms(2)).await;
    }
}

async fn keeps(ws: WebSocketUpgrade, Extension(permit): Extension<SharedPermit>) -> Response {
    ws.on_upgrade(async move |mut socket| {
        let _held = permit;
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

async fn releases(ws: WebSocketUpgrade) -> Response {
    ws.on_upgrade(async |mut socket| {
        let _ = socket.send(Message::Text("hello".into())).await;
        while socket.recv().await.is_some() {}
    })
}

async fn open(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: it\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    stream
}

// BH6
#[tokio::test(flavor = "multi_thread")]
async fn bh6_a_websocket_keeps_its_permit_while_it_is_open_if_the_handler_holds_it() {
    let stack = ServerStack::http("sockets", 2).share_permit();
    let app = Router::new()
        .route("/keeps", any(keeps))
        .route("/releases", any(releases));
    let address = serve(app.layer(stack.clone())).await;
    let first = open(address, "/keeps").await;
    let second = open(address, "/keeps").await;
    tokio::time::sleep(ms(50)).await;
    assert_eq!(stack.bulkhead().snapshot().in_flight, 2);
    let mut third = TcpStream::connect(address).await.unwrap();
    third
        .write_all(b"GET /releases HTTP/1.1\r\nhost: it\r\n\r\n")
        .await
        .unwrap();
    let mut status = [0; 12];
    third.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 503");
    drop(first);
    until(stack.bulkhead(), 1).await;
    let other = open(address, "/releases").await;
    until(stack.bulkhead(), 1).await;
    drop((second, other));
    until(stack.bulkhead(), 0).await;
}

// BH6
#[tokio::test(flavor = "multi_thread")]
async fn bh6_a_spawned_task_keeps_the_permit_of_its_call() {
    let stack = ServerStack::http("jobs", 1).share_permit();
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let receive = std::sync::Arc::new(std::sync::Mutex::new(Some(receive)));
    let start = get(async move |Extension(permit): Extension<SharedPermit>| {
        let receive = receive.lock().unwrap().take().unwrap();
        tokio::spawn(async move {
            let _ = receive.await;
            drop(permit);
        });
        "started"
    });
    let address = serve(Router::new().route("/", start).layer(stack.clone())).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: it\r\n\r\n")
        .await
        .unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    drop(stream);
    tokio::time::sleep(ms(50)).await;
    assert_eq!(stack.bulkhead().snapshot().in_flight, 1);
    send.send(()).unwrap();
    until(stack.bulkhead(), 0).await;
}

// BH6
#[tokio::test]
async fn bh6_a_stream_holds_a_permit_until_its_end_or_its_drop() {
    let bulkhead = Bulkhead::new(1);
    let mut held = bulkhead.hold(futures::stream::iter([1, 2])).unwrap();
    assert!(bulkhead.hold(futures::stream::empty::<()>()).is_err());
    assert_eq!(held.next().await, Some(1));
    assert_eq!(bulkhead.snapshot().in_flight, 1);
    assert_eq!((held.next().await, held.next().await), (Some(2), None));
    assert_eq!(bulkhead.snapshot().in_flight, 0);
    let held = bulkhead.hold(futures::stream::pending::<()>()).unwrap();
    assert_eq!(bulkhead.snapshot().in_flight, 1);
    drop(held);
    assert_eq!(bulkhead.snapshot().in_flight, 0);
}
