//! Connections that break off at any moment, in memory and over sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use seawall::circuit_breaker::{State, Trip};
use seawall::http::ReplayBody;
use seawall::{Backoff, Budget, ClientStack, ServerStack};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::support::ms;

trait ReadWrite: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> ReadWrite for T {}

type Stream = Box<dyn ReadWrite + Send + Unpin>;

/// A connection that is reset after a number of bytes.
struct Cut {
    stream: Stream,
    left: usize,
}

impl Cut {
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled {
            let read = buf.filled().len() - before;
            return Poll::Ready(self.take(read));
        }
        polled
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(buf.len())?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn chunks(count: usize) -> Body {
    let chunk = Bytes::from(vec![7; 1_000]);
    let chunks = futures::stream::iter(0..count).then(move |n| {
        let chunk = chunk.clone();
        async move {
            if n % 4 == 0 {
                tokio::task::yield_now().await;
            }
            Ok::<_, io::Error>(chunk)
        }
    });
    Body::from_stream(chunks)
}

async fn handler<B>(request: Request<B>) -> Result<Response<Body>, std::convert::Infallible>
where
    B: http_body::Body,
{
    // Some handlers do not read their request.
    if request.uri().path() == "/read" && request.into_body().collect().await.is_err() {
        let mut failed = Response::new(Body::empty());
        *failed.status_mut() = http::StatusCode::BAD_REQUEST;
        return Ok(failed);
    }
    Ok(Response::new(chunks(20)))
}

/// How to connect to the server.
#[derive(Clone)]
enum Server {
    InMemory(UnboundedSender<Stream>),
    At(SocketAddr),
}

impl Server {
    async fn connect(&self) -> Result<Stream, BoxError> {
        match self {
            Self::InMemory(accepts) => {
                // As much as sockets hold. With less, two ends that only write wait for each other:
                // hyper's client flushes its request before it closes, also for a caller that
                // has left, and its server does not read while it writes.
                let (ours, theirs) = tokio::io::duplex(65_536);
                accepts.send(Box::new(theirs)).map_err(|_| "closed")?;
                Ok(Box::new(ours))
            }
            Self::At(address) => {
                let stream = TcpStream::connect(address).await?;
                // The peer of a dropped connection reads a reset, not an end.
                stream.set_zero_linger()?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Sends a request over a connection of its own, which breaks off after `left` bytes.
    async fn send(
        &self,
        request: Request<ReplayBody<Body>>,
        left: usize,
    ) -> Result<Response<hyper::body::Incoming>, BoxError> {
        let stream = self.connect().await?;
        let io = TokioIo::new(Cut { stream, left });
        if request.uri().path().len() % 2 == 0 {
            let (mut send, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(send.send_request(request).await?)
        } else {
            let executor = TokioExecutor::new();
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(executor, io).await?;
            tokio::spawn(connection);
            Ok(send.send_request(request).await?)
        }
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        // Less than the 30 s after which a server gives up a body that stalls.
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(ms(2)).await;
    }
}

// CX7, HB1, HB3, HB7
#[tokio::test(flavor = "multi_thread")]
async fn cx7_10_000_resets_in_head_and_body_give_every_permit_probe_and_budget_back() {
    let (accepts, connections) = unbounded_channel();
    resets(Server::InMemory(accepts), connections).await;
}

// CX7, HB1, HB3, HB7
#[tokio::test(flavor = "multi_thread")]
async fn cx7_10_000_resets_over_sockets_give_every_permit_probe_and_budget_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepts, connections) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            // One that was reset before it was accepted is an error.
            if let Ok((stream, _)) = listener.accept().await {
                accepts.send(Box::new(stream) as Stream).unwrap();
            }
        }
    });
    resets(Server::At(address), connections).await;
}

async fn resets(to: Server, mut connections: UnboundedReceiver<Stream>) {
    const CALLS: u64 = 10_000;
    let server = ServerStack::http("server", 1_000);
    let app = server.layer(service_fn(handler));
    let resets = Arc::new(AtomicUsize::new(0));
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(7)));
    let whole = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (cut, calm) = (resets.clone(), whole.clone());
    tokio::spawn(async move {
        while let Some(stream) = connections.recv().await {
            let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(app.clone()));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(io, service).await;
            });
        }
    });
    let inner = service_fn(move |request: Request<ReplayBody<Body>>| {
        let left = match calm.load(Ordering::SeqCst) {
            true => usize::MAX,
            false => {
                cut.fetch_add(1, Ordering::SeqCst);
                random.lock().unwrap().usize(0..60_000)
            }
        };
        let to = to.clone();
        async move { to.send(request, left).await }
    });
    // It earns nothing, so that what it has left is what was not spent.
    let budget = Budget::builder().ratio(0.0).burst(1_000_000).floor(0);
    let budget = budget.build().unwrap();
    let stack = ClientStack::builder("client")
        .budget(&budget)
        .retry(|retry| retry.backoff(Backoff::constant(ms(1))))
        .breaker(|breaker| {
            let breaker = breaker.trips([Trip::consecutive_failures(20)]);
            breaker.open_for(Backoff::constant(ms(1)))
        })
        .bulkhead(|bulkhead| bulkhead.limit(200))
        .build()
        .unwrap()
        .until_body_end();
    let client = stack.layer(inner);
    let request = |n: u64| {
        let path = ["/read", "/skip", "/read2", "/skip2"][n as usize % 4];
        let request = Request::put(format!("http://host.example{path}"));
        request.body(chunks(n as usize % 30)).unwrap()
    };
    let calls = futures::stream::iter(0..CALLS).for_each_concurrent(60, |n| {
        let call = client.clone().oneshot(request(n));
        async move {
            let mut random = fastrand::Rng::with_seed(n);
            let read = async {
                let mut body = std::pin::pin!(call.await?.into_body());
                for _ in 0..random.usize(0..40) {
                    match body.frame().await {
                        Some(frame) => drop(frame?),
                        None => break,
                    }
                }
                Ok::<_, BoxError>(())
            };
            // Some callers leave at any moment.
            let patience = ms(random_patience(n));
            let _ = tokio::time::timeout(patience, read).await;
        }
    });
    calls.await;
    assert!(resets.load(Ordering::SeqCst) >= 5_000, "{resets:?}");
    let bulkhead = stack.bulkheads().get("host.example");
    until("a permit of the client is lost", || {
        bulkhead.snapshot().in_flight == 0
    })
    .await;
    until("a permit of the server is lost", || {
        server.bulkhead().snapshot().in_flight == 0
    })
    .await;
    // Every extra attempt was paid once, and one that was not made was given back.
    let spent = 1_000_000.0 - budget.snapshot().balance;
    assert_eq!(spent, stack.retry().snapshot().retried as f64);
    // No probe is lost: the breaker closes as soon as its host works.
    whole.store(true, Ordering::SeqCst);
    let breaker = stack.breakers().get("host.example");
    let start = Instant::now();
    while breaker.state() != State::Closed {
        assert!(start.elapsed() < Duration::from_secs(20), "{breaker:?}");
        tokio::time::sleep(ms(2)).await;
        if let Ok(response) = client.clone().oneshot(request(0)).await {
            let _ = response.into_body().collect().await;
        }
    }
    println!(
        "{} connections, {spent} extra attempts",
        resets.load(Ordering::SeqCst)
    );
}

fn random_patience(n: u64) -> u64 {
    match n % 3 {
        0 => n % 17,
        _ => 10_000,
    }
}
