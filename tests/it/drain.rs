//! The rest of a failed response before a retry.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use seawall::http::BodyLayer;
use seawall::{Backoff, Error, Retry, RetryLayer};
use tokio::net::TcpListener;
use tower::layer::util::Identity;
use tower::util::MapErr;
use tower::{Layer, Service, ServiceExt};

/// Answers every other request 500 with a body of `size`, over HTTP/1. Returns its address and how
/// many connections it had.
async fn failing_every_other(size: usize) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let (connections, calls) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let calls = Arc::clone(&calls);
            let answer = hyper::service::service_fn(move |_| {
                let fails = calls.fetch_add(1, Ordering::Relaxed) % 2 == 0;
                let body = if fails { vec![b'e'; size] } else { Vec::new() };
                let mut response = Response::new(Full::new(Bytes::from(body)));
                if fails {
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                }
                async { Ok::<_, Infallible>(response) }
            });
            let serve = hyper::server::conn::http1::Builder::new();
            tokio::spawn(serve.serve_connection(TokioIo::new(socket), answer));
        }
    });
    (address, connections)
}

fn retry() -> Retry {
    let backoff = Backoff::constant(Duration::from_millis(5)).jitter(seawall::Jitter::None);
    Retry::builder()
        .backoff(backoff)
        .no_budget()
        .build()
        .unwrap()
}

async fn connections_of_100_retried_calls(size: usize) -> u32 {
    connections_through(size, Identity::new()).await
}

/// 100 retried calls over a client under `layer`.
async fn connections_through<L, S, B>(size: usize, layer: L) -> u32
where
    L: Layer<Plain, Service = S>,
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = ClientError> + Clone,
    B: Body<Error: std::fmt::Debug> + 'static,
{
    let (address, connections) = failing_every_other(size).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let error: fn(_) -> _ = Error::service;
    let client = layer.layer(client.map_err(error));
    let mut service = RetryLayer::new(retry()).layer(client);
    for _ in 0..100 {
        let request = Request::get(&address).body(Empty::new()).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
    connections.load(Ordering::Relaxed)
}

type HyperClient = Client<HttpConnector, Empty<Bytes>>;
type ClientError = Error<hyper_util::client::legacy::Error>;
type Plain = MapErr<HyperClient, fn(hyper_util::client::legacy::Error) -> ClientError>;

/// The fewest connections of some runs: on a busy machine a drain may take more than its 10 ms.
async fn fewest(mut run: impl AsyncFnMut() -> u32) -> u32 {
    let mut fewest = u32::MAX;
    for _ in 0..10 {
        let connections = run().await;
        assert!(connections <= 10, "{connections} connections");
        fewest = fewest.min(connections);
        if fewest == 1 {
            break;
        }
    }
    fewest
}

#[tokio::test]
async fn rt9_100_retried_calls_with_bodies_of_32_kib_use_one_connection() {
    let run = async || connections_of_100_retried_calls(32 * 1024).await;
    assert_eq!(fewest(run).await, 1);
}

// The body that the client's stacks work with.
#[tokio::test]
async fn rt9_a_body_that_a_body_layer_has_made_is_read_too() {
    let run = async || connections_through(32 * 1024, BodyLayer::new()).await;
    assert_eq!(fewest(run).await, 1);
}

#[tokio::test]
async fn rt9_a_body_above_64_kib_is_not_read() {
    let connections = connections_of_100_retried_calls(1024 * 1024).await;
    assert!(connections >= 90, "{connections} connections");
}

/// With a paused clock.
#[cfg(feature = "test-util")]
mod paused {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::{Frame, SizeHint};
    use seawall::classify::{Classify, Drain, Outcome, Standard};
    use tower::service_fn;

    use super::*;

    /// What is counted of the bodies.
    #[derive(Default)]
    struct Counts {
        polls: AtomicU32,
        alive: AtomicU32,
    }

    /// A body that is pending for ever after a first chunk.
    struct Stuck(Arc<Counts>);

    impl Stuck {
        fn new(counts: &Arc<Counts>) -> Self {
            counts.alive.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(counts))
        }
    }

    impl Drop for Stuck {
        fn drop(&mut self) {
            self.0.alive.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl Body for Stuck {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.polls.fetch_add(1, Ordering::Relaxed) {
                0 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"one"))))),
                _ => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    /// For a body type of a user's own.
    #[derive(Clone, Copy)]
    struct Draining;

    impl Classify<Response<Stuck>, Infallible> for Draining {
        fn classify(&self, outcome: Result<&Response<Stuck>, &Infallible>) -> Outcome {
            Standard.classify(outcome)
        }

        fn drain(&self, response: Response<Stuck>) -> Option<Drain> {
            seawall::http::drain(response.into_body())
        }
    }

    // CX7: dropped while it drains, a call gives everything back.
    #[tokio::test(start_paused = true)]
    async fn rt9_cx7_a_drain_ends_after_10_ms_and_can_be_dropped() {
        let counts = Arc::new(Counts::default());
        let alive = || counts.alive.load(Ordering::Relaxed);
        let budget = seawall::Budget::builder().ratio(0.0).burst(50).floor(0);
        let budget = budget.build().unwrap();
        let backoff = Backoff::constant(Duration::from_millis(50)).jitter(seawall::Jitter::None);
        let retry = Retry::builder().backoff(backoff).max_attempts(2);
        let retry = retry.budget(&budget).build().unwrap();
        let of_server = Arc::clone(&counts);
        let server = service_fn(move |_: Request<String>| {
            of_server.polls.store(0, Ordering::Relaxed);
            let mut response = Response::new(Stuck::new(&of_server));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            async { Ok::<_, Infallible>(response) }
        });
        let service = RetryLayer::new(&retry).classify(Draining).layer(server);
        let call = || Box::pin(service.clone().oneshot(Request::new(String::new())));
        for (after, bodies) in [(0, 1), (9, 1), (11, 0), (49, 0)] {
            let mut call = call();
            let limit = tokio::time::timeout(Duration::from_millis(after), &mut call);
            assert!(limit.await.is_err());
            assert_eq!(alive(), bodies, "{after} ms");
            // The chunk, and that there is no other.
            assert!(counts.polls.load(Ordering::Relaxed) >= 2);
            drop(call);
            assert_eq!(alive(), 0);
            assert_eq!(budget.snapshot().balance, 50.0);
        }
        let start = tokio::time::Instant::now();
        let last = call().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(50));
        assert_eq!(
            last.body().0.polls.load(Ordering::Relaxed),
            0,
            "it is whole"
        );
    }
}
