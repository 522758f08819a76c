//! Calls that last until the end of their bodies, over real sockets.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::circuit_breaker::{State, Trip};
use seawall::http::{ReplayBody, RequestBody};
use seawall::{Bulkhead, ClientStack, Error, Reason, ServerStack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::ms;

async fn serve(app: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A connection on which a request was sent.
async fn request(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: it\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The status of the response, of whose body little is read.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}

/// Waits until no call is in flight.
async fn idle(bulkhead: &Bulkhead) {
    let start = Instant::now();
    while bulkhead.snapshot().in_flight > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "a permit is lost"
        );
        tokio::time::sleep(ms(5)).await;
    }
}

// HB1, BH1
#[tokio::test(flavor = "multi_thread")]
async fn hb1_sixty_slow_readers_under_a_limit_of_four_are_four_in_flight() {
    let stack = ServerStack::http("files", 4);
    let file = Bytes::from(vec![7; 20_000_000]);
    let download = get(async move || file.clone());
    let address = serve(Router::new().route("/", download).layer(stack.clone())).await;
    let readers = (0..60).map(|_| async move {
        let start = Instant::now();
        let mut stream = request(address, "/").await;
        (status(&mut stream).await, stream, start.elapsed())
    });
    let readers = futures::future::join_all(readers).await;
    // At once, half of them: a busy machine is late.
    let rejected = readers.iter().filter(|(status, ..)| *status == 503);
    let mut took: Vec<_> = rejected.map(|(.., took)| *took).collect();
    took.sort();
    assert!(took[took.len() / 2] < ms(500), "{took:?}");
    let with = |wanted| {
        readers
            .iter()
            .filter(|(status, ..)| *status == wanted)
            .count()
    };
    assert_eq!((with(200), with(503)), (4, 56));
    assert_eq!(stack.bulkhead().snapshot().in_flight, 4);
    drop(readers);
    idle(stack.bulkhead()).await;
    let mut again = request(address, "/").await;
    assert_eq!(status(&mut again).await, 200);
}

// HB1, CX7
#[tokio::test(flavor = "multi_thread")]
async fn hb1_connections_that_break_off_anywhere_give_every_permit_back() {
    let stack = ServerStack::http("files", 64);
    let file = Bytes::from(vec![7; 300_000]);
    let download = get(async move || {
        let chunks = (0..30).map(move |n| file.slice(n * 10_000..(n + 1) * 10_000));
        let chunks = futures::stream::iter(chunks).then(async |chunk| {
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(chunk)
        });
        Body::from_stream(chunks)
    });
    let address = serve(Router::new().route("/", download).layer(stack.clone())).await;
    let clients = futures::stream::iter(0..1_000_u64).for_each_concurrent(40, async |n| {
        let mut random = fastrand::Rng::with_seed(n);
        let mut stream = request(address, "/").await;
        let mut left = vec![0; random.usize(0..320_000)];
        if random.bool() {
            let _ = tokio::time::timeout(ms(20), stream.read_exact(&mut left)).await;
        }
    });
    clients.await;
    idle(stack.bulkhead()).await;
}

// HB3, HB1
#[tokio::test(flavor = "multi_thread")]
async fn hb3_a_truncated_body_is_a_failure_of_its_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut")
                .await;
        }
    });
    let stack = ClientStack::builder("truncated")
        .breaker(|breaker| breaker.trips([Trip::consecutive_failures(2)]))
        .build()
        .unwrap()
        .until_body_end();
    let client: Client<_, ReplayBody<Empty<Bytes>>> =
        Client::builder(TokioExecutor::new()).build_http();
    let client = stack.layer(
        ServiceBuilder::new()
            .map_err(Error::service)
            .service(client),
    );
    let breaker = stack.breakers().get(&address.to_string());
    for _ in 0..2 {
        assert_eq!(breaker.state(), State::Closed);
        let request = Request::get(format!("http://{address}/")).body(Empty::new());
        let response = client.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let bulkhead = stack.bulkheads().get(&address.to_string());
        assert_eq!(bulkhead.snapshot().in_flight, 1);
        response.into_body().collect().await.unwrap_err();
        assert_eq!(bulkhead.snapshot().in_flight, 0);
    }
    assert_eq!(breaker.state(), State::Open);
}

// HB1, HB4
#[tokio::test(flavor = "multi_thread")]
async fn hb1_a_stalled_body_ends_with_the_clients_total_and_names_it() {
    let hangs =
        get(async || Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()));
    let address = serve(Router::new().route("/", hangs)).await;
    let stack = ClientStack::builder("stalled")
        .total_timeout(ms(400))
        .attempt_timeout(ms(100))
        .build()
        .unwrap()
        .until_body_end();
    let client: Client<_, ReplayBody<Empty<Bytes>>> =
        Client::builder(TokioExecutor::new()).build_http();
    let client = stack.layer(
        ServiceBuilder::new()
            .map_err(Error::service)
            .service(client),
    );
    let start = Instant::now();
    let request = Request::get(format!("http://{address}/")).body(Empty::new());
    let response = client.oneshot(request.unwrap()).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert!(start.elapsed() >= ms(400));
    let reason = Reason::of(&*error).unwrap();
    assert_eq!(&**reason.policy(), "stalled.total_timeout");
}

// HB9
#[tokio::test]
async fn hb9_a_stack_stands_above_layers_whose_bodies_have_no_default() {
    let answer = |_: Request<tower_http::body::Limited<RequestBody<Body>>>| {
        let response = http::Response::new(Body::from("hello"));
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    };
    let service = ServiceBuilder::new()
        .layer(ServerStack::http("api", 1))
        .layer(tower_http::trace::TraceLayer::new_for_http())
        .layer(tower_http::compression::CompressionLayer::new())
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(tower_http::limit::RequestBodyLimitLayer::new(1_000))
        .service(service_fn(answer));
    let request = || Request::new(Body::empty());
    let held = service.clone().oneshot(request()).await.unwrap();
    let rejected = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = held.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "hello");
}

// HB1, HB2
#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn hb1_a_servers_timeout_is_for_the_head_and_a_body_that_makes_progress_goes_on() {
    let slow = |_: Request<RequestBody<Body>>| async {
        let chunks = futures::stream::iter(0..60).then(async |_| {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok::<_, std::io::Error>(Bytes::from("."))
        });
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from_stream(chunks)))
    };
    let stack = ServerStack::http("files", 1);
    type Stack = seawall::http::HttpServerStack;
    let read = async |stack: Stack| {
        let service = stack.layer(service_fn(slow));
        let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
        response
            .into_body()
            .collect()
            .await
            .map(|all| all.to_bytes().len())
    };
    assert_eq!(read(stack.clone()).await.unwrap(), 60);
    let error = read(stack.timeout_until_body_end()).await.unwrap_err();
    let reason = Reason::of(&*error).unwrap();
    assert_eq!(&**reason.policy(), "files.timeout");
}
