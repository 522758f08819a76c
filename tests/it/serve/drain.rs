use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::body::Bytes;
use axum::routing::get;
use futures::StreamExt;
use seawall::serve::Phase;
use tokio::sync::Notify;

use super::*;

/// An app with `/` and `/held`, whose answer waits for the notification.
fn held(release: &Arc<Notify>) -> Router {
    let release = Arc::clone(release);
    let held = move || {
        let release = Arc::clone(&release);
        async move {
            release.notified().await;
            "held"
        }
    };
    app().route("/held", get(held))
}

async fn closes(address: SocketAddr) {
    in_time(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn sv2_a_drain_goes_in_order() {
    let release = Arc::new(Notify::new());
    let builder = quiet().settle(ms(300)).drain(secs(20));
    let server = builder.clone().build().unwrap();
    let health = server.health();
    let app = held(&release).route_service("/readyz", health);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = server.clone();
    let task = tokio::spawn(async move { serving.serve(listener, app).await });
    let running = Running {
        server,
        address,
        task,
    };

    let ready = get_on(&mut running.connect().await, "/readyz", "ready\n").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let (mut slow, mut idle) = (running.connect().await, running.connect().await);
    get_on(&mut idle, "/", "hello").await;
    send(&mut slow, "/held").await;
    let (mut client, connection) = http2(address).await;
    let slow2 = tokio::spawn(client.send_request(request("/held")));
    until(|| running.server.snapshot().requests == 2).await;

    // Not ready, and everything goes on.
    let start = Instant::now();
    running.server.drain();
    in_time(running.server.draining()).await;
    assert_eq!(running.server.snapshot().phase, Phase::Draining);
    let draining = get_on(&mut running.connect().await, "/readyz", "draining\n").await;
    assert!(draining.starts_with("HTTP/1.1 503"), "{draining}");
    let mut late = running.connect().await;
    let last = get_on(&mut late, "/", "hello").await;
    assert!(last.contains("connection: close"), "{last}");
    assert_eq!(until_closed(&mut late).await, b"");

    // Accepts nothing; idle connections are closed.
    assert_eq!(until_closed(&mut idle).await, b"");
    assert!(elapsed(start) >= ms(300), "the settle time");
    closes(address).await;
    assert_eq!(running.server.snapshot().phase, Phase::Closing);
    assert_eq!(running.server.snapshot().requests, 2);

    // Finishes what is in flight.
    release.notify_waiters();
    let answer = response(&mut slow, "held").await;
    assert!(answer.contains("connection: close"), "{answer}");
    let answer = in_time(slow2).await.unwrap().unwrap();
    assert_eq!(text(answer).await, "held");
    in_time(connection).await.unwrap();
    let drained = running.drained().await;
    assert_eq!((drained, drained.code()), (Drained::Complete, 0));
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Three requests in flight that never end: two heads and a body. Counts the handlers that are dropped.
async fn three_that_never_end(builder: Builder) -> (Running, [TcpStream; 2], Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (of_head, of_body) = (Arc::clone(&dropped), Arc::clone(&dropped));
    let head = move || {
        let dropped = Dropped(Arc::clone(&of_head));
        async move {
            let _dropped = dropped;
            std::future::pending::<&'static str>().await
        }
    };
    let body = move || {
        let dropped = Dropped(Arc::clone(&of_body));
        let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"first"))]);
        let never = futures::stream::pending().map(move |item| {
            let _dropped = &dropped;
            item
        });
        async move { Body::from_stream(first.chain(never)) }
    };
    let app = app().route("/head", get(head)).route("/body", get(body));
    let running = Running::new(builder, app).await;
    let mut streams = [running.connect().await, running.connect().await];
    send(&mut streams[0], "/head").await;
    get_on(&mut streams[1], "/body", "first\r\n").await;
    let (mut client, _connection) = http2(running.address).await;
    tokio::spawn(client.send_request(request("/head")));
    until(|| running.server.snapshot().requests == 3).await;
    (running, streams, dropped)
}

#[tokio::test]
async fn sv2_a_drain_ends_within_its_bound_and_counts_what_was_cut() {
    let (running, mut streams, dropped) = three_that_never_end(quiet().drain(ms(150))).await;
    let start = Instant::now();
    running.server.drain();
    let server = running.server.clone();
    let drained = running.drained().await;
    assert!(elapsed(start) >= ms(150));
    assert_eq!(drained, Drained::TimedOut { requests: 3 });
    assert_eq!(drained.code(), 1);
    for stream in &mut streams {
        until_closed(stream).await;
    }
    until(|| dropped.load(Ordering::SeqCst) == 3).await;
    assert_eq!(server.snapshot().requests, 0);
    assert_eq!(server.snapshot().connections, 0);
}

#[tokio::test]
async fn sv2_a_cut_ends_a_drain_at_once() {
    let builder = quiet().settle(secs(60)).drain(secs(60));
    let (running, _streams, dropped) = three_that_never_end(builder).await;
    running.server.drain();
    in_time(running.server.draining()).await;
    running.server.cut();
    let drained = running.drained().await;
    assert_eq!(drained, Drained::Cut { requests: 3 });
    assert_eq!(drained.code(), 2);
    until(|| dropped.load(Ordering::SeqCst) == 3).await;
}

// The connections see a cut before the drain does.
#[tokio::test]
async fn sv2_a_cut_is_reported_if_the_connections_end_first() {
    let server = quiet().drain(secs(60)).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = pin!(server.serve(listener, app()));
    let in_flight = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        send(&mut stream, "/never").await;
        until(|| server.snapshot().requests == 1).await;
        stream
    };
    let _stream = tokio::select! {
        drained = &mut serving => panic!("{drained:?}"),
        stream = in_flight => stream,
    };
    server.drain();
    server.cut();
    // Only the tasks of the connections run here.
    until(|| server.snapshot().connections == 0).await;
    let drained = in_time(serving).await.unwrap();
    assert_eq!(drained, Drained::Cut { requests: 1 });
}

/// Sends a signal to this process.
#[cfg(unix)]
fn kill(signal: &str) {
    let command = format!("kill -{signal} {}", std::process::id());
    let status = std::process::Command::new("sh")
        .args(["-c", &command])
        .status();
    assert!(status.unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn sv2_signals_drain_and_a_second_one_cuts() {
    let builder = || quiet().signals(true).settle(secs(60)).drain(secs(60));
    let (running, _streams, _) = three_that_never_end(builder()).await;
    // One signal counts once, however many listeners there are.
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = running.server.clone();
    let second = tokio::spawn(async move { serving.serve(second, app()).await });
    tokio::task::yield_now().await;
    kill("TERM");
    in_time(running.server.draining()).await;
    assert_eq!(running.server.snapshot().phase, Phase::Draining);
    kill("TERM");
    assert_eq!(running.drained().await, Drained::Cut { requests: 3 });
    let _drained = in_time(second).await.unwrap().unwrap();

    // From a terminal there is no load balancer to wait for.
    let running = Running::new(builder(), app()).await;
    get_on(&mut running.connect().await, "/", "hello").await;
    kill("INT");
    assert_eq!(running.drained().await, Drained::Complete);
}

// The connection belongs to the handler then, and is still bounded, waited for and counted.
#[tokio::test]
async fn sv2_an_upgraded_connection_keeps_its_permit_and_is_waited_for() {
    let upgrade = |request: Request<Body>| async {
        tokio::spawn(async {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            let mut upgraded = TokioIo::new(upgraded);
            let mut byte = [0];
            let _ = upgraded.read(&mut byte).await;
        });
        let head = http::Response::builder().status(101);
        let head = head
            .header("connection", "upgrade")
            .header("upgrade", "echo");
        head.body(Body::empty()).unwrap()
    };
    let app = Router::new().route("/", get(upgrade));
    for ends in [true, false] {
        let builder = quiet()
            .max_connections(1)
            .drain(ms(if ends { 60_000 } else { 200 }));
        let running = Running::new(builder, app.clone()).await;
        let mut stream = running.connect().await;
        let head = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let answer = response(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        until(|| running.server.snapshot().requests == 0).await;
        assert_eq!(
            until_closed(&mut running.connect().await).await,
            b"",
            "above the cap"
        );
        let server = running.server.clone();
        server.drain();
        until(|| server.snapshot().phase == Phase::Closing).await;
        assert_eq!(server.snapshot().connections, 1);
        if ends {
            stream.write_all(b".").await.unwrap();
            assert_eq!(running.drained().await, Drained::Complete);
        } else {
            assert_eq!(running.drained().await, Drained::TimedOut { requests: 1 });
        }
    }
}

#[tokio::test]
async fn sv2_listeners_of_one_server_drain_together() {
    let running = Running::new(quiet(), app()).await;
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = second.local_addr().unwrap();
    let serving = running.server.clone();
    let second = tokio::spawn(async move { serving.serve(second, serving.health()).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    get_on(&mut stream, "/readyz", "ready\n").await;
    running.server.drain();
    assert_eq!(until_closed(&mut stream).await, b"");
    assert_eq!(running.drained().await, Drained::Complete);
    assert_eq!(in_time(second).await.unwrap().unwrap(), Drained::Complete);
}

#[tokio::test]
async fn sv2_dropping_the_server_closes_its_connections() {
    let (running, mut streams, dropped) = three_that_never_end(quiet()).await;
    running.task.abort();
    for stream in &mut streams {
        until_closed(stream).await;
    }
    closes(running.address).await;
    until(|| dropped.load(Ordering::SeqCst) == 3).await;
    assert_eq!(running.server.snapshot().connections, 0);
}
