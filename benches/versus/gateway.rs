//! A gateway over loopback HTTP, with the whole stack and without: a hyper server that forwards with
//! hyper-util's client. The load is hyper's client, the upstream its server. All run on one thread, so that the
//! rate includes the work of all, as on a busy machine; the rate is by the time that the thread had a processor.
//! The gateway's own share is reported beside it, on a thread of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use seawall::{
    Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, HedgeLayer,
    RateLimitLayer, RetryLayer, TimeoutLayer,
};
use seawall_benches::ours::{ABUNDANT, LONG, WINDOW, our_hedge, our_limiter, our_retry};
use seawall_benches::{
    Contender, Goal, Group, Kind, Limit, Plan, Report, Times, Turn, this_thread,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tower::{Service, ServiceBuilder, service_fn};

/// Connections with one request in flight each.
const CONNECTIONS: usize = 32;

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

async fn upstream(listener: TcpListener) {
    let answer = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
    };
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let service = hyper::service::service_fn(answer);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// Forwards to the upstream, without a body, because a GET has none.
fn forward(
    upstream: SocketAddr,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<Incoming>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let authority: Authority = upstream.to_string().parse().unwrap();
    service_fn(move |mut request: Request<Empty<Bytes>>| {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(authority.clone());
        *request.uri_mut() = Uri::from_parts(uri).unwrap();
        client.request(request)
    })
}

/// An entry point for hyper that is the same for both gateways.
async fn serve<S>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Incoming>, Future: Send>,
    S: Clone + Send + 'static,
    S::Error: Into<tower::BoxError> + Send,
{
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// Both gateways, bare and with the stack, on the runtime of the caller.
fn gateways(upstream: SocketAddr, listeners: [std::net::TcpListener; 2]) {
    let [bare, stacked] = listeners.map(|listener| TcpListener::from_std(listener).unwrap());
    let without_body = |request: Request<Incoming>| request.map(|_| Empty::new());
    let plain = ServiceBuilder::new()
        .map_request(without_body)
        .service(forward(upstream));
    tokio::spawn(serve(bare, plain));
    let budget = Budget::percent(10);
    let stack = ServiceBuilder::new()
        .map_request(without_body)
        .layer(TimeoutLayer::new(LONG))
        .layer(RetryLayer::new(our_retry(&budget)))
        .layer(HedgeLayer::new(our_hedge(&budget, WINDOW)))
        .layer(CircuitBreakerLayer::new(CircuitBreaker::new("gateway")))
        .layer(BulkheadLayer::queued(
            Bulkhead::builder(1_000).queue(128).build().unwrap(),
        ))
        .layer(RateLimitLayer::new(our_limiter(ABUNDANT)))
        .layer(TimeoutLayer::new(LONG / 2))
        .map_err(seawall::Error::service)
        .service(forward(upstream));
    tokio::spawn(serve(stacked, stack));
}

/// The result of a turn.
struct Driven {
    requests: u64,
    /// The load's thread.
    ran: Duration,
}

/// The load's and the upstream's thread. Drives one gateway a turn.
struct Load {
    turns: tokio::sync::mpsc::UnboundedSender<(usize, Duration)>,
    driven: mpsc::Receiver<Driven>,
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl Load {
    fn turn(&self, target: usize, turn: Duration) -> Driven {
        self.turns.send((target, turn)).unwrap();
        self.driven.recv().unwrap()
    }
}

async fn connect(to: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (send, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn drive(send: &mut SendRequest<Empty<Bytes>>, until: Instant) -> u64 {
    let mut requests = 0;
    while Instant::now() < until {
        send.ready().await.unwrap();
        let request = Request::get("/a/path")
            .header("host", "gateway")
            .header("accept", "*/*")
            .body(Empty::new());
        let response = send.send_request(request.unwrap()).await.unwrap();
        assert!(response.status().is_success(), "{response:?}");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "hello");
        requests += 1;
    }
    requests
}

struct Gateways {
    load: Load,
    /// The gateways' thread.
    thread: i32,
}

impl Gateways {
    /// On the load's thread, or on a thread of its own.
    fn start(apart: bool) -> Self {
        let (upstream_socket, upstream_at) = listen();
        let (bare, bare_at) = listen();
        let (stacked, stacked_at) = listen();
        let mut here = Some([bare, stacked]);
        let (send, thread) = mpsc::channel();
        if apart {
            let listeners = here.take().unwrap();
            let send = send.clone();
            thread::spawn(move || {
                send.send(this_thread()).unwrap();
                let runtime = runtime();
                runtime.block_on(async {
                    gateways(upstream_at, listeners);
                    std::future::pending::<()>().await;
                });
            });
        }
        let (turns, mut next) = tokio::sync::mpsc::unbounded_channel::<(usize, Duration)>();
        let (answer, driven) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(async move {
                if let Some(listeners) = here {
                    send.send(this_thread()).unwrap();
                    gateways(upstream_at, listeners);
                }
                tokio::spawn(upstream(TcpListener::from_std(upstream_socket).unwrap()));
                let mut connections = [Vec::new(), Vec::new()];
                for (at, connections) in [bare_at, stacked_at].iter().zip(&mut connections) {
                    for _ in 0..CONNECTIONS {
                        connections.push(connect(*at).await);
                    }
                }
                while let Some((target, turn)) = next.recv().await {
                    let before = Times::read();
                    let start = Instant::now();
                    let calls = connections[target].iter_mut();
                    let calls = calls.map(|send| drive(send, start + turn));
                    let requests = join_all(calls).await.iter().sum();
                    let driven = Driven {
                        requests,
                        ran: Times::read().since(before).ran,
                    };
                    if answer.send(driven).is_err() {
                        break;
                    }
                }
            });
        });
        let load = Load { turns, driven };
        // Connections are open, and the hedge has its latencies.
        for target in [0, 1, 0, 1] {
            load.turn(target, Duration::from_millis(150));
        }
        let thread = thread.recv().unwrap();
        Self { load, thread }
    }

    fn turn(&self, target: usize, turn: Duration, apart: bool) -> Turn {
        let before = Times::of(self.thread);
        let driven = self.load.turn(target, turn);
        let gateway = Times::of(self.thread).since(before);
        let spent = if apart { gateway.ran } else { driven.ran };
        Turn {
            ns: spent.as_secs_f64() * 1e9 / driven.requests as f64,
            shares: (1.0, 1.0),
            overlap: 1.0,
        }
    }
}

pub(crate) fn run(report: &mut Report) {
    let quick = report.args().quick;
    let turn = Duration::from_millis(if quick { 10 } else { 30 });
    let plan = Plan {
        turn,
        ..Plan::of(report.args())
    };
    let names = ["gateway, loopback HTTP", "gateway, its own part"];
    for (name, apart) in names.into_iter().zip([false, true]) {
        let goal = Goal {
            of: "with the stack",
            limit: Limit::Throughput(0.97, "without"),
        };
        report.group(name, || {
            let gateways = Gateways::start(apart);
            Group {
                threads: if apart { 2 } else { 1 },
                contenders: vec![
                    Contender::taken(Kind::Floor, "without"),
                    Contender::taken(Kind::Ours, "with the stack"),
                ],
                goals: if apart { Vec::new() } else { vec![goal] },
                plan: Some(plan),
                taken: Some(Box::new(move |target| gateways.turn(target, turn, apart))),
                ..Group::new()
            }
        });
    }
}
