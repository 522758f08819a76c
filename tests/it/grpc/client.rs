use std::error::Error as StdError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::StreamExt;
use seawall::circuit_breaker::{State, Trip};
use seawall::classify::FailureKind;
use seawall::grpc::{Channel, Codes, GrpcClientStack};
use seawall::{
    Backoff, ClientStack, Error, RateLimiter, Reason, Rejection, RejectionKind, Retry, ServerStack,
};
use tonic::{Code, Status};

use super::support::*;
use crate::support::{ms, secs};

type Client = OrdersClient<Channel<tonic::transport::Channel>>;

/// Three attempts without a wait that matters.
fn quick(name: &str) -> seawall::stack::ClientConfig {
    ClientStack::builder(name.to_owned()).retry(|retry| retry.backoff(Backoff::constant(ms(1))))
}

fn stack(config: seawall::stack::ClientConfig) -> GrpcClientStack {
    config.build().unwrap().for_grpc().idempotent([GET])
}

/// A client of `orders` under this stack.
async fn client(stack: &GrpcClientStack, orders: &Orders) -> Client {
    let endpoint = endpoint(orders.serve().await);
    OrdersClient::new(stack.channel(endpoint.connect_lazy()))
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn kind(status: &Status) -> RejectionKind {
    Reason::find(status)
        .unwrap_or_else(|| panic!("{status:?}"))
        .kind()
}

// GR2: a user reads each rejection from the status.
#[tokio::test]
async fn gr2_a_rejection_is_the_source_of_a_status_with_its_code_and_pushback() {
    let orders = Orders::new(async |_| Ok(one("order")));
    let stack = ClientStack::grpc("orders");
    let mut client = client(&stack, &orders).await;
    assert_eq!(client.get(text("7")).await.unwrap(), "order");
    let breaker = stack.breakers().get("service 1");
    breaker.force_open();
    let status = client.get(text("7")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    // CX20
    assert_eq!(status.message(), "service is temporarily unavailable");
    let rejection: &Rejection = status.source().unwrap().downcast_ref().unwrap();
    assert_eq!(rejection.policy().as_str(), "orders.breaker@service 1");
    assert_eq!(kind(&status), RejectionKind::CircuitOpen);
    // CX12: also in a report and in a box.
    let report = anyhow::Error::from(status.clone());
    assert!(Reason::find(&*report).is_some());
    let boxed: Box<dyn StdError + Send + Sync> = status.into();
    assert!(Reason::find(&*boxed).is_some());
    assert_eq!(orders.calls(), 1);

    breaker.release();
    let limit = RateLimiter::per_hour(1);
    let limited = stack.clone().rate_limit(&limit);
    let endpoint = endpoint(orders.serve().await);
    let mut client = OrdersClient::new(limited.channel(endpoint.connect_lazy()));
    client.put(text("7")).await.unwrap();
    let status = client.put(text("7")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(kind(&status), RejectionKind::RateLimited);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((3_590_000..=3_600_000).contains(&pushback), "{pushback}");
}

#[test]
fn gr2_rejections_become_statuses_with_the_question_mark() {
    fn handler(error: Error<Status>) -> Result<(), Status> {
        Err(error)?
    }
    let (cost, burst) = (7, 5);
    let (limit, in_flight, queued) = (1, 1, 0);
    let elapsed = secs(1);
    for (kind, code) in [
        (RejectionKind::RateLimited, Code::ResourceExhausted),
        (
            RejectionKind::CostAboveBurst { cost, burst },
            Code::InvalidArgument,
        ),
        (RejectionKind::CircuitOpen, Code::Unavailable),
        (RejectionKind::HalfOpenFull, Code::Unavailable),
        (
            RejectionKind::TimedOut {
                limit: secs(1),
                elapsed,
            },
            Code::DeadlineExceeded,
        ),
        (RejectionKind::Expired, Code::DeadlineExceeded),
        (RejectionKind::NoKey, Code::InvalidArgument),
        (RejectionKind::NoPeerAddress, Code::Internal),
        (
            RejectionKind::BulkheadFull {
                limit,
                in_flight,
                queued,
            },
            Code::Unavailable,
        ),
    ] {
        let rejection = Rejection::new(kind, "policy").with_retry_after(ms(1_500));
        let status = handler(Error::Rejected(rejection)).unwrap_err();
        assert_eq!(status.code(), code);
        assert_eq!(Reason::find(&status).unwrap().kind(), kind);
        assert_eq!(status.message(), kind.public_text());
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        assert_eq!(pushback.unwrap(), "1500");
        // What goes over the wire has neither the policy nor the source.
        let response = status.into_http::<()>();
        assert!(!format!("{response:?}").contains("policy"), "{response:?}");
    }
    let own = handler(Error::Service(Status::not_found("order"))).unwrap_err();
    assert_eq!(own.code(), Code::NotFound);
}

// Case 37: one stack over two channels, of which one is down.
#[tokio::test]
async fn ky6_two_channels_of_one_stack_do_not_share_a_breaker() {
    let down = Orders::new(async |_| Err(Status::internal("down")));
    let up = Orders::new(async |_| Ok(one("up")));
    let config = quick("both").breaker(|b| {
        b.trip_on(Trip::consecutive_failures(5))
            .open_for(Backoff::constant(secs(60)))
    });
    let stack = stack(config);
    let (mut a, mut b) = (client(&stack, &down).await, client(&stack, &up).await);
    for _ in 0..40 {
        a.put(text("7")).await.unwrap_err();
        assert_eq!(b.put(text("7")).await.unwrap(), "up");
    }
    assert_eq!(down.calls(), 5);
    assert_eq!(up.calls(), 40);
    // Clones of a channel share it.
    let status = a.clone().put(text("7")).await.unwrap_err();
    assert_eq!(kind(&status), RejectionKind::CircuitOpen);
    assert_eq!(stack.breakers().get("service 1").state(), State::Open);
    assert_eq!(stack.breakers().get("service 2").state(), State::Closed);
}

// GR4, RT7
#[tokio::test]
async fn gr4_a_failed_unary_call_is_retried_if_its_method_was_named() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let previous = Arc::clone(&seen);
    let orders = Orders::new(move |call: Call| {
        let attempts = call
            .metadata("grpc-previous-rpc-attempts")
            .map(str::to_owned);
        previous.lock().unwrap().push(attempts);
        async move {
            match call.number % 3 {
                0 => Ok(one("order")),
                _ => Err(Status::unavailable("restarting")),
            }
        }
    });
    let mut client = client(&stack(quick("named")), &orders).await;
    // With the metadata of a caller, whose attempts are not those of this call.
    let mut request = tonic::Request::new(text("7"));
    let metadata = request.metadata_mut();
    metadata.insert("grpc-previous-rpc-attempts", "9".parse().unwrap());
    assert_eq!(client.get(request).await.unwrap(), "order");
    let sent = seen.lock().unwrap().clone();
    assert_eq!(sent, [None, Some(text("1")), Some(text("2"))]);
    let status = client.put(text("7")).await.unwrap_err();
    assert_eq!((status.code(), orders.calls()), (Code::Unavailable, 4));
}

// GR1, GR4: the head was sent, and the status comes in the trailers.
#[tokio::test]
async fn gr1_unavailable_in_trailers_is_a_failure_to_retry_hedge_and_breaker() {
    let failing = |times: usize| {
        Orders::new(move |call: Call| async move {
            match call.number > times {
                true => Ok(one("order")),
                false => Ok(one("half").chain(one_failure(Code::Unavailable)).boxed()),
            }
        })
    };
    let orders = failing(2);
    let retried = stack(quick("retried"));
    let mut client_of = client(&retried, &orders).await;
    assert_eq!(client_of.get(text("7")).await.unwrap(), "order");
    assert_eq!(orders.calls(), 3);

    // A failure starts the hedge at once, and does not win.
    let orders = failing(1);
    let config = quick("hedged").retry(|retry| retry.max_attempts(1));
    let hedged = stack(config.hedge(|hedge| hedge.delay(secs(2))));
    let mut client_of = client(&hedged, &orders).await;
    let start = Instant::now();
    assert_eq!(client_of.get(text("7")).await.unwrap(), "order");
    assert!(start.elapsed() < secs(2));
    assert_eq!(orders.calls(), 2);

    // Not named: judged at the end of its body.
    let orders = failing(100);
    let config = quick("judged").breaker(|b| b.trip_on(Trip::consecutive_failures(3)));
    let judged = stack(config);
    let mut client_of = client(&judged, &orders).await;
    for call in 1..=3 {
        let mut messages = client_of.watch(text("7")).await.unwrap();
        assert_eq!(messages.message().await.unwrap().unwrap(), "half");
        let status = messages.message().await.unwrap_err();
        assert_eq!((status.code(), orders.calls()), (Code::Unavailable, call));
    }
    assert_eq!(judged.breakers().get("service 1").state(), State::Open);
}

/// A stream that ends with this status.
fn one_failure(code: Code) -> Messages {
    futures::stream::iter([Err(Status::new(code, ""))]).boxed()
}

// RT3, GR2: case 19.
#[tokio::test]
async fn gr4_a_negative_or_unreadable_pushback_ends_retries_and_hedges() {
    for pushback in ["-1", "soon", "1.5"] {
        for trailers_only in [true, false] {
            let orders = Orders::new(move |_| async move {
                let status = pushed_back(Code::Unavailable, pushback);
                match trailers_only {
                    true => Err(status),
                    false => Ok(futures::stream::iter([Ok(text("half")), Err(status)]).boxed()),
                }
            });
            let config = quick("stopped").hedge(|hedge| hedge.delay(secs(2)));
            let mut client = client(&stack(config), &orders).await;
            let status = client.get(text("7")).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(orders.calls(), 1, "{pushback}");
        }
    }
    // A readable one is waited for.
    let orders = Orders::new(async |call: Call| match call.number {
        1 => Err(pushed_back(Code::Unavailable, "120")),
        _ => Ok(one("order")),
    });
    let mut client = client(&stack(quick("waits")), &orders).await;
    let start = Instant::now();
    client.get(text("7")).await.unwrap();
    assert!(start.elapsed() >= ms(120));
}

// GR4: whatever the user names.
#[tokio::test]
async fn gr4_streams_are_never_sent_again() {
    let orders = Orders::new(async |_| {
        Ok(one("1")
            .chain(one("2"))
            .chain(one_failure(Code::Unavailable))
            .boxed())
    });
    let stack = stack(quick("streams")).idempotent([WATCH, UPLOAD]);
    let mut client_of = client(&stack, &orders).await;
    let mut messages = client_of.watch(text("7")).await.unwrap();
    for message in ["1", "2"] {
        assert_eq!(messages.message().await.unwrap().unwrap(), message);
    }
    messages.message().await.unwrap_err();
    assert_eq!(orders.calls(), 1);

    let orders = Orders::new(async |_| Err(Status::unavailable("")));
    let mut client_of = client(&stack, &orders).await;
    let messages = || futures::stream::iter([text("a"), text("b")]);
    client_of.upload(messages()).await.unwrap_err();
    assert_eq!(orders.calls(), 1);
    // One that is not there at once.
    let late = futures::stream::once(tokio::time::sleep(ms(5))).map(|()| text("a"));
    client_of.upload(late).await.unwrap_err();
    assert_eq!(orders.calls(), 2);
}

// GR1
#[tokio::test]
async fn gr1_a_stream_without_a_status_is_a_failure_for_the_user_too() {
    // Sends a message and no trailers.
    let (served, calls) = (Arc::new(AtomicU32::new(0)), 3);
    let count = Arc::clone(&served);
    let answer = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            http::Response::builder()
                .header("content-type", "application/grpc")
                .body(axum::body::Body::from(&b"\0\0\0\0\x02hi"[..]))
                .unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = quick("cut").breaker(|b| b.trip_on(Trip::consecutive_failures(calls)));
    let stack = stack(config.retry(|retry| retry.max_attempts(1)));
    let channel = stack.channel(endpoint(address).connect_lazy());
    let mut client = OrdersClient::new(channel);
    let status = client.get(text("7")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let status = client.put(text("7")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let mut messages = client.watch(text("7")).await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap(), "hi");
    assert_eq!(messages.message().await.unwrap_err().code(), Code::Internal);
    assert_eq!(served.load(Ordering::SeqCst), 3);
    assert_eq!(stack.breakers().get("service 1").state(), State::Open);
}

// GR1: trailers-only, and in trailers after a message.
#[tokio::test]
async fn gr1_each_row_of_the_table_can_be_overridden() {
    // Whether it opens a breaker that opens at the first failure, and whether it is retried.
    let run = async |codes: Codes, code: Code, trailers_only: bool| {
        let orders = Orders::new(move |_| async move {
            match trailers_only {
                true => Err(Status::new(code, "")),
                false => Ok(one("half").chain(one_failure(code)).boxed()),
            }
        });
        let config = quick("opens").breaker(|b| b.trip_on(Trip::consecutive_failures(1)));
        let opens = stack(config).codes(codes);
        let mut client_of = client(&opens, &orders).await;
        client_of.put(text("7")).await.unwrap_err();
        let state = opens.breakers().get("service 1").state();
        let retries = stack(quick("retries")).codes(codes);
        let mut client_of = client(&retries, &orders).await;
        client_of.get(text("7")).await.unwrap_err();
        (state == State::Open, orders.calls() == 4)
    };
    let ours = Codes::new();
    for trailers_only in [true, false] {
        for (code, opens, retries) in [
            (Code::Aborted, true, true),
            (Code::Unknown, true, true),
            (Code::Unimplemented, true, false),
            (Code::NotFound, false, false),
            (Code::Cancelled, false, false),
        ] {
            let seen = run(ours, code, trailers_only).await;
            assert_eq!(seen, (opens, retries), "{code:?} {trailers_only}");
        }
        let codes = ours.counts(Code::Aborted, FailureKind::Permanent);
        let codes = codes.counts(Code::Unknown, None);
        let codes = codes.counts(Code::NotFound, FailureKind::Error);
        for (code, opens, retries) in [
            (Code::Aborted, true, false),
            (Code::Unknown, false, false),
            (Code::NotFound, true, true),
        ] {
            let seen = run(codes, code, trailers_only).await;
            assert_eq!(seen, (opens, retries), "{code:?} {trailers_only}");
        }
    }
}

// CX12: case 43.
#[tokio::test]
async fn cx12_a_retry_around_the_stub_does_not_repeat_what_the_channel_rejects() {
    let orders = Orders::new(async |_| Ok(one("order")));
    let stack = stack(quick("open"));
    let client = client(&stack, &orders).await;
    stack.breakers().get("service 1").force_open();
    let tries = AtomicU32::new(0);
    let retry = Retry::new(Backoff::constant(ms(1)));
    let call = retry.run(|_| {
        tries.fetch_add(1, Ordering::SeqCst);
        let mut client = client.clone();
        async move { client.get(text("7")).await }
    });
    let error = call.await.unwrap_err();
    assert_eq!(kind(&Status::from(error)), RejectionKind::CircuitOpen);
    assert_eq!((tries.load(Ordering::SeqCst), orders.calls()), (1, 0));
}

// RT7: nothing was sent.
#[tokio::test]
async fn rt7_a_refused_connection_is_retried_for_every_method() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let stack = stack(quick("unsent"));
    let mut client = OrdersClient::new(stack.channel(endpoint(address).connect_lazy()));
    let status = client.put(text("7")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(Reason::find(&status).is_none());
    assert_eq!(stack.retry().snapshot().retried, 2);
}

// Everything that a stack does, as the user of a tonic client meets it.
#[tokio::test]
async fn gr2_a_tonic_client_reads_every_rejection_of_its_stack() {
    let orders = Orders::new(async |call: Call| match call.text.as_str() {
        "slow" => Ok(paced([Ok(text("late"))], secs(5))),
        "hang once" if call.number == 1 => Ok(paced([Ok(text("late"))], secs(5))),
        "fail" => Err(Status::internal("")),
        _ => Ok(one("order")),
    });
    let config = quick("all")
        .total_timeout(ms(400))
        .attempt_timeout(ms(300))
        .bulkhead(|bulkhead| bulkhead.limit(2))
        .hedge(|hedge| hedge.delay(ms(40)))
        .breaker(|b| {
            b.trip_on(Trip::consecutive_failures(3))
                .fair_time(ms(1))
                .open_for(Backoff::constant(secs(60)))
        });
    let stack = stack(config);
    let mut client = client(&stack, &orders).await;
    // Hedged.
    let start = Instant::now();
    assert_eq!(client.get(text("hang once")).await.unwrap(), "order");
    assert!(start.elapsed() < ms(300));
    assert_eq!((orders.calls(), stack.hedge().snapshot().won), (2, 1));
    // Timed out.
    let status = client.put(text("slow")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(
        &**Reason::find(&status).unwrap().policy(),
        "all.total_timeout"
    );
    // Full.
    let (mut a, mut b) = (client.clone(), client.clone());
    let (a, b, status) = tokio::join!(a.put(text("slow")), b.put(text("slow")), async {
        tokio::time::sleep(ms(50)).await;
        client.put(text("7")).await.unwrap_err()
    });
    assert!(a.is_err() && b.is_err());
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(
        kind(&status),
        RejectionKind::BulkheadFull { limit: 2, .. }
    ));
    // Open.
    for _ in 0..3 {
        let _ = client.put(text("fail")).await;
    }
    let status = client.put(text("7")).await.unwrap_err();
    assert_eq!(kind(&status), RejectionKind::CircuitOpen);
    assert!(Reason::find(&status).unwrap().retry_after().is_some());
}

// CX10
#[tokio::test]
async fn cx10_a_channel_and_its_calls_can_be_cloned_sent_and_shared() {
    fn is<T: Clone + Send + Sync + std::fmt::Debug + 'static>(value: T) -> T {
        value
    }
    let orders = Orders::new(async |_| Ok(one("order")));
    let stack = is(stack(quick("sent")));
    let channel = stack.channel(endpoint(orders.serve().await).connect_lazy());
    let mut client = OrdersClient::new(is(channel));
    let call = tokio::spawn(async move {
        let mut messages = client.watch(text("7")).await?;
        messages.message().await
    });
    assert_eq!(call.await.unwrap().unwrap().unwrap(), "order");
}

// CX7, HB1
#[tokio::test]
async fn cx7_a_call_or_stream_that_is_dropped_releases_its_permit_and_the_server() {
    let orders = Orders::new(async |call: Call| match call.text.as_str() {
        "hang" => futures::future::pending().await,
        _ => Ok(paced((0..).map(|n| Ok(n.to_string())), ms(5))),
    });
    let server = ServerStack::grpc("api", 10);
    let address = orders.serve_under(server.clone()).await;
    let stack = stack(quick("dropped").hedge(|hedge| hedge.delay(ms(5))));
    let mut client = OrdersClient::new(stack.channel(endpoint(address).connect_lazy()));
    let bulkhead = stack.bulkheads().get("service 1");
    let in_flight = || bulkhead.snapshot().in_flight;
    for method in [GET, PUT] {
        let mut client = client.clone();
        let call = async {
            match method {
                GET => client.get(text("hang")).await,
                _ => client.put(text("hang")).await,
            }
        };
        assert!(tokio::time::timeout(ms(60), call).await.is_err());
        assert_eq!(in_flight(), 0);
    }
    // The first was hedged.
    assert_eq!(orders.calls(), 3);
    let mut messages = client.watch(text("7")).await.unwrap();
    messages.message().await.unwrap().unwrap();
    assert_eq!(
        (in_flight(), server.bulkhead().snapshot().in_flight),
        (1, 1)
    );
    drop(messages);
    assert_eq!(in_flight(), 0);
    while server.bulkhead().snapshot().in_flight > 0 {
        tokio::time::sleep(ms(1)).await;
    }
}
