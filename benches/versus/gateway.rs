//! A gateway over loopback HTTP, with the whole stack and without: a hyper server that forwards
//! with hyper-util's client. Its thread does nothing else. The load and the upstream are another
//! thread's, and as little as can be: bytes that are sent and looked for, no HTTP. So it is the
//! gateway that sets the pace, more than beside a real load.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tower::{Service, ServiceBuilder, service_fn};

/// Connections that each have one request under way.
const CONNECTIONS: usize = 32;

const ASK: &[u8] = b"GET /a/path HTTP/1.1\r\nhost: gateway\r\naccept: */*\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

/// Reads until the bytes end like this; false where the connection does.
async fn read_to(stream: &mut TcpStream, end: &[u8]) -> bool {
    let mut buffer = [0; 1_024];
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => return false,
        }
        if buffer[..filled].ends_with(end) {
            return true;
        }
    }
    false
}

async fn upstream(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            while read_to(&mut stream, b"\r\n\r\n").await {
                if stream.write_all(ANSWER).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Forwards to the upstream, without a body, as a GET has none.
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

/// One that is entered and left by hyper, whichever the gateway's service is.
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

/// The gateways' thread: bare and with the stack. Gives its id.
fn gateways(upstream: SocketAddr, listeners: [std::net::TcpListener; 2]) -> i32 {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        send.send(this_thread()).unwrap();
        let runtime = runtime();
        let _entered = runtime.enter();
        let [bare, stacked] = listeners.map(|listener| TcpListener::from_std(listener).unwrap());
        let without_body = |request: Request<Incoming>| request.map(|_| Empty::new());
        runtime.spawn(serve(
            bare,
            ServiceBuilder::new()
                .map_request(without_body)
                .service(forward(upstream)),
        ));
        let budget = Budget::percent(10);
        let stack = ServiceBuilder::new()
            .map_request(without_body)
            .layer(TimeoutLayer::new(LONG))
            .layer(RetryLayer::new(our_retry(&budget)))
            .layer(HedgeLayer::new(our_hedge(&budget, WINDOW)))
            .layer(CircuitBreakerLayer::new(CircuitBreaker::new("gateway")))
            .layer(BulkheadLayer::queued(Bulkhead::new(1_000).queue(128)))
            .layer(RateLimitLayer::new(our_limiter(ABUNDANT)))
            .layer(TimeoutLayer::new(LONG / 2))
            .map_err(seawall::Error::service)
            .service(forward(upstream));
        runtime.block_on(serve(stacked, stack));
    });
    receive.recv().unwrap()
}

/// What a turn came to.
struct Driven {
    requests: u64,
    took: Duration,
    times: Times,
}

/// The load's and the upstream's thread. Drives the gateway that it is told to.
struct Load {
    tell: tokio::sync::mpsc::UnboundedSender<(usize, Duration)>,
    told: mpsc::Receiver<Driven>,
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn drive(stream: &mut TcpStream, until: Instant) -> u64 {
    let mut requests = 0;
    while Instant::now() < until {
        stream.write_all(ASK).await.unwrap();
        assert!(read_to(stream, b"hello").await, "the gateway hung up");
        requests += 1;
    }
    requests
}

impl Load {
    fn start(upstream_at: std::net::TcpListener, targets: [SocketAddr; 2]) -> Self {
        let (tell, mut hear) = tokio::sync::mpsc::unbounded_channel::<(usize, Duration)>();
        let (send, told) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(async move {
                tokio::spawn(upstream(TcpListener::from_std(upstream_at).unwrap()));
                let mut streams: [Vec<TcpStream>; 2] = Default::default();
                for (target, streams) in targets.iter().zip(&mut streams) {
                    for _ in 0..CONNECTIONS {
                        let stream = TcpStream::connect(target).await.unwrap();
                        stream.set_nodelay(true).unwrap();
                        streams.push(stream);
                    }
                }
                while let Some((target, turn)) = hear.recv().await {
                    let before = Times::read();
                    let start = Instant::now();
                    let calls = streams[target].iter_mut();
                    let calls = calls.map(|stream| drive(stream, start + turn));
                    let requests = join_all(calls).await.iter().sum();
                    let driven = Driven {
                        requests,
                        took: start.elapsed(),
                        times: Times::read().since(before),
                    };
                    if send.send(driven).is_err() {
                        break;
                    }
                }
            });
        });
        Self { tell, told }
    }

    fn turn(&self, target: usize, turn: Duration) -> Driven {
        self.tell.send((target, turn)).unwrap();
        self.told.recv().unwrap()
    }
}

struct Gateways {
    load: Load,
    thread: i32,
}

impl Gateways {
    fn start() -> Self {
        let (upstream, upstream_at) = listen();
        let (bare, bare_at) = listen();
        let (stacked, stacked_at) = listen();
        let thread = gateways(upstream_at, [bare, stacked]);
        let load = Load::start(upstream, [bare_at, stacked_at]);
        // Connections are made, and the hedge has its latencies.
        for target in [0, 1, 0, 1] {
            load.turn(target, Duration::from_millis(150));
        }
        Self { load, thread }
    }

    fn turn(&self, target: usize, turn: Duration, processor: bool) -> Turn {
        let before = Times::of(self.thread);
        let driven = self.load.turn(target, turn);
        let times = Times::of(self.thread).since(before);
        let took = driven.took.as_secs_f64();
        let spent = if processor {
            times.ran.as_secs_f64()
        } else {
            took
        };
        let waited = times.waited.max(driven.times.waited).as_secs_f64();
        Turn {
            ns: spent * 1e9 / driven.requests as f64,
            shares: (1.0, 1.0),
            overlap: 1.0 - waited / took,
        }
    }
}

pub(crate) fn run(report: &mut Report) {
    let quick = report.args().quick;
    let turn = Duration::from_millis(if quick { 30 } else { 100 });
    let plan = Plan {
        turn,
        // A request is a few hand-overs between the threads, and a processor has others too.
        clean: 0.9,
        patience: 4,
        ..Plan::of(report.args())
    };
    let started: Rc<RefCell<Option<Gateways>>> = Rc::default();
    for (name, processor) in [
        ("gateway, loopback HTTP", false),
        ("gateway: processor time", true),
    ] {
        let goal = Goal {
            of: "with the stack",
            limit: Limit::Throughput(0.97, "without"),
        };
        let started = started.clone();
        report.group(name, || {
            started.borrow_mut().get_or_insert_with(Gateways::start);
            Group {
                threads: 2,
                contenders: vec![
                    Contender::taken(Kind::Floor, "without"),
                    Contender::taken(Kind::Ours, "with the stack"),
                ],
                goals: if processor { Vec::new() } else { vec![goal] },
                plan: Some(plan),
                taken: Some(Box::new(move |target| {
                    let started = started.borrow();
                    started.as_ref().unwrap().turn(target, turn, processor)
                })),
                ..Group::new()
            }
        });
    }
}
