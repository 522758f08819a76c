use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use seawall::ServerStack;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::service_fn;

use super::*;

/// Sends a byte at a time, and returns when the connection was cut.
async fn drip(mut stream: TcpStream, bytes: &[u8]) {
    in_time(async {
        let mut read = [0; 16];
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            let pause = tokio::time::timeout(ms(10), stream.read(&mut read)).await;
            match pause {
                Err(_) => {}
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => panic!("it was answered"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn sv1_a_head_that_takes_too_long_is_cut() {
    let limit = ms(150);
    let running = Running::new(quiet().header_timeout(limit), app()).await;
    let start = Instant::now();
    let mut waiting = Vec::new();
    // An endless header of HTTP/1, an endless preface and header of HTTP/2, and silence.
    let line: &[u8] = b"GET / HTTP/1.1\r\nx: ";
    for before in [line, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI", b""] {
        let mut stream = running.connect().await;
        stream.write_all(before).await.unwrap();
        waiting.push(tokio::spawn(async move {
            match before.starts_with(b"GET") {
                true => drip(stream, b"a").await,
                false => drop(until_closed(&mut stream).await),
            }
        }));
    }
    for waiting in waiting {
        waiting.await.unwrap();
        assert!(elapsed(start) >= limit);
    }
    until(|| running.server.snapshot().connections == 0).await;

    // A kept connection has the time again for each head, from its first byte on.
    let mut kept = running.connect().await;
    for _ in 0..2 {
        get_on(&mut kept, "/", "hello").await;
        tokio::time::sleep(2 * limit).await;
    }
    let start = Instant::now();
    kept.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    drip(kept, b"a").await;
    assert!(elapsed(start) >= limit);
}

// The head is whole, so that the layers bound it.
#[tokio::test]
async fn sv1_a_body_that_drips_ends_with_the_timeout_of_the_stack() {
    let limit = ms(200);
    let stack = seawall::ServerStack::builder("api", 1).timeout(limit);
    let stack = stack.build().unwrap().until_body_end();
    let bulkhead = stack.bulkhead().clone();
    let read = axum::routing::post(|body: Bytes| async move { body.len().to_string() });
    let app = app().route("/read", read).layer(stack);
    let running = Running::new(quiet(), app).await;
    let mut stream = running.connect().await;
    let start = Instant::now();
    let head = b"POST /read HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(ms(10)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = in_time(reader.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(elapsed(start) >= limit);
    in_time(dripping).await.unwrap();
    until(|| running.server.snapshot().connections == 0).await;
    assert_eq!(bulkhead.snapshot().in_flight, 0);
}

#[tokio::test]
async fn sv1_connections_above_the_cap_are_closed_at_once() {
    let running = Running::new(quiet().max_connections(2), app()).await;
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    get_on(&mut first, "/", "hello").await;
    get_on(&mut second, "/", "hello").await;
    for _ in 0..3 {
        assert_eq!(until_closed(&mut running.connect().await).await, b"");
    }
    assert_eq!(running.server.snapshot().rejected, 3);
    drop(first);
    until(|| running.server.snapshot().connections == 1).await;
    get_on(&mut running.connect().await, "/", "hello").await;
}

#[tokio::test]
async fn sv1_connections_above_the_cap_of_an_address_are_closed_at_once() {
    let running = Running::new(quiet().max_connections_per_address(1), app()).await;
    let mut first = running.connect().await;
    get_on(&mut first, "/", "hello").await;
    assert_eq!(until_closed(&mut running.connect().await).await, b"");
    // Only there is the whole network of loopback an address.
    if cfg!(target_os = "linux") {
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = other.connect(running.address).await.unwrap();
        get_on(&mut other, "/", "hello").await;
    }
}

#[tokio::test]
async fn sv1_an_old_http1_connection_ends_after_its_request() {
    let running = Running::new(quiet().max_age(ms(100)), app()).await;
    let start = Instant::now();
    let mut stream = running.connect().await;
    let young = get_on(&mut stream, "/", "hello").await;
    if young.contains("connection: close") {
        // The machine was that busy.
        assert!(elapsed(start) >= ms(100), "{young}");
        return;
    }
    let old = get_on(&mut stream, "/slow/200", "slow").await;
    assert!(old.contains("connection: close"), "{old}");
    assert_eq!(until_closed(&mut stream).await, b"");
}

#[tokio::test]
async fn sv1_an_old_http2_connection_ends_after_its_request() {
    let running = Running::new(quiet().max_age(ms(100)), app()).await;
    let (mut client, connection) = http2(running.address).await;
    let answer = in_time(client.send_request(request("/slow/200"))).await;
    assert_eq!(text(answer.unwrap()).await, "slow");
    // By GOAWAY; the client still holds the other end.
    in_time(connection).await.unwrap();
    assert!(client.ready().await.is_err());
    until(|| running.server.snapshot().connections == 0).await;
}

#[tokio::test]
async fn sv1_an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let running = Running::new(quiet().idle_timeout(ms(100)), app()).await;
    let mut stream = running.connect().await;
    let (mut client, connection) = http2(running.address).await;
    let answer = client.send_request(request("/slow/400")).await;
    assert_eq!(text(answer.unwrap()).await, "slow");
    get_on(&mut stream, "/slow/400", "slow").await;
    assert_eq!(until_closed(&mut stream).await, b"");
    in_time(connection).await.unwrap();
    drop(client);
}

// The server pings its client, which answers, and both write: that is no request.
#[tokio::test]
async fn sv1_pings_do_not_keep_an_idle_connection_open() {
    let builder = quiet().idle_timeout(ms(200)).http(|http| {
        http.http2().keep_alive_interval(ms(20));
    });
    let running = Running::new(builder, app()).await;
    let (mut client, connection) = http2(running.address).await;
    let answer = client.send_request(request("/slow/400")).await;
    assert_eq!(text(answer.unwrap()).await, "slow");
    in_time(connection).await.unwrap();
    drop(client);
}

/// Notifies `called` in each request.
fn large(called: &Arc<Notify>) -> Router {
    let (called, body) = (Arc::clone(called), Bytes::from(vec![b'x'; 32 << 20]));
    let answer = move || async move {
        called.notify_one();
        body
    };
    Router::new().route("/", get(answer))
}

// The whole response is in hyper's buffer, and its reader takes a part of it now and then.
#[tokio::test]
async fn sv1_a_slow_reader_is_not_idle() {
    let running = Running::new(quiet().idle_timeout(ms(300)), large(&Arc::default())).await;
    let mut stream = running.connect().await;
    send(&mut stream, "/").await;
    let (start, mut read) = (Instant::now(), 0);
    let mut bytes = vec![0; 1 << 20];
    while read < 32 << 20 {
        let n = in_time(stream.read(&mut bytes)).await.unwrap();
        assert!(n > 0, "cut after {read} bytes");
        read += n;
        if elapsed(start) < secs(1) {
            tokio::time::sleep(ms(30)).await;
        }
    }
}

#[tokio::test]
async fn sv1_a_reader_that_takes_nothing_is_cut() {
    let builder = quiet().idle_timeout(ms(100)).header_timeout(ms(100));
    let called = Arc::new(Notify::new());
    let running = Running::new(builder, large(&called)).await;
    let mut stream = running.connect().await;
    send(&mut stream, "/").await;
    in_time(called.notified()).await;
    until(|| running.server.snapshot().connections == 0).await;
    assert!(until_closed(&mut stream).await.len() < 32 << 20);
}

// The same in chunks, of which the stack holds the call's permit until the last.
#[tokio::test]
async fn sv1_a_reader_that_takes_nothing_returns_its_permit() {
    let builder = quiet().idle_timeout(ms(100)).header_timeout(ms(100));
    let called = Arc::new(Notify::new());
    let stack = ServerStack::http("downloads", 1);
    let bulkhead = stack.bulkhead().clone();
    let running = Running::new(builder, large(&called).layer(stack)).await;
    let mut stream = running.connect().await;
    send(&mut stream, "/").await;
    in_time(called.notified()).await;
    assert_eq!(bulkhead.snapshot().in_flight, 1);
    until(|| bulkhead.snapshot().in_flight == 0).await;
    assert!(until_closed(&mut stream).await.len() < 32 << 20);
}

#[tokio::test]
async fn sv1_any_tower_service_is_served_and_a_handshake_comes_first() {
    let server = quiet().header_timeout(ms(200)).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = server.clone();
    tokio::spawn(async move {
        let app = service_fn(|request: Request<Incoming>| async move {
            let text = format!("{:?}", request.version());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        });
        // A stream of another type, after four bytes.
        let handshake = |mut stream: TcpStream| async move {
            let mut word = [0; 4];
            stream.read_exact(&mut word).await?;
            match &word {
                b"open" => Ok(BufStream::new(stream)),
                _ => Err(io::Error::other("not the word")),
            }
        };
        serving.serve_tls(listener, handshake, app).await
    });

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"open").await.unwrap();
    get_on(&mut stream, "/", "HTTP/1.1").await;

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"open").await.unwrap();
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let answer = client.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0");

    let start = Instant::now();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"op").await.unwrap();
    let mut wrong = TcpStream::connect(address).await.unwrap();
    wrong.write_all(b"shut").await.unwrap();
    assert_eq!(until_closed(&mut wrong).await, b"");
    assert_eq!(until_closed(&mut slow).await, b"");
    assert!(elapsed(start) >= ms(200));
}
