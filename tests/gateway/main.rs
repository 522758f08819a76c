//! The example `examples/gateway`, in front of real servers on loopback.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(dead_code, reason = "the tests use a part of each module")]

#[path = "../../examples/gateway/args.rs"]
mod args;
#[path = "../../examples/gateway/headers.rs"]
mod headers;
#[path = "../../examples/gateway/load.rs"]
mod load;
#[path = "../../examples/gateway/policies.rs"]
mod policies;
#[path = "../../examples/gateway/proxy.rs"]
mod proxy;
#[path = "../../examples/gateway/target.rs"]
mod target;
#[path = "../../examples/gateway/upstream.rs"]
mod upstream;

mod command_line;
mod disconnects;
mod drain;
mod example;
mod forwarding;
mod protection;

use std::collections::BTreeMap;
use std::net::SocketAddr;
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
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use args::{Args, Stop};
use policies::{Breaker, Limits};
use proxy::{Gateway, Policies, Upstream};
use seawall::serve::{Drained, Phase, Server};
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
        trust: Vec::new(),
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
        breaker: None,
    }
}

/// A breaker that opens at this failure in a row, for 2 s.
fn opens_at(failures: u32) -> Option<Breaker> {
    Some(Breaker {
        failures,
        lasting: Duration::ZERO,
        open_for: Duration::from_secs(2),
        open_at_most: Duration::from_secs(2),
    })
}

/// A gateway that runs in this process.
struct Running {
    addr: SocketAddr,
    server: Server,
    policies: Policies,
    behind: String,
    served: JoinHandle<std::io::Result<Drained>>,
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
        // The tests run in one process, which has one set of signals.
        let server = Server::builder()
            .signals(false)
            .settle(millis(300))
            .drain(drain);
        let server = server.build().unwrap();
        let gateway = Gateway::protected(&targets, &limits, server.health(), |_| {}).unwrap();
        let policies = gateway.policies.clone().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = server.clone();
        let served = tokio::spawn(async move { serving.serve(listener, gateway.router).await });
        Self {
            addr,
            server,
            policies,
            behind: upstreams[0].to_string(),
            served,
        }
    }

    fn requests(&self) -> u64 {
        self.server.snapshot().requests
    }

    /// The policies of the first upstream.
    fn upstream(&self) -> (CircuitBreaker, Bulkhead) {
        let client = &self.policies.client;
        let breaker = client.breakers().get(&self.behind);
        (breaker, client.bulkheads().get(&self.behind))
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
    proxy::client(false)
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
