//! A set of endpoints over real sockets: a balancer with gated breakers, and a hedge to another
//! endpoint.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seawall::circuit_breaker::{Gates, State, Trip};
use seawall::{
    Backoff, CircuitBreaker, CircuitBreakerLayer, Error, Hedge, HedgeLayer, Jitter, RejectionKind,
    TimeoutLayer,
};
use tokio::net::TcpListener;
use tower::balance::p2c::Balance;
use tower::discover::Change;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::load_shed::error::Overloaded;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{ms, secs};

type Body = Empty<Bytes>;

/// What a server does with each request.
const HEALTHY: u32 = 0;
const FAILING: u32 = 1;
const HANGING: u32 = 2;
const SLOW: u32 = 3;

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    calls: Arc<AtomicU32>,
    answered: Arc<AtomicU32>,
    manner: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn new(manner: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [calls, answered, manner] = [0, 0, manner].map(|n| Arc::new(AtomicU32::new(n)));
        let counts = (
            Arc::clone(&calls),
            Arc::clone(&answered),
            Arc::clone(&manner),
        );
        let app = Router::new().fallback(move || {
            let (calls, answered, manner) = counts.clone();
            async move {
                calls.fetch_add(1, Ordering::SeqCst);
                match manner.load(Ordering::SeqCst) {
                    HANGING => std::future::pending().await,
                    SLOW => tokio::time::sleep(secs(5)).await,
                    _ => {}
                }
                answered.fetch_add(1, Ordering::SeqCst);
                match manner.load(Ordering::SeqCst) {
                    FAILING => StatusCode::INTERNAL_SERVER_ERROR,
                    _ => StatusCode::OK,
                }
            }
        });
        let task = tokio::spawn(axum::serve(listener, app).into_future());
        Self {
            address,
            calls,
            answered,
            manner,
            task,
        }
    }

    fn calls(&self) -> u32 {
        self.calls.swap(0, Ordering::SeqCst)
    }

    fn becomes(&self, manner: u32) {
        self.manner.store(manner, Ordering::SeqCst);
    }
}

/// A client of one server.
#[derive(Clone)]
struct Endpoint {
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
}

impl Endpoint {
    fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, address }
    }
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Incoming>;
    type Error = Error<hyper_util::client::legacy::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let uri = format!("http://{}{}", self.address, request.uri().path());
        *request.uri_mut() = uri.parse().unwrap();
        let call = self.client.request(request);
        Box::pin(async move { call.await.map_err(Error::service) })
    }
}

fn get() -> Request<Body> {
    Request::get("/").body(Body::new()).unwrap()
}

/// A breaker that opens after three failures in a row, for `open_for`.
fn breaker(name: &str, open_for: Duration) -> CircuitBreaker {
    CircuitBreaker::builder(name)
        .trip_on(Trip::consecutive_failures(3))
        .open_for(Backoff::constant(open_for).jitter(Jitter::None))
        .build()
        .unwrap()
}

/// A gated endpoint, whose attempts take at most 200 ms. It fails, if it is slow.
macro_rules! endpoint {
    ($address:expr, $breaker:expr $(, $gates:expr)?) => {{
        let service = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::gated($breaker)$(.in_set($gates))?)
            .layer(TimeoutLayer::new(ms(200)))
            .service(Endpoint::new($address));
        PendingRequests::new(service, CompleteOnResponse::default())
    }};
}

type Changed<S> = Result<Change<usize, S>, Infallible>;

/// The sender of changes of a balanced set, and the set.
fn set<S>() -> (UnboundedSender<Changed<S>>, UnboundedReceiver<Changed<S>>) {
    mpsc::unbounded()
}

async fn status<S>(set: &mut S) -> Result<StatusCode, BoxError>
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = BoxError>,
{
    let response = set.ready().await?.call(get()).await?;
    Ok(response.status())
}

#[tokio::test]
async fn cb12_a_balancer_steers_traffic_from_a_failing_endpoint_and_back_once_it_is_mended() {
    let servers = [HEALTHY, HEALTHY, FAILING];
    let servers = futures::future::join_all(servers.map(Server::new)).await;
    let breakers = ["a", "b", "c"].map(|name| breaker(name, ms(200)));
    let gates = Gates::new();
    let (changes, discover) = set();
    for (key, (server, breaker)) in servers.iter().zip(&breakers).enumerate() {
        let endpoint = endpoint!(server.address, breaker, &gates);
        changes
            .unbounded_send(Ok(Change::Insert(key, endpoint)))
            .unwrap();
    }
    let mut balance = Balance::new(discover);
    let mut failed = 0;
    let start = Instant::now();
    for _ in 0..300 {
        failed += u32::from(status(&mut balance).await.unwrap() != StatusCode::OK);
    }
    // Three trip it, and each wait of 200 ms ends with one probe.
    let probes = u32::try_from(start.elapsed().as_millis() / 200).unwrap();
    assert_eq!(servers[2].calls(), failed);
    assert!(
        failed <= 3 + probes,
        "{failed} failed in {:?}",
        start.elapsed()
    );
    assert!(breakers[2].snapshot().last_trip.is_some());
    assert!(servers[0].calls() > 0 && servers[1].calls() > 0);

    servers[2].becomes(HEALTHY);
    let start = Instant::now();
    while servers[2].calls.load(Ordering::SeqCst) < 20 {
        assert_eq!(status(&mut balance).await.unwrap(), StatusCode::OK);
        assert!(start.elapsed() < secs(20), "it gets no traffic");
    }
    assert_eq!(breakers[2].state(), State::Closed);

    // An endpoint that is gone from the set is not called, one that hangs is like one that fails.
    changes.unbounded_send(Ok(Change::Remove(0))).unwrap();
    servers[1].becomes(HANGING);
    for server in &servers {
        server.calls();
    }
    let mut slow = 0;
    for _ in 0..100 {
        let start = Instant::now();
        let outcome = status(&mut balance).await;
        slow += u32::from(outcome.is_err() || start.elapsed() >= ms(200));
    }
    assert_eq!(servers[0].calls(), 0);
    assert!(
        slow <= 10,
        "{slow} of 100 calls met the endpoint that hangs"
    );
}

// CB12: nothing listens at the addresses of hosts that are down.
#[tokio::test]
async fn to2_with_all_endpoints_down_a_total_timeout_bounds_readiness_and_load_shed_ends_it_at_once()
 {
    let servers = futures::future::join_all([HEALTHY; 3].map(Server::new)).await;
    let breakers = ["a", "b", "c"].map(|name| breaker(name, secs(60)));
    let (changes, discover) = set();
    for (key, (server, breaker)) in servers.iter().zip(&breakers).enumerate() {
        let endpoint = endpoint!(server.address, breaker);
        changes
            .unbounded_send(Ok(Change::Insert(key, endpoint)))
            .unwrap();
        server.task.abort();
    }
    let mut balance = Balance::new(discover);
    while breakers
        .iter()
        .any(|breaker| breaker.state() == State::Closed)
    {
        status(&mut balance).await.unwrap_err();
    }
    let total = TimeoutLayer::new(ms(300));
    let buffered = tower::buffer::Buffer::new(balance, 8);
    let start = Instant::now();
    let error = total
        .layer(buffered.clone())
        .oneshot(get())
        .await
        .unwrap_err();
    let kind = seawall::Reason::of(&*error).map(|reason| reason.kind());
    assert!(
        matches!(kind, Some(RejectionKind::TimedOut { .. })),
        "{error}"
    );
    assert!(
        (ms(300)..secs(2)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    drop(buffered);

    let (changes, discover) = set();
    for (key, (server, breaker)) in servers.iter().zip(&breakers).enumerate() {
        let endpoint = endpoint!(server.address, breaker);
        changes
            .unbounded_send(Ok(Change::Insert(key, endpoint)))
            .unwrap();
    }
    let mut shed = ServiceBuilder::new()
        .load_shed()
        .service(Balance::new(discover));
    let start = Instant::now();
    for _ in 0..100 {
        let error = shed.ready().await.unwrap().call(get()).await.unwrap_err();
        assert!(error.is::<Overloaded>(), "{error}");
    }
    assert!(
        start.elapsed() < ms(500),
        "100 calls took {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn hg8_a_slow_endpoint_is_hedged_by_the_other_and_a_post_is_not() {
    let (slow, fast) = (Server::new(SLOW).await, Server::new(HEALTHY).await);
    let hedge = Hedge::fixed(ms(30));
    let layer = HedgeLayer::new(&hedge).with(Endpoint::new(fast.address));
    let service = layer.layer(Endpoint::new(slow.address));
    let start = Instant::now();
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        (ms(30)..secs(2)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        (slow.calls(), fast.calls(), hedge.snapshot().won),
        (1, 1, 1)
    );
    // HG3: the connection of the slow one is closed with the call, and its handler is dropped.
    assert_eq!(slow.answered.load(Ordering::SeqCst), 0);

    slow.becomes(HEALTHY);
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!((response.status(), fast.calls()), (StatusCode::OK, 0));
    // An endpoint that is down is left at once, without the delay.
    slow.task.abort();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let layer = HedgeLayer::new(Hedge::fixed(secs(60))).with(Endpoint::new(fast.address));
    let down = layer.layer(Endpoint::new(gone.local_addr().unwrap()));
    drop(gone);
    assert_eq!(
        down.clone().oneshot(get()).await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(fast.calls(), 1);
    // HG6
    let post = Request::builder()
        .method(Method::POST)
        .uri("/")
        .body(Body::new())
        .unwrap();
    down.oneshot(post).await.unwrap_err();
    assert_eq!(fast.calls(), 0);
}
