use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::future::join_all;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use seawall::circuit_breaker::Trip;
use seawall::http::{ReplayBody, ReplayLayer};
use seawall::{
    Backoff, CircuitBreaker, CircuitBreakerLayer, Hedge, HedgeLayer, RateLimiter, Reason,
    Rejection, RejectionKind, Retry, RetryLayer, ServerStack, grpc,
};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

use super::support::*;
use crate::support::{ms, secs};

type Request = http::Request<ReplayBody<Body>>;

fn text(text: &str) -> String {
    text.to_owned()
}

// GR2: everything that a stack does, as a tonic client of the server meets it.
#[tokio::test]
async fn gr2_a_tonic_server_answers_its_rejections_as_statuses() {
    let orders = Orders::new(async |call: Call| {
        if call.text == "slow" {
            tokio::time::sleep(secs(5)).await;
        }
        Ok(one("order"))
    });
    let limit = RateLimiter::per_minute(3);
    let stack = ServerStack::builder("api", 1).timeout(ms(300));
    let stack = stack.build().unwrap().for_grpc().rate_limit(&limit);
    let address = orders.serve_under(stack.clone()).await;
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    assert_eq!(client.get(text("7")).await.unwrap(), "order");
    let mut other = client.clone();
    let start = Instant::now();
    let (late, full) = tokio::join!(client.get(text("slow")), async {
        tokio::time::sleep(ms(100)).await;
        other.get(text("7")).await
    });
    // Timed out.
    let late = late.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(start.elapsed() >= ms(300) && start.elapsed() < secs(2));
    // Full.
    let full = full.unwrap_err();
    assert_eq!(full.code(), Code::Unavailable);
    assert_eq!(full.message(), "service is temporarily unavailable");
    // Spent.
    let spent = client.get(text("7")).await.unwrap_err();
    assert_eq!(spent.code(), Code::ResourceExhausted);
    let pushback = spent.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((15_000..=20_000).contains(&pushback), "{pushback}");
    // CX20, and nothing of this process is found at the other side.
    for status in [&late, &full, &spent] {
        assert!(Reason::find(status).is_none());
        assert!(!format!("{status:?}").contains("api"), "{status:?}");
    }
    assert_eq!(orders.calls(), 2);
}

// Single layers in a server of tonic, as a tonic client of it meets them.
#[tokio::test]
async fn gr2_a_client_of_a_tonic_server_reads_what_its_layers_reject_and_repeat() {
    let orders = Orders::new(async |call: Call| match call.text.as_str() {
        "fail" => Err(Status::internal("")),
        "fail once" if call.number == 1 => Err(Status::internal("")),
        _ => Ok(one("order")),
    });
    let trip = Trip::consecutive_failures(3);
    let breaker = CircuitBreaker::builder("api")
        .trip_on(trip)
        .build()
        .unwrap();
    let address = orders.serve_under(CircuitBreakerLayer::new(&breaker)).await;
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    for _ in 0..3 {
        let failed = client.get(text("fail")).await.unwrap_err();
        assert_eq!(failed.code(), Code::Internal);
    }
    let open = client.get(text("7")).await.unwrap_err();
    assert_eq!(open.code(), Code::Unavailable);
    let pushback = open.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert!(pushback.to_str().unwrap().parse::<u64>().unwrap() <= 1_000);
    assert_eq!(orders.calls(), 3);

    // A request has a body, which is recorded, and each is a POST.
    let retry = Retry::new(Backoff::constant(ms(1)));
    let layers = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(&retry).only(|_: &Request| true))
        .map_request(|request: Request| request.map(Body::new))
        .into_inner();
    let orders = orders.again();
    let address = orders.serve_under(layers).await;
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    assert_eq!(client.get(text("fail once")).await.unwrap(), "order");
    assert_eq!((orders.calls(), retry.snapshot().retried), (2, 1));
}

// As generated handlers of unary calls do, this one reads its request to the end. Then a hedge may
// send it once more beside it.
#[tokio::test]
async fn gr2_a_client_of_a_tonic_server_has_the_answer_of_a_hedge() {
    async fn whole(request: Request) -> Result<http::Request<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(http::Request::from_parts(parts, Body::new(Full::new(body))))
    }

    let orders = Orders::new(async |call: Call| {
        if call.number == 1 {
            std::future::pending::<()>().await;
        }
        Ok(one("order"))
    });
    let hedge = Hedge::fixed(ms(30));
    let layers = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(HedgeLayer::new(&hedge).only(|_: &Request| true))
        .filter_async(whole)
        .into_inner();
    let address = orders.serve_under(layers).await;
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    let answer = tokio::time::timeout(secs(5), client.get(text("7"))).await;
    assert_eq!(answer.unwrap().unwrap(), "order");
    assert_eq!((orders.calls(), hedge.snapshot().won), (2, 1));
}

// HB1 for a stream of gRPC.
#[tokio::test]
async fn gr3_a_permit_is_held_until_the_end_of_the_stream() {
    let orders = Orders::new(async |_| Ok(paced((0..4).map(|n| Ok(n.to_string())), ms(30))));
    let stack = ServerStack::grpc("api", 1);
    let address = orders.serve_under(stack.clone()).await;
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    let mut messages = client.watch(text("7")).await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap(), "0");
    assert_eq!(
        client.get(text("7")).await.unwrap_err().code(),
        Code::Unavailable
    );
    while messages.message().await.unwrap().is_some() {}
    while stack.bulkhead().snapshot().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    // Dropped half-way.
    let messages = client.watch(text("7")).await.unwrap();
    assert_eq!(stack.bulkhead().snapshot().in_flight, 1);
    drop(messages);
    while stack.bulkhead().snapshot().in_flight > 0 {
        tokio::time::sleep(ms(1)).await;
    }
}

// GR6
#[tokio::test]
async fn gr6_health_checks_are_exempt_by_one_line() {
    let orders = Orders::new(async |_| Ok(one("serving")));
    // Closed.
    let stack = ServerStack::grpc("api", 0).exempt([grpc::HEALTH]);
    let address = orders.serve_under(stack).await;
    let client = OrdersClient::new(endpoint(address).connect_lazy());
    let checks = (0..20).map(|_| {
        let mut client = client.clone();
        async move { client.check(text("")).await }
    });
    for check in join_all(checks).await {
        assert_eq!(check.unwrap(), "serving");
    }
    let status = client.clone().get(text("7")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(orders.calls(), 20);
}

type CutBody =
    StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, BoxError>>>>;

/// A stream of one message, which a rejection by a policy of the service's own ends.
#[derive(Clone)]
struct Cut;

impl<A> Service<http::Request<A>> for Cut {
    type Response = http::Response<CutBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<A>) -> Self::Future {
        let frames = vec![
            Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x01a"))),
            Err(Rejection::new(RejectionKind::Expired, "upstream").into()),
        ];
        let body = StreamBody::new(futures::stream::iter(frames));
        let response = http::Response::builder().header("content-type", "application/grpc");
        ready(Ok(response.body(body).unwrap()))
    }
}

// A stream that has started was processed, whatever policy of the handler's own has ended it.
#[tokio::test]
async fn gr2_a_stream_that_ends_by_a_rejection_is_not_called_unprocessed() {
    let service = ServerStack::grpc("api", 1).layer(Cut);
    let request = http::Request::new(Full::<Bytes>::default());
    let response = service.oneshot(request).await.unwrap();
    let read = response.into_body().collect().await.unwrap();
    let trailers = read.trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "4");
    assert!(!trailers.contains_key("x-not-processed"), "{trailers:?}");
}
