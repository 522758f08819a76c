use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall::grpc::{GrpcServerStack, timeout};
use seawall::stack::Overrides;
use seawall::{Backoff, ClientStack, Deadline, Mode, Reason, RejectionKind, ServerStack, Timeout};
use tonic::{Code, Request, Status};

use super::support::*;
use crate::support::{ms, secs};

fn text(text: &str) -> String {
    text.to_owned()
}

fn grpc_timeout(call: &Call) -> Option<Duration> {
    timeout(&call.metadata.clone().into_headers())
}

// GR3
#[tokio::test]
async fn gr3_outgoing_calls_carry_what_remains_and_our_timeout_names_the_failure() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&seen);
    let orders = Orders::new(move |call: Call| {
        calls.lock().unwrap().push(grpc_timeout(&call).unwrap());
        async move {
            match call.text.as_str() {
                "hang" => Ok(paced([Ok(text("late"))], secs(5))),
                _ => Ok(one("order")),
            }
        }
    });
    let address = orders.serve().await;
    let stack = ClientStack::builder("out")
        .total_timeout(secs(4))
        .attempt_timeout(secs(2))
        .build();
    let stack = stack.unwrap().for_grpc().idempotent([GET]);
    let mut client = OrdersClient::new(stack.channel(endpoint(address).connect_lazy()));
    let mut sent = async |request: Request<String>, method: &str| {
        let answer = match method {
            GET => client.get(request).await,
            _ => client.put(request).await,
        };
        (seen.lock().unwrap().pop().unwrap(), answer)
    };
    let about = |time: Duration, expected: Duration| {
        let least = expected.saturating_sub(ms(400));
        assert!(least <= time && time <= expected + ms(51), "{time:?}");
    };
    // A unary method that was named is over within its attempt; any other may be a stream.
    about(sent(Request::new(text("7")), GET).await.0, secs(2));
    about(sent(Request::new(text("7")), PUT).await.0, secs(4));
    // The caller's.
    let timeout = Timeout::new(secs(1));
    let under = timeout.run(async || Ok::<_, Status>(sent(Request::new(text("7")), PUT).await.0));
    about(under.await.unwrap(), secs(1));
    // The request's: `tonic::Request::set_timeout`.
    let mut request = Request::new(text("hang"));
    request.set_timeout(ms(300));
    let start = Instant::now();
    let (time, answer) = sent(request, PUT).await;
    about(time, ms(300));
    // The server may take longer than this side waits.
    assert!(time >= ms(300), "{time:?}");
    let status = answer.unwrap_err();
    assert!(start.elapsed() < secs(2));
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let reason = Reason::find(&status).unwrap();
    assert_eq!(&**reason.policy(), "out.total_timeout");
    assert!(matches!(reason.kind(), RejectionKind::TimedOut { .. }));
    // It does not raise the total.
    let mut request = Request::new(text("7"));
    request.set_timeout(secs(60));
    about(sent(request, PUT).await.0, secs(4));
}

// GR3: the whole stream, at both ends.
#[tokio::test]
async fn gr3_a_total_timeout_ends_a_stream_in_a_status_of_the_client() {
    let orders = Orders::new(async |_| Ok(paced((0..50).map(|n| Ok(n.to_string())), ms(100))));
    let address = orders.serve().await;
    let stack = ClientStack::builder("short").total_timeout(ms(350));
    let stack = stack
        .attempt_timeout(ms(350))
        .retry(|retry| retry.max_attempts(1));
    let stack = stack.build().unwrap().for_grpc();
    let mut client = OrdersClient::new(stack.channel(endpoint(address).connect_lazy()));
    let start = Instant::now();
    let mut messages = client.watch(text("7")).await.unwrap();
    let mut seen = 0;
    let status = loop {
        match messages.message().await {
            Ok(message) => seen += u32::from(message.is_some()),
            Err(status) => break status,
        }
    };
    assert!((ms(340)..ms(1_500)).contains(&start.elapsed()));
    assert!((1..=3).contains(&seen));
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(
        &**Reason::find(&status).unwrap().policy(),
        "short.total_timeout"
    );
}

// GR3
#[tokio::test]
async fn gr3_grpc_timeout_ends_a_stream_of_5_s_at_half_a_second() {
    let orders = Orders::new(async |_| Ok(paced((0..50).map(|n| Ok(n.to_string())), ms(100))));
    let stack = ServerStack::grpc("api", 10);
    let address = orders.serve_under(stack.clone()).await;
    // A client without a timer of its own for the stream.
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    for (value, least) in [("500m", 500), ("300000u", 300), ("20000000n", 20)] {
        let mut request = Request::new(text("7"));
        request
            .metadata_mut()
            .insert("grpc-timeout", value.parse().unwrap());
        let start = Instant::now();
        let mut messages = client.watch(request).await.unwrap();
        let status = loop {
            match messages.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ended"),
                Err(status) => break status,
            }
        };
        let elapsed = start.elapsed();
        assert!(
            elapsed >= ms(least - 2) && elapsed < ms(least + 400),
            "{elapsed:?}"
        );
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(status.message(), "deadline exceeded");
    }
    // The permit is released with the stream.
    assert_eq!(stack.bulkhead().snapshot().in_flight, 0);
}

// GR3
#[tokio::test]
async fn gr3_a_handler_reads_the_deadline_which_the_stack_caps() {
    let orders = Orders::new(async |_| {
        let left = Deadline::remaining().unwrap();
        Ok(one(left.as_millis().to_string()))
    });
    let address = orders.serve_under(ServerStack::grpc("api", 10)).await;
    let mut client = OrdersClient::new(endpoint(address).connect_lazy());
    for (value, expected) in [
        (Some("2S"), 2_000),
        (Some("1H"), 30_000),
        (Some("99999999H"), 30_000),
        (Some("2s"), 30_000),
        (None, 30_000),
    ] {
        let mut request = Request::new(text("7"));
        if let Some(value) = value {
            request
                .metadata_mut()
                .insert("grpc-timeout", value.parse().unwrap());
        }
        let left: u32 = client.get(request).await.unwrap().parse().unwrap();
        assert!(
            (expected - 1_000..=expected).contains(&left),
            "{value:?}: {left}"
        );
    }
    // It has passed.
    let mut request = Request::new(text("7"));
    request
        .metadata_mut()
        .insert("grpc-timeout", "0m".parse().unwrap());
    let calls = orders.calls();
    client.get(request).await.unwrap_err();
    assert_eq!(orders.calls(), calls);
}

// GR3: before its head a call ends in the same status, and not in that of tonic's own timer.
#[tokio::test]
async fn gr3_a_handler_that_hangs_ends_in_deadline_exceeded() {
    let orders = Orders::new(async |_| {
        tokio::time::sleep(secs(5)).await;
        Ok(one("late"))
    });
    let address = orders.serve_under(ServerStack::grpc("api", 100)).await;
    let calls = (0..40).map(|n| async move {
        let mut request = Request::new(text("7"));
        let value = format!("{}m", 100 + n);
        let metadata = request.metadata_mut();
        metadata.insert("grpc-timeout", value.parse().unwrap());
        without_timer(address).watch(request).await.unwrap_err()
    });
    let calls = futures::future::join_all(calls).await;
    for status in calls {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    }
}

// GR3: without `grpc-timeout` the timeout is for the head.
#[tokio::test]
async fn gr3_the_timeout_of_the_stack_is_for_the_head_unless_it_is_set_for_the_stream() {
    let seen = async |stack: GrpcServerStack| {
        let orders = Orders::new(async |_| Ok(paced((0..5).map(|n| Ok(n.to_string())), ms(60))));
        let address = orders.serve_under(stack).await;
        let mut client = OrdersClient::new(endpoint(address).connect_lazy());
        let mut messages = client.watch(text("7")).await.unwrap();
        let mut seen = 0;
        loop {
            match messages.message().await {
                Ok(Some(_)) => seen += 1,
                Ok(None) => break (seen, None),
                Err(status) => break (seen, Some(status.code())),
            }
        }
    };
    let stack = || ServerStack::builder("api", 10).timeout(ms(150));
    let stack = || stack().build().unwrap().for_grpc();
    assert_eq!(seen(stack()).await, (5, None));
    let (messages, code) = seen(stack().timeout_until_body_end()).await;
    assert!(messages < 5);
    assert_eq!(code, Some(Code::DeadlineExceeded));
    let (messages, code) = seen(stack().idle(ms(20))).await;
    assert_eq!((messages, code), (0, Some(Code::DeadlineExceeded)));
}

// TO9
#[tokio::test]
async fn to9_one_call_overrides_the_timeouts_and_attempts_of_its_stack() {
    let orders = Orders::new(async |call: Call| match call.text.as_str() {
        "hang" => futures::future::pending().await,
        _ => Err(Status::unavailable("")),
    });
    let address = orders.serve().await;
    let stack = ClientStack::builder("overridden")
        .total_timeout(secs(2))
        .attempt_timeout(secs(1))
        .breaker(|breaker| breaker.mode(Mode::Off))
        .retry(|retry| retry.backoff(Backoff::constant(ms(1))));
    let stack = stack.build().unwrap().for_grpc().idempotent([GET]);
    let mut client = OrdersClient::new(stack.channel(endpoint(address).connect_lazy()));
    let mut call = async |message: &str, overrides: Overrides| {
        let before = orders.calls();
        let mut request = Request::new(text(message));
        request.extensions_mut().insert(overrides);
        let start = Instant::now();
        let status = client.get(request).await.unwrap_err();
        let policy = Reason::find(&status).map(|reason| reason.policy().to_string());
        (policy, orders.calls() - before, start.elapsed())
    };
    let (policy, attempts, _) = call("fail", Overrides::new()).await;
    assert_eq!((policy, attempts), (None, 3));
    let (policy, attempts, _) = call("fail", Overrides::new().once()).await;
    assert_eq!((policy, attempts), (None, 1));
    let short = Overrides::new().attempt_timeout(ms(40));
    let (policy, attempts, took) = call("hang", short).await;
    assert_eq!(policy.as_deref(), Some("overridden.attempt_timeout"));
    assert_eq!(attempts, 3);
    assert!(took < secs(1), "{took:?}");
    let short = Overrides::new().total_timeout(ms(100));
    let (policy, attempts, took) = call("hang", short).await;
    assert_eq!(policy.as_deref(), Some("overridden.total_timeout"));
    assert_eq!(attempts, 1);
    assert!(took >= ms(100) && took < secs(1), "{took:?}");
    // Not longer than the stack's own.
    let long = Overrides::new()
        .total_timeout(secs(60))
        .attempt_timeout(secs(60));
    let (policy, _, took) = call("hang", long).await;
    assert_eq!(policy.as_deref(), Some("overridden.total_timeout"));
    assert!(took < secs(4), "{took:?}");

    // Unless the stack allows more, by `set_timeout` too.
    stack
        .change(|now| {
            now.total_timeout(ms(200))
                .attempt_timeout(ms(200))
                .longest_total_timeout(ms(500))
        })
        .unwrap();
    let long = Overrides::new().total_timeout(secs(60));
    let (policy, attempts, took) = call("hang", long).await;
    assert_eq!(policy.as_deref(), Some("overridden.total_timeout"));
    assert!(attempts > 1 && took >= ms(500), "{attempts}, {took:?}");
    let mut request = Request::new(text("hang"));
    request.set_timeout(secs(60));
    let start = Instant::now();
    let status = client.get(request).await.unwrap_err();
    let reason = Reason::find(&status).unwrap();
    assert_eq!(&**reason.policy(), "overridden.total_timeout");
    assert!(start.elapsed() >= ms(500), "{:?}", start.elapsed());
}
