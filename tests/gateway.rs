//! The example `examples/gateway`, in front of real servers on loopback.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(dead_code, reason = "the tests use a part of each module")]

#[path = "../examples/gateway/args.rs"]
mod args;
#[path = "../examples/gateway/counts.rs"]
mod counts;
#[path = "../examples/gateway/headers.rs"]
mod headers;
#[path = "../examples/gateway/load.rs"]
mod load;
#[path = "../examples/gateway/policies.rs"]
mod policies;
#[path = "../examples/gateway/proxy.rs"]
mod proxy;
#[path = "../examples/gateway/serve.rs"]
mod serve;
#[path = "../examples/gateway/target.rs"]
mod target;
#[path = "../examples/gateway/upstream.rs"]
mod upstream;
#[path = "../examples/gateway/upstreams.rs"]
mod upstreams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use axum::response::IntoResponse;
use axum::routing::any;
use axum::serve::ListenerExt;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::ResponseFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use args::{Args, Stop};
use policies::Limits;
use proxy::{Gateway, Health, Policies, Upstream};
use seawall::{Bulkhead, CircuitBreaker};
use target::Target;

const MEGABYTE: usize = 1 << 20;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn limits() -> Limits {
    Limits {
        rate: 1_000_000,
        burst: 1_000_000,
        client_rate: None,
        client_key: None,
        in_flight: 10_000,
        timeout: Duration::from_secs(20),
        attempt_timeout: Duration::from_secs(10),
        attempts: 3,
        budget: 10,
        hedge: Some(0.95),
        hedge_samples: 20,
        capacity: 1_000,
        queue: 0,
        queue_wait: millis(100),
        failures: 5,
        failing_for: Duration::from_secs(1),
        failure_rate: 0.5,
        min_calls: 20,
        open_for: Duration::from_secs(1),
        open_at_most: Duration::from_secs(5),
        probes: 3,
    }
}

/// A gateway that runs in this process.
struct Running {
    addr: SocketAddr,
    health: Health,
    policies: Policies,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<usize>,
}

impl Running {
    async fn over(app: Router, limits: Limits) -> Self {
        Self::before(upstream(app).await, limits).await
    }

    async fn before(upstream: SocketAddr, limits: Limits) -> Self {
        Self::start(upstream, limits, false, Duration::ZERO).await
    }

    async fn start(upstream: SocketAddr, limits: Limits, http2: bool, drain: Duration) -> Self {
        Self::start_all(&[upstream], limits, http2, drain).await
    }

    async fn start_all(
        upstreams: &[SocketAddr],
        limits: Limits,
        http2: bool,
        drain: Duration,
    ) -> Self {
        let target = |upstream| {
            let target = Target::parse(&format!("http://{upstream}")).unwrap();
            target.with_http2(http2)
        };
        let targets: Vec<_> = upstreams.iter().map(target).collect();
        let gateway = Gateway::protected(&targets, &limits, |_| {}).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let health = gateway.health.clone();
        let policies = health.policies.clone().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve::serve(listener, gateway, stopped, drain));
        Self {
            addr,
            health,
            policies,
            stop: Some(stop),
            served,
        }
    }

    /// The policies of the only upstream.
    fn upstream(&self) -> &(CircuitBreaker, Bulkhead) {
        let all = self.policies.upstreams.all();
        assert_eq!(all.len(), 1);
        all[0].policies.as_ref().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Sends a GET over a connection of its own.
    fn send(&self, path: &str) -> ResponseFuture {
        let request = Request::get(self.url(path)).body(Body::empty()).unwrap();
        h1().request(request)
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        read(self.send(path).await.unwrap()).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.0.as_u16()
    }

    /// The answer of `/readyz`.
    async fn readyz(&self) -> String {
        self.get("/readyz").await.2
    }

    fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }
}

async fn read(response: Response<Incoming>) -> (StatusCode, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn upstream(app: Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    // Small pieces would otherwise wait for the acknowledgement of those before.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    addr
}

/// An address without a listener.
async fn no_listener() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap()
}

fn h1() -> Upstream {
    proxy::client(false, None)
}

fn random_bytes(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..len).map(|_| random.u8(..)).collect()
}

/// The whole answer to `request` on a connection of its own.
async fn raw(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[track_caller]
fn within(start: Instant, bound: u64) {
    let took = start.elapsed();
    assert!(took < millis(bound), "{took:?}");
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        sleep(millis(10)).await;
    }
    panic!("after 10 s: {what}");
}

fn echo() -> Router {
    Router::new().fallback(any(|request: Request| async {
        Response::new(request.into_body())
    }))
}

/// A body without a length, of what a test sends and when it sends it.
struct Sent(mpsc::Receiver<Frame<Bytes>>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn by_hand() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::new(Sent(receiver)))
}

/// Answers one request with `body`.
fn once(body: Body) -> Router {
    let body = Arc::new(Mutex::new(Some(body)));
    Router::new().fallback(any(move || {
        let body = body.lock().unwrap().take().unwrap();
        std::future::ready(Response::new(body))
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_goes_up_and_down_byte_for_byte() {
    let gateway = Running::over(echo(), limits()).await;
    let sent = random_bytes(MEGABYTE);
    let (sender, chunked) = by_hand();
    let chunks = sent.clone();
    tokio::spawn(async move {
        for chunk in chunks.chunks(10_007) {
            let frame = Frame::data(Bytes::copy_from_slice(chunk));
            sender.send(frame).await.unwrap();
        }
    });
    for (body, sized) in [(Body::from(sent.clone()), true), (chunked, false)] {
        let request = Request::post(gateway.url("/")).body(body).unwrap();
        let response = h1().request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().contains_key("content-length"), sized);
        let got = response.into_body().collect().await.unwrap().to_bytes();
        assert!(
            got == sent,
            "{} of {} bytes, or others",
            got.len(),
            sent.len()
        );
    }
    eventually("nothing is in flight", || {
        gateway.health.counts.requests() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_headers_are_forwarded_except_those_of_the_connection() {
    let seen = Arc::new(Mutex::new(None));
    let seen_by_handler = Arc::clone(&seen);
    let app = Router::new().fallback(any(move |request: Request| {
        let seen = Arc::clone(&seen_by_handler);
        async move {
            let (head, _) = request.into_parts();
            *seen.lock().unwrap() = Some((head.uri, head.headers));
            Response::builder()
                .status(207)
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .header("set-cookie", "c=3")
                .header("x-answer", HeaderValue::from_bytes(b"caf\xe9").unwrap())
                .header("connection", "x-secret")
                .header("x-secret", "of the connection")
                .header("keep-alive", "timeout=5")
                .body(Body::from("yes"))
                .unwrap()
        }
    }));
    let behind = upstream(app).await;
    let gateway = Running::before(behind, limits()).await;
    let request = Request::get(gateway.url("/a%2Fb//c;d?x=1&y=%20&x=2"))
        .header("x-many", "first")
        .header("x-many", "second")
        .header("x-many", "third, fourth")
        .header("authorization", "Basic abc")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-forwarded-for", "10.0.0.2")
        .header("connection", "x-hop")
        .header("x-hop", "of the connection")
        .header("te", "gzip")
        .header("proxy-authorization", "Basic def")
        .body(Body::empty())
        .unwrap();
    let (status, answered, body) = read(h1().request(request).await.unwrap()).await;

    let (uri, received) = seen.lock().unwrap().take().unwrap();
    let all = |name: &str| -> Vec<_> { received.get_all(name).iter().cloned().collect() };
    assert_eq!(uri, "/a%2Fb//c;d?x=1&y=%20&x=2");
    assert_eq!(all("x-many"), ["first", "second", "third, fourth"]);
    assert_eq!(all("authorization"), ["Basic abc"]);
    assert_eq!(all("x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"]);
    assert_eq!(all("x-forwarded-host"), [gateway.addr.to_string().as_str()]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("host"), [behind.to_string().as_str()]);
    for gone in ["x-hop", "connection", "te", "proxy-authorization"] {
        assert!(
            !received.contains_key(gone),
            "{gone} was forwarded: {received:?}"
        );
    }

    assert_eq!((status.as_u16(), body.as_str()), (207, "yes"));
    let cookies: Vec<_> = answered.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2", "c=3"]);
    assert_eq!(answered["x-answer"].as_bytes(), b"caf\xe9");
    assert_eq!(answered["content-length"], "3");
    for gone in ["x-secret", "connection", "keep-alive"] {
        assert!(
            !answered.contains_key(gone),
            "{gone} came back: {answered:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_length_is_invented_where_there_is_no_body() {
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
        ("HEAD", "200 OK\r\ncontent-length: 7\r\n\r\n", Some("7")),
        ("GET", "304 Not Modified\r\n\r\n", None),
        ("GET", "204 No Content\r\n\r\n", None),
        ("GET", "200 OK\r\ncontent-length: 0\r\n\r\n", Some("0")),
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok", Some("2")),
        ("GET", "200 OK\r\nconnection: close\r\n\r\nok", None),
    ] {
        let behind = answering(vec![format!("HTTP/1.1 {answer}")]).await;
        let gateway = Running::before(behind, limits()).await;
        let request = Request::builder().method(method).uri(gateway.url("/"));
        let request = request.body(Body::empty()).unwrap();
        let (_, headers, body) = read(h1().request(request).await.unwrap()).await;
        let got = headers
            .get("content-length")
            .map(|value| value.to_str().unwrap());
        assert_eq!(got, length, "{method} {answer}");
        assert_eq!(body, if answer.ends_with("ok") { "ok" } else { "" });
    }
}

/// An upstream that gives each of these answers to one connection and closes it.
async fn answering(answers: Vec<String>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    addr
}

/// Answers with the trailers it was sent, and with the body in capitals.
fn trailers() -> Router {
    Router::new().fallback(any(|request: Request| async {
        let wants = request.headers()["te"] == "trailers";
        let body = request.into_body().collect().await.unwrap();
        let mut trailers = body.trailers().cloned().unwrap();
        trailers.insert("x-wants", HeaderValue::from(u16::from(wants)));
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let body = Full::from(text.to_uppercase());
        let body = body.with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(Body::new(Unsized(Box::pin(body))));
        let announced = HeaderValue::from_static("x-sum, x-sum-two, x-wants");
        response.headers_mut().insert("trailer", announced);
        response
    }))
}

/// A body that hides its length, so that HTTP/1 sends it in chunks.
struct Unsized<B>(Pin<Box<B>>);

impl<B: http_body::Body> http_body::Body for Unsized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.0.as_mut().poll_frame(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    let behind = upstream(trailers()).await;
    for (up, down) in [(false, false), (true, false), (false, true), (true, true)] {
        let gateway = Running::start(behind, limits(), up, Duration::ZERO).await;
        let (sender, body) = by_hand();
        tokio::spawn(async move {
            sender.send(Frame::data("some".into())).await.unwrap();
            sender.send(Frame::data(" text".into())).await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            trailers.insert("x-sum-two", HeaderValue::from_static("43"));
            sender.send(Frame::trailers(trailers)).await.unwrap();
        });
        let mut request = Request::post(gateway.url("/"))
            .header("te", "trailers")
            .header("trailer", "x-sum, x-sum-two");
        if down {
            request = request.version(Version::HTTP_2);
        } else {
            request = request.header("connection", "te");
        }
        let client = proxy::client(down, None);
        let response = client.request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned();
        let trailers = trailers.unwrap_or_else(|| panic!("http/2: {up}, {down}: no trailers"));
        assert_eq!(trailers["x-sum"], "42");
        assert_eq!(trailers["x-sum-two"], "43");
        assert_eq!(trailers["x-wants"], "1");
        assert_eq!(body.to_bytes(), "SOME TEXT");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_download_is_streamed_beyond_the_timeouts() {
    let (sender, body) = by_hand();
    let timeouts = Limits {
        attempt_timeout: millis(100),
        timeout: millis(150),
        ..limits()
    };
    let gateway = Running::over(once(body), timeouts).await;

    let response = gateway.send("/").await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    // Each piece is sent after the one before has arrived, so nothing is buffered.
    for piece in 0..8_u8 {
        sender
            .send(Frame::data(Bytes::from(vec![piece; 1_000])))
            .await
            .unwrap();
        let mut got = 0;
        while got < 1_000 {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(data.iter().all(|byte| *byte == piece));
            got += data.len();
        }
        sleep(millis(50)).await;
    }
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_streamed() {
    let (seen, mut arrived) = mpsc::channel(1);
    let app = Router::new().fallback(any(move |request: Request| {
        let seen = seen.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let len = frame.data_ref().map_or(0, Bytes::len);
                seen.send(len).await.unwrap();
            }
        }
    }));
    let gateway = Running::over(app, limits()).await;
    let (sender, body) = by_hand();
    let request = Request::post(gateway.url("/")).body(body).unwrap();
    let call = tokio::spawn(h1().request(request));
    for _ in 0..5 {
        sender
            .send(Frame::data(Bytes::from(vec![1; 100])))
            .await
            .unwrap();
        assert_eq!(arrived.recv().await, Some(100));
    }
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_answers_429_and_does_not_change_the_health() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let app = Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready("hello")
    }));
    let few = Limits {
        rate: 1,
        burst: 1,
        ..limits()
    };
    let gateway = Running::over(app, few).await;
    for _ in 0..5 {
        assert_eq!(gateway.status("/healthz").await, 200);
        assert_eq!(gateway.status("/readyz").await, 200);
    }
    let mut rejected = 0;
    for _ in 0..20 {
        let (status, headers, _) = gateway.get("/").await;
        if status == 429 {
            assert_eq!(headers["retry-after"], "1");
            rejected += 1;
        }
    }
    assert!(rejected >= 10, "{rejected} of 20 rejected");
    assert_eq!(calls.load(Ordering::SeqCst), 20 - rejected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_has_a_rate_of_its_own_by_its_header_or_its_address() {
    let app = Router::new().fallback(any(async || "hello"));
    let limited = Limits {
        client_rate: Some(3),
        client_key: Some("x-api-key".parse().unwrap()),
        ..limits()
    };
    let gateway = Running::over(app, limited).await;
    let served = async |key: Option<&str>| {
        let mut served = 0;
        for _ in 0..30 {
            let mut request = Request::get(gateway.url("/"));
            if let Some(key) = key {
                request = request.header("x-api-key", key);
            }
            let request = request.body(Body::empty()).unwrap();
            let (status, headers, _) = read(h1().request(request).await.unwrap()).await;
            match status.as_u16() {
                200 => served += 1,
                429 => assert_eq!(headers["retry-after"], "1"),
                other => panic!("{other}"),
            }
        }
        served
    };
    let start = Instant::now();
    for key in [Some("a"), Some("b"), None] {
        let served = served(key).await;
        let refilled = (3 * (start.elapsed().as_secs() + 1)) as usize;
        assert!((3..=3 + refilled).contains(&served), "{key:?}: {served}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_each_upstream_in_turn_except_to_those_with_an_open_breaker() {
    let calls: [_; 2] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
    let mut behind = Vec::new();
    for (number, calls) in calls.iter().enumerate() {
        let calls = Arc::clone(calls);
        let app = Router::new().fallback(any(move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(number.to_string())
        }));
        behind.push(upstream(app).await);
    }
    behind.insert(1, no_listener().await);
    let quick = Limits {
        attempts: 1,
        failures: 2,
        failing_for: Duration::ZERO,
        open_for: Duration::from_secs(60),
        open_at_most: Duration::from_secs(60),
        ..limits()
    };
    let gateway = Running::start_all(&behind, quick, false, Duration::ZERO).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let (status, _, body) = gateway.get("/").await;
        answers.push(if status == 200 {
            body
        } else {
            status.to_string()
        });
    }
    // Its second failure opens the breaker of the one in the middle.
    let dead = "502 Bad Gateway";
    let turns = ["0", dead, "1", "0", dead, "1", "0", "1", "1", "0"];
    assert_eq!(answers, turns);
    assert_eq!(
        calls.each_ref().map(|calls| calls.load(Ordering::SeqCst)),
        [4, 4]
    );
    let (_, _, ready) = gateway.get("/readyz").await;
    let degraded = format!("degraded: upstream.breaker@{} is open\n", behind[1]);
    assert_eq!(ready, degraded);

    // If all breakers are open, the gateway rejects.
    for one in gateway.policies.upstreams.all() {
        one.policies.as_ref().unwrap().0.force_open();
    }
    assert_eq!(gateway.status("/").await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_above_the_limit_in_flight_is_answered_503() {
    let app = Router::new().fallback(any(async |request: Request| {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
    }));
    let narrow = Limits {
        in_flight: 1,
        ..limits()
    };
    let gateway = Running::over(app, narrow).await;
    let held = tokio::spawn(gateway.send("/hang"));
    let capacity = || gateway.policies.bulkhead.snapshot().in_flight;
    eventually("it is in flight", || capacity() == 1).await;
    assert_eq!(gateway.status("/").await, 503);
    assert_eq!(gateway.status("/healthz").await, 200);
    held.abort();
    eventually("its permit is back", || capacity() == 0).await;
    assert_eq!(gateway.status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_upstream_is_504_then_503_and_readyz_is_degraded() {
    let hangs = Arc::new(AtomicBool::new(true));
    let calls = Arc::new(AtomicUsize::new(0));
    let (hang, count) = (Arc::clone(&hangs), Arc::clone(&calls));
    let app = Router::new().fallback(any(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let hangs = hang.load(Ordering::SeqCst);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            "hello"
        }
    }));
    let quick = Limits {
        attempt_timeout: millis(50),
        attempts: 1,
        failures: 3,
        failing_for: Duration::ZERO,
        open_for: Duration::from_secs(2),
        open_at_most: Duration::from_secs(2),
        ..limits()
    };
    let gateway = Running::over(app, quick).await;
    assert_eq!(gateway.readyz().await, "ready\n");
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(gateway.status("/").await, 504);
    }
    within(start, 5_000);
    let (status, headers, _) = gateway.get("/").await;
    assert_eq!(status, 503);
    assert!(["1", "2"].contains(&headers["retry-after"].to_str().unwrap()));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let (status, _, body) = gateway.get("/readyz").await;
    assert_eq!(status, 200);
    assert!(
        body.contains("degraded") && body.contains("upstream"),
        "{body}"
    );
    assert_eq!(gateway.status("/healthz").await, 200);

    hangs.store(false, Ordering::SeqCst);
    let recovered = async {
        while gateway.status("/").await != 200 {
            sleep(millis(20)).await;
        }
        while gateway.readyz().await != "ready\n" {
            assert_eq!(gateway.status("/").await, 200);
        }
    };
    timeout(Duration::from_secs(10), recovered)
        .await
        .expect("it recovers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_of_the_request_bounds_all_attempts() {
    let app = Router::new().fallback(any(std::future::pending::<()>));
    let short = Limits {
        timeout: millis(50),
        attempt_timeout: millis(50),
        ..limits()
    };
    let gateway = Running::over(app, short).await;
    let start = Instant::now();
    assert_eq!(gateway.status("/").await, 504);
    within(start, 5_000);
    let counts = &gateway.health.counts;
    eventually("nothing is in flight", || counts.requests() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_upstream_is_502_then_503_at_once() {
    let quick = Limits {
        attempts: 1,
        failures: 3,
        failing_for: Duration::ZERO,
        open_for: Duration::from_secs(5),
        ..limits()
    };
    let gateway = Running::before(no_listener().await, quick).await;
    let start = Instant::now();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(gateway.status("/").await);
    }
    assert_eq!(statuses, [502, 502, 502, 503, 503, 503]);
    within(start, 2_000);
    assert_eq!(gateway.status("/healthz").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_is_502_and_the_next_call_works() {
    let works = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let behind = answering(vec![String::new(), works.into()]).await;
    let single = Limits {
        attempts: 1,
        hedge: None,
        ..limits()
    };
    let gateway = Running::before(behind, single).await;
    assert_eq!(gateway.status("/").await, 502);
    let (status, _, body) = gateway.get("/").await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsupported_request_is_501_and_does_not_open_the_breaker() {
    let sensitive = Limits {
        failures: 1,
        failing_for: Duration::ZERO,
        ..limits()
    };
    let gateway = Running::over(echo(), sensitive).await;
    for (request, text) in [
        (
            "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n",
            "CONNECT is not supported",
        ),
        (
            "GET /chat HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n",
            "\"websocket\" is not supported",
        ),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n", "* is not supported"),
    ] {
        let answer = raw(gateway.addr, &format!("{request}connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{request}: {answer}");
        assert!(answer.contains(text), "{request}: {answer}");
    }
    // A server may ignore the offer of HTTP/2, and curl makes it.
    let offer = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nconnection: upgrade, http2-settings, close\r\n\r\n";
    let answer = raw(gateway.addr, offer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(gateway.readyz().await, "ready\n");
}

/// The method, path and body of each request that reached the upstream.
type Arrived = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// Records what arrives, and answers by the path and how often it was requested.
fn recording<F>(arrived: &Arrived, answer: fn(String, usize) -> F) -> Router
where
    F: Future<Output = StatusCode> + Send + 'static,
{
    let arrived = Arc::clone(arrived);
    Router::new().fallback(any(move |request: Request| {
        let arrived = Arc::clone(&arrived);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = head.uri.path().to_owned();
            let times = {
                let mut arrived = arrived.lock().unwrap();
                arrived.push((head.method.to_string(), path.clone(), body));
                arrived.iter().filter(|request| request.1 == path).count()
            };
            answer(path, times).await
        }
    }))
}

/// With a breaker that does not open.
fn steady() -> Limits {
    Limits {
        failures: 4_095,
        failing_for: Duration::from_secs(60),
        min_calls: u32::MAX,
        ..limits()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rt6_rt7_only_idempotent_requests_without_a_body_are_retried() {
    let arrived = Arrived::default();
    let app = recording(&arrived, |_, times| {
        std::future::ready(match times {
            3 => StatusCode::OK,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })
    });
    let gateway = Running::over(app, steady()).await;
    let large = Bytes::from(random_bytes(MEGABYTE));
    let sized = || Body::from(large.clone());
    let (sender, streamed) = by_hand();
    let whole = Frame::data(large.clone());
    tokio::spawn(async move { sender.send(whole).await.unwrap() });
    let none = Body::empty;
    for (method, path, key, body, attempts) in [
        ("GET", "/a", false, none(), 3),
        ("HEAD", "/b", false, none(), 3),
        ("DELETE", "/c", false, none(), 3),
        ("POST", "/d", false, none(), 1),
        ("POST", "/e", true, none(), 3),
        ("PATCH", "/f", false, none(), 1),
        ("GET", "/g", false, sized(), 1),
        ("PUT", "/h", false, sized(), 1),
        ("POST", "/i", true, sized(), 1),
        ("PUT", "/j", false, streamed, 1),
    ] {
        let has_body = !http_body::Body::is_end_stream(&body);
        let mut request = Request::builder().method(method).uri(gateway.url(path));
        if key {
            request = request.header("idempotency-key", "one");
        }
        let response = h1().request(request.body(body).unwrap()).await.unwrap();
        let expected = if attempts == 3 { 200 } else { 500 };
        assert_eq!(response.status(), expected, "{method} {path}");
        let arrived = arrived.lock().unwrap();
        let here: Vec<_> = arrived.iter().filter(|request| request.1 == path).collect();
        assert_eq!(here.len(), attempts, "{method} {path}");
        for (arrived_by, _, body) in here {
            assert_eq!(arrived_by, method);
            let sent = if has_body { &large[..] } else { &[] };
            assert!(*body == sent, "{method} {path}: {} bytes", body.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hg6_a_slow_get_is_hedged_and_no_other_request() {
    let arrived = Arrived::default();
    let app = recording(&arrived, |path, times| async move {
        if path.starts_with("/slow") && times == 1 {
            sleep(millis(1_500)).await;
        }
        StatusCode::OK
    });
    let generous = Limits {
        budget: 100,
        ..steady()
    };
    let gateway = Running::over(app, generous).await;
    while gateway.policies.client.hedge().delay().is_none() {
        assert_eq!(gateway.status("/quick").await, 200);
    }
    let times = |path: &str| {
        let arrived = arrived.lock().unwrap();
        arrived.iter().filter(|request| request.1 == path).count()
    };
    let start = Instant::now();
    assert_eq!(gateway.status("/slow/get").await, 200);
    within(start, 1_500);
    assert_eq!(times("/slow/get"), 2);

    let hedged = gateway.policies.client.hedge().snapshot().made;
    for (method, path, body) in [
        ("POST", "/slow/post", "order"),
        ("POST", "/slow/bare", ""),
        ("PUT", "/slow/put", "order"),
        ("GET", "/slow/body", "order"),
    ] {
        let request = Request::builder().method(method).uri(gateway.url(path));
        let request = request.body(Body::from(body)).unwrap();
        let start = Instant::now();
        assert_eq!(read(h1().request(request).await.unwrap()).await.0, 200);
        assert!(start.elapsed() >= millis(1_500), "{method} {path}");
        assert_eq!(times(path), 1, "{method} {path}");
        let arrived = arrived.lock().unwrap();
        assert_eq!(arrived.last().unwrap().2, body, "{method} {path}");
    }
    assert_eq!(gateway.policies.client.hedge().snapshot().made, hedged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_flag_nothing_is_hedged() {
    let arrived = Arrived::default();
    let app = recording(&arrived, |_, times| async move {
        sleep(millis(if times % 30 == 0 { 100 } else { 0 })).await;
        StatusCode::OK
    });
    let plain = Limits {
        hedge: None,
        ..steady()
    };
    let gateway = Running::over(app, plain).await;
    for _ in 0..90 {
        assert_eq!(gateway.status("/").await, 200);
    }
    assert_eq!(arrived.lock().unwrap().len(), 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rt4_attempts_at_a_failing_upstream_stay_within_the_budget() {
    let arrived = Arrived::default();
    let fails = |_, _| std::future::ready(StatusCode::INTERNAL_SERVER_ERROR);
    let gateway = Running::over(recording(&arrived, fails), steady()).await;
    let start = Instant::now();
    let client = h1();
    let ends = many(1_000, || {
        let request = Request::get(gateway.url("/")).body(Body::empty()).unwrap();
        let call = client.request(request);
        async move { call.await.unwrap().status().to_string() }
    })
    .await;
    assert_eq!(
        ends.keys().collect::<Vec<_>>(),
        ["500 Internal Server Error"]
    );
    let attempts = arrived.lock().unwrap().len() as u64;
    let (burst, floor) = (10, start.elapsed().as_secs() + 1);
    assert!(attempts > 1_050, "{attempts} attempts");
    assert!(attempts <= 1_100 + burst + floor, "{attempts} attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_above_the_capacity_waits_or_is_answered_503() {
    let capacity = Arc::new(Semaphore::new(0));
    let (calls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&capacity));
    let counted = Arc::clone(&calls);
    let app = Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&gate);
        async move { gate.acquire().await.unwrap().forget() }
    }));
    let narrow = Limits {
        capacity: 2,
        queue: 1,
        queue_wait: Duration::from_secs(10),
        failures: 1,
        failing_for: Duration::ZERO,
        ..limits()
    };
    let gateway = Running::over(app, narrow).await;
    let bulkhead = &gateway.upstream().1;
    let is = |in_flight, queued| {
        move || {
            let now = bulkhead.snapshot();
            (now.in_flight, now.queued) == (in_flight, queued)
        }
    };
    let call = || tokio::spawn(gateway.send("/"));
    let admitted = [call(), call()];
    eventually("two are in flight", is(2, 0)).await;
    let queued = call();
    eventually("one queues", is(2, 1)).await;

    // Rejected and not retried: when a permit frees is not known.
    let (status, headers, body) = gateway.get("/").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, ""));
    assert!(!headers.contains_key("retry-after"), "{headers:?}");

    // A waiter that leaves makes room in the queue.
    queued.abort();
    eventually("none queues", is(2, 0)).await;
    let queued = call();
    eventually("one queues again", is(2, 1)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    capacity.add_permits(3);
    for call in admitted.into_iter().chain([queued]) {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    eventually("none is in flight", is(0, 0)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 3);

    bulkhead.change(|now| now.max_wait(millis(50))).unwrap();
    let admitted = [call(), call()];
    eventually("two are in flight again", is(2, 0)).await;
    let start = Instant::now();
    assert_eq!(gateway.status("/").await, 503);
    assert!(start.elapsed() >= millis(50), "{:?}", start.elapsed());
    capacity.add_permits(2);
    for call in admitted {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    // Calls that never reached the upstream do not count.
    assert_eq!(gateway.readyz().await, "ready\n");
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

/// Answers at a random time with a slow body, or fails.
fn uneven(in_upstream: &Arc<AtomicUsize>) -> Router {
    struct Leaves(Arc<AtomicUsize>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let counted = Arc::clone(in_upstream);
    Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let leaves = Leaves(Arc::clone(&counted));
        async move {
            let slow = if fastrand::u8(..10) == 0 { 60 } else { 8 };
            sleep(millis(fastrand::u64(..slow))).await;
            if fastrand::u8(..10) == 0 {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            let (sender, body) = by_hand();
            tokio::spawn(async move {
                let _leaves = leaves;
                for _ in 0..fastrand::u8(1..4) {
                    let piece = Bytes::from(vec![7; fastrand::usize(1..8_000)]);
                    if sender.send(Frame::data(piece)).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_micros(fastrand::u64(..1_000))).await;
                }
            });
            Response::new(body).into_response()
        }
    }))
}

/// With a breaker that opens and probes all the time, so that probes are dropped too, a bulkhead below the
/// number of callers, and hedges and retries for all of them.
fn restless() -> Limits {
    Limits {
        attempt_timeout: millis(30),
        budget: 100,
        hedge: Some(0.5),
        capacity: 8,
        queue: 16,
        queue_wait: millis(10),
        failures: 3,
        failing_for: Duration::ZERO,
        open_for: millis(2),
        open_at_most: millis(5),
        ..limits()
    }
}

async fn becomes_idle(gateway: &Running, in_upstream: &AtomicUsize) {
    let counts = &gateway.health.counts;
    eventually("no requests", || counts.requests() == 0).await;
    eventually("no connections", || counts.connections() == 0).await;
    eventually("the upstream is idle", || {
        in_upstream.load(Ordering::SeqCst) == 0
    })
    .await;
    let client = &gateway.policies.client;
    let (budget, retry, hedge) = (client.budget(), client.retry(), client.hedge());
    let (breaker, bulkhead) = gateway.upstream();
    let all = gateway.policies.bulkhead.snapshot();
    assert_eq!((all.in_flight, all.queued), (0, 0), "{all:?}");
    let probes = breaker.snapshot().probes;
    let out = probes.map_or(0, |probes| probes.in_flight);
    assert_eq!(out, 0, "{probes:?}");
    let capacity = bulkhead.snapshot();
    assert_eq!(
        (capacity.in_flight, capacity.queued),
        (0, 0),
        "{capacity:?}"
    );
    // Only what was sent is spent.
    let (spent, retried, hedged) = (budget.snapshot(), retry.snapshot(), hedge.snapshot());
    let extra = retried.retried + hedged.made;
    assert_eq!(spent.made, extra, "{spent:?}, {retried:?}, {hedged:?}");
    // How many extra attempts find a permit depends on the machine. That slow requests are hedged
    // has a test of its own.
    assert!(hedged.samples > 0, "{hedged:?}");
    let works = async {
        while gateway.status("/").await != 200 {
            sleep(millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), works)
        .await
        .expect("it serves");
}

/// How many calls ended in each way.
type Ends = Arc<Mutex<BTreeMap<String, usize>>>;

/// Runs `caller` this number of times, 64 at once.
async fn many<F>(times: usize, caller: impl Fn() -> F) -> BTreeMap<String, usize>
where
    F: Future<Output = String> + Send + 'static,
{
    let ends = Ends::default();
    let capacity = Arc::new(Semaphore::new(64));
    let mut callers = JoinSet::new();
    for _ in 0..times {
        let permit = Arc::clone(&capacity).acquire_owned().await.unwrap();
        let (caller, ends) = (caller(), Arc::clone(&ends));
        callers.spawn(async move {
            let ended = caller.await;
            *ends.lock().unwrap().entry(ended).or_default() += 1;
            drop(permit);
        });
    }
    callers.join_all().await;
    let ends = ends.lock().unwrap().clone();
    println!("{ends:?}");
    assert_eq!(ends.values().sum::<usize>(), times);
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_with_random_disconnects_leave_every_count_at_zero() {
    let _ = rlimit::increase_nofile_limit(4_096);
    let in_upstream = Arc::default();
    let gateway = Running::over(uneven(&in_upstream), restless()).await;
    let addr = gateway.addr;
    let ends = many(10_000, || disconnect_at_random(addr)).await;
    assert!(ends.contains_key("HTTP/1.1 200"), "{ends:?}");
    assert!(ends.len() >= 6, "{ends:?}");
    becomes_idle(&gateway, &in_upstream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_streams_of_one_connection_leave_every_count_at_zero() {
    let in_upstream = Arc::default();
    let narrow = Limits {
        capacity: 8,
        queue: 64,
        ..limits()
    };
    let gateway = Running::over(uneven(&in_upstream), narrow).await;
    let client = proxy::client(true, None);
    let ends = many(1_000, || {
        let request = Request::get(gateway.url("/"));
        let request = request.version(Version::HTTP_2).body(Body::empty());
        let call = client.request(request.unwrap());
        async move {
            let leaves = fastrand::bool();
            let patience = millis(if leaves { fastrand::u64(..20) } else { 60_000 });
            let call = async {
                // After too many resets hyper takes the caller for an attacker.
                let Ok(response) = call.await else {
                    return "cut off".into();
                };
                let status = response.status();
                let _ = response.into_body().collect().await;
                status.to_string()
            };
            timeout(patience, call).await.unwrap_or("left".into())
        }
    })
    .await;
    assert!(
        ends.contains_key("200 OK") && ends.contains_key("left"),
        "{ends:?}"
    );
    eventually("no requests", || gateway.health.counts.requests() == 0).await;
    drop(client);
    becomes_idle(&gateway, &in_upstream).await;
}

/// Sends a request, closes the connection at some point, and returns that point or the answer.
async fn disconnect_at_random(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let closes_after = fastrand::u8(..5);
    if closes_after == 0 {
        let part = fastrand::usize(..request.len());
        let _ = stream.write_all(&request[..part]).await;
        return "left in the request".into();
    }
    if stream.write_all(request).await.is_err() {
        return "cut off".into();
    }
    match closes_after {
        1 => return "left at once".into(),
        2 => {
            sleep(Duration::from_micros(fastrand::u64(..5_000))).await;
            return "left while it waited".into();
        }
        3 => {
            let _ = stream.read(&mut [0; 64]).await;
            return "left in the response".into();
        }
        _ => {}
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Ok(_) => String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned(),
        Err(_) => "cut off".into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_a_drain_requests_finish_and_readyz_is_draining() {
    let (sender, body) = by_hand();
    let behind = upstream(once(body)).await;
    let mut gateway = Running::start(behind, limits(), false, Duration::from_secs(20)).await;
    let mut running = gateway.send("/").await.unwrap().into_body();
    gateway.stop();
    eventually("it drains", || gateway.health.draining()).await;

    let (status, _, body) = gateway.get("/readyz").await;
    assert_eq!((status.as_u16(), body.as_str()), (503, "draining\n"));
    assert_eq!(gateway.status("/healthz").await, 200);
    let (status, headers, _) = gateway.get("/").await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after"));

    sender.send(Frame::data("late".into())).await.unwrap();
    drop(sender);
    let data = running.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "late");
    assert!(running.frame().await.is_none());
    let served = timeout(Duration::from_secs(5), gateway.served);
    assert_eq!(served.await.expect("it ends when all is done").unwrap(), 0);
    assert!(TcpStream::connect(gateway.addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_within_its_bound() {
    let app = Router::new().fallback(any(std::future::pending::<()>));
    let behind = upstream(app).await;
    let mut gateway = Running::start(behind, limits(), false, millis(300)).await;
    let call = tokio::spawn(gateway.send("/"));
    eventually("one is under way", || gateway.health.counts.requests() == 1).await;
    let start = Instant::now();
    gateway.stop();
    let cut = timeout(Duration::from_secs(5), &mut gateway.served).await;
    assert_eq!(cut.expect("it ends").unwrap(), 1);
    let took = start.elapsed();
    assert!(
        took >= millis(300) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert!(call.await.unwrap().is_err());
    assert_eq!(gateway.health.counts.requests(), 0);
    assert_eq!(gateway.health.counts.connections(), 0);
}

#[test]
fn an_invalid_command_line_is_one_line_with_flag_value_and_what_is_allowed() {
    const UP_TO_U16: &str = "from 1 to 65535";
    const BETWEEN_0_AND_1: &str = "above 0 and below 1";
    let lines = [
        ("--upstream foo", "absolute http URL"),
        ("--upstream localhost:9000", "absolute http URL"),
        ("--upstream /path", "absolute http URL"),
        ("--upstream http://", "absolute http URL"),
        ("--upstream http://a:0", "port"),
        ("--upstream http://a:99999", "port"),
        ("--upstream http://a/?q=1", "nor a query"),
        ("--upstream https://a", "https is not supported"),
        ("--listen 8080", "127.0.0.1:8080"),
        ("--listen 127.0.0.1:8080", "with --upstream"),
        ("--rate -1", "from 1"),
        ("--rate NaN", "from 1"),
        ("--rate 0", "from 1"),
        ("--rate 1.5", "whole number"),
        ("--burst 0", "from 1"),
        ("--timeout 0s", "above 0"),
        ("--timeout -1s", "above 0"),
        ("--timeout NaNs", "above 0"),
        ("--timeout 5", "like 250ms"),
        ("--attempt-timeout 0ms", "above 0"),
        ("--client-rate 0", "from 1"),
        ("--client-key a:b --client-rate 1", "the name of a header"),
        ("--client-rate --client-key x-api-key", "required"),
        ("--in-flight 0", UP_TO_U16),
        ("--attempts 0", "from 1 to 10"),
        ("--attempts 11", "from 1 to 10"),
        ("--budget -1", "from 0 to 100"),
        ("--budget 101", "from 0 to 100"),
        ("--hedge 0", BETWEEN_0_AND_1),
        ("--hedge 1", BETWEEN_0_AND_1),
        ("--hedge NaN", BETWEEN_0_AND_1),
        ("--capacity 0", UP_TO_U16),
        ("--capacity 65536", UP_TO_U16),
        ("--queue -1", "from 0 to 1000000"),
        ("--queue-wait -1s", "from 0s"),
        ("--failure-rate NaN", "at most 1"),
        ("--failure-rate 1.1", "at most 1"),
        ("--probes 0", "from 1"),
        ("--probes 256", "to 255"),
        ("--failures 4096", "to 4095"),
        ("--drain -1s", "from 0s"),
        ("--seconds inf", "from 6 to 600"),
        ("--seconds 5", "from 6 to 600"),
        ("--seconds 7 --upstream http://a", "without --upstream"),
        ("--upstream-http2", "required"),
        ("--bogus", "unexpected"),
    ];
    for (line, allowed) in lines {
        let mut words = line.split(' ');
        let flag = words.next().unwrap().trim_end_matches("-http2");
        let value = words
            .next()
            .filter(|value| !value.starts_with("--"))
            .unwrap_or(flag);
        let parts = [flag, value, allowed];
        let line = line.replace("--client-rate --client-key", "--client-key");
        match Args::from(format!("gateway {line}").split(' ')) {
            Err(Stop::Wrong(what)) => {
                assert!(!what.contains('\n'), "{line}: {what}");
                for part in parts {
                    assert!(what.contains(part), "{line}: {what}");
                }
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let args = Args::from("gateway --open-for 2s --open-at-most 1s".split(' ')).unwrap();
    let what = args.limits().unwrap_err();
    assert!(
        what.contains("--open-at-most: 1s") && what.contains("2s"),
        "{what}"
    );
    let args =
        Args::from("gateway --rate 7 --timeout 1.5s --upstream http://[::1]:9/x/".split(' '));
    let args = args.unwrap();
    assert_eq!(
        args.upstream
            .iter()
            .map(Target::to_string)
            .collect::<Vec<_>>(),
        ["http://[::1]:9/x"]
    );
    let limits = args.limits().unwrap();
    assert_eq!(
        (limits.rate, limits.burst, limits.timeout),
        (7, 7, millis(1_500))
    );
    assert_eq!(limits.hedge, None);
    assert_eq!(args.demo_limits(1.0).unwrap().hedge, Some(0.95));
    let args = Args::from("gateway --hedge 0.9 --capacity 3 --queue 0 --queue-wait 0s".split(' '));
    let limits = args.unwrap().limits().unwrap();
    assert_eq!(limits.hedge, Some(0.9));
    assert_eq!(
        (limits.capacity, limits.queue, limits.queue_wait),
        (3, 0, Duration::ZERO)
    );
}

#[test]
fn contradictions_are_reported_under_the_names_of_the_flags() {
    for (line, expected) in [
        (
            "--timeout 1s --attempt-timeout 2s",
            "invalid --attempt-timeout: 2s (must be at most the --timeout of 1s)",
        ),
        (
            "--timeout 1s --queue-wait 2s",
            "invalid --queue-wait: 2s (must be at most the --timeout of 1s)",
        ),
        (
            "--timeout 1s --attempt-timeout 2s --queue-wait 3s",
            "invalid --attempt-timeout: 2s (must be at most the --timeout of 1s); \
             invalid --queue-wait: 3s (must be at most the --timeout of 1s)",
        ),
    ] {
        let args = Args::from(format!("gateway {line}").split(' ')).unwrap();
        let error = policies::upstream(&args.limits().unwrap(), |_| {}).unwrap_err();
        assert_eq!(args::named(&error), expected);
    }
    // Defaults do not contradict the flags that are given.
    for line in [
        "--timeout 20ms",
        "--timeout 1s --attempts 10 --hedge 0.5",
        "--timeout 1h --attempt-timeout 1h",
        "--timeout 1ms --attempts 10",
        "--attempt-timeout 1ms --hedge 0.9",
    ] {
        let args = Args::from(format!("gateway {line}").split(' ')).unwrap();
        for limits in [args.limits().unwrap(), args.demo_limits(0.2).unwrap()] {
            if let Err(error) = policies::upstream(&limits, |_| {}) {
                panic!("{line}: {}", args::named(&error));
            }
        }
    }
}

#[test]
fn recovery_is_the_first_success_that_lasts() {
    let samples = |served: &[u8]| -> Vec<load::Sample> {
        let at = |(i, served): (usize, &u8)| load::Sample {
            phase: 0,
            due: millis(100 + 10 * i as u64),
            waited: Duration::ZERO,
            served: *served == 1,
        };
        served.iter().enumerate().map(at).collect()
    };
    let from = millis(100);
    assert_eq!(
        load::recovery(&samples(&[1; 30]), from),
        Some(Duration::ZERO)
    );
    assert_eq!(load::recovery(&samples(&[0; 30]), from), None);
    assert_eq!(load::recovery(&samples(&[1; 10]), from), None);
    let mut late = [1; 60];
    late[..20].fill(0);
    // A lone success between failures is no recovery.
    late[10] = 1;
    assert_eq!(load::recovery(&samples(&late), from), Some(millis(200)));
}

/// The example as `cargo test` has built it beside this test.
fn example(args: &[&str]) -> Command {
    let test = std::env::current_exe().unwrap();
    let built: PathBuf = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/gateway");
    let built = built.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        built.exists(),
        "{built:?} is built by `cargo test` and `cargo build --examples`"
    );
    let mut command = Command::new(built);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = example(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn invalid_input_is_one_line_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken
        .local_addr()
        .map(|addr| (taken, addr.to_string()))
        .unwrap();
    for args in [
        &["--upstream", "http://127.0.0.1:9", "--listen", &taken.1][..],
        &["--upstream", "no url"],
        &["--rate", "-3"],
        &["--timeout", "0s"],
        &["--rate", "1", "--burst", "4000000000"],
    ] {
        let (code, out, errors) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {errors}");
        assert_eq!(out, "");
        assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
        assert!(errors.contains(args[args.len() - 1]), "{args:?}: {errors}");
    }
    assert_eq!(run(&["--help"]).0, Some(0));
}

#[test]
fn the_demonstration_prints_a_table_and_exits_with_0() {
    let (code, out, errors) = run(&["--seconds", "6"]);
    assert_eq!(code, Some(0), "{errors}");
    let rows = |phase: &str| -> [Vec<String>; 2] {
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let lines = out
            .lines()
            .filter(|line| line.starts_with(&format!("| {phase} ")));
        let rows: Vec<_> = lines.map(cells).collect();
        rows.try_into()
            .unwrap_or_else(|rows| panic!("{phase}: {rows:?}: {out}"))
    };
    let number = |row: &[String], column: usize| -> f64 {
        row[column].split(' ').next().unwrap().parse().unwrap()
    };
    let (longest, upstream_calls) = (9, 10);

    // Only what holds on a busy machine too: the table is a measurement, which a test cannot judge.
    let [unprotected, _] = rows("1 % stragglers");
    assert!(number(&unprotected, longest) >= 100.0, "{out}");
    let [unprotected, protected] = rows("total outage");
    let calls = [&protected, &unprotected].map(|row| number(row, upstream_calls));
    assert!(calls[0] < calls[1], "{out}");
    for phase in ["30 % errors", "twice the capacity"] {
        rows(phase);
    }
    for phase in ["healthy", "recovery"] {
        rows(phase);
    }
}

#[cfg(unix)]
#[test]
fn it_exits_with_0_on_a_signal() {
    use std::io::{BufRead, BufReader};
    let mut command = example(&[
        "--upstream",
        "http://127.0.0.1:9",
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut gateway = command.spawn().unwrap();
    let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let first = log.next().unwrap().unwrap();
    assert!(first.contains("listening on 127.0.0.1:"), "{first}");
    let sent = Command::new("kill")
        .args(["-TERM", &gateway.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
    let last = log.map(Result::unwrap).last().unwrap();
    assert!(last.contains("drained"), "{last}");
}
