//! Whether a request is sent again, after its outcome.

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::run::{events, polled};
use super::service::{BUSY, Flaky, builder, once, retry};
use crate::budget::Budget;
use crate::classify::{FailureKind, Outcome};
use crate::rejection::Error;
use crate::retry::RetryLayer;
use crate::sync::Arc;
use crate::testing::{Text, ms};
use crate::time::now;
use crate::timeout::TimeoutLayer;
use crate::{Deadline, RejectionKind};

#[tokio::test(start_paused = true)]
async fn rt7_only_overrides_what_the_request_says() {
    #[derive(Clone)]
    struct Write;
    crate::resend!(Write, |_| false);
    for (only, calls) in [(None, 1), (Some(true), 3), (Some(false), 1)] {
        let flaky = Flaky::failing(9);
        let layer = RetryLayer::new(retry());
        let _ = match only {
            None => once(&mut layer.layer(flaky.clone()), Write).await,
            Some(may) => {
                once(
                    &mut layer.only(move |_: &Write| may).layer(flaky.clone()),
                    Write,
                )
                .await
            }
        };
        assert_eq!(flaky.calls(), calls, "{only:?}");
    }
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn rt7_an_http_request_is_resent_by_method_or_key() {
    for (method, key, calls) in [
        (http::Method::GET, false, 3),
        (http::Method::PUT, false, 3),
        (http::Method::POST, false, 1),
        (http::Method::PATCH, false, 1),
        (http::Method::POST, true, 3),
    ] {
        let flaky = Flaky::failing(9);
        let mut request = http::Request::new(());
        *request.method_mut() = method.clone();
        if key {
            let name = http::header::HeaderName::from_static("idempotency-key");
            request
                .headers_mut()
                .insert(name, http::HeaderValue::from_static("7"));
        }
        let mut service = RetryLayer::new(retry()).layer(flaky.clone());
        let _ = once(&mut service, request).await;
        assert_eq!(flaky.calls(), calls, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn rt7_a_copier_does_not_permit_a_resend() {
    // Only a closure can copy it.
    struct Write {
        idempotent: bool,
    }
    impl crate::attempts::Idempotent for Write {
        fn is_idempotent(&self) -> bool {
            self.idempotent
        }
    }
    fn copy(write: &Write) -> Option<Write> {
        Some(Write {
            idempotent: write.idempotent,
        })
    }
    for (idempotent, calls) in [(false, 1), (true, 3)] {
        let flaky = Flaky::failing(9);
        let mut service = RetryLayer::new(retry()).resend(copy).layer(flaky.clone());
        let _ = once(&mut service, Write { idempotent }).await;
        assert_eq!(flaky.calls(), calls, "{idempotent}");
        // A closure decides instead of the request, in either order.
        let flaky = Flaky::failing(9);
        let layer = RetryLayer::new(retry()).resend(copy);
        let only = move |_: &Write| !idempotent;
        let _ = once(
            &mut layer.only(only).layer(flaky.clone()),
            Write { idempotent },
        )
        .await;
        assert_eq!(flaky.calls(), 4 - calls, "{idempotent}");
    }
}

/// Sends a GET through a retry over a hedge to a service that answers every call by `answer`;
/// returns the number of attempts and how long the call took.
#[cfg(feature = "http")]
async fn attempts_of(answer: http::response::Builder) -> (u32, Duration) {
    let calls = Cell::new(0);
    let response = answer.body(()).unwrap();
    let service = tower::service_fn(|_: http::Request<()>| {
        calls.set(calls.get() + 1);
        std::future::ready(Ok::<_, std::convert::Infallible>(response.clone()))
    });
    let hedge = crate::HedgeLayer::new(&crate::Hedge::fixed(ms(10)));
    let service = RetryLayer::new(retry()).layer(hedge.layer(service));
    let start = now();
    let call = tower::ServiceExt::oneshot(service, http::Request::new(()));
    assert_eq!(call.await.unwrap().status(), response.status());
    (calls.get(), now().since(start))
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn rt3_a_negative_or_unreadable_pushback_ends_retries_and_hedges() {
    let grpc = || http::Response::builder().header("content-type", "application/grpc");
    let unavailable = |pushback: &str| {
        let answer = grpc().header("grpc-status", "14");
        attempts_of(answer.header("grpc-retry-pushback-ms", pushback))
    };
    for pushback in ["-1", "soon", "1.5", ""] {
        assert_eq!(unavailable(pushback).await, (1, ms(0)), "{pushback}");
    }
    // Longer than the base of a throttled call.
    assert_eq!(unavailable("1250").await, (3, ms(2_500)));
    let two = grpc()
        .header("grpc-status", "14")
        .header("grpc-retry-pushback-ms", "250")
        .header("grpc-retry-pushback-ms", "-1");
    assert_eq!(attempts_of(two).await, (1, ms(0)));
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn rt3_a_delay_with_a_fraction_or_in_milliseconds_is_waited_for() {
    let busy = |name: &str, delay: &str| {
        attempts_of(http::Response::builder().status(429).header(name, delay))
    };
    // The base of a throttled call is 1 s.
    assert_eq!(busy("retry-after", "2.5").await, (3, ms(5_000)));
    let failed = |name: &str, delay: &str| {
        attempts_of(http::Response::builder().status(500).header(name, delay))
    };
    assert_eq!(failed("retry-after-ms", "700").await, (3, ms(1_400)));
    assert_eq!(failed("x-ms-retry-after-ms", "700").await, (3, ms(1_400)));
    assert_eq!(failed("retry-after", "soon").await, (1, ms(0)));
}

// D16. A copier is there in every row, and permits nothing.
#[tokio::test(start_paused = true)]
async fn rt7_whether_a_request_is_sent_again_depends_on_how_it_failed() {
    #[derive(Clone)]
    struct Write {
        idempotent: bool,
    }
    crate::resend!(Write, |write| write.idempotent);
    let after = |kind, retry_after| Outcome::Failure { kind, retry_after };
    let soon = Some(ms(5));
    for (outcome, once_only, idempotent) in [
        (after(FailureKind::Unsent, None), 3, 3),
        (after(FailureKind::Throttled, soon), 3, 3),
        (after(FailureKind::Throttled, None), 1, 3),
        (after(FailureKind::Error, None), 1, 3),
        (after(FailureKind::Response, None), 1, 3),
        (after(FailureKind::Response, soon), 1, 3),
        (after(FailureKind::Timeout, None), 1, 3),
        (after(FailureKind::Permanent, None), 1, 1),
        (Outcome::Ignore, 1, 1),
    ] {
        for (is, calls) in [(false, once_only), (true, idempotent)] {
            let retry = retry();
            let (log, flaky) = (events(&retry), Flaky::failing(9));
            let mut service = RetryLayer::new(&retry)
                .classify(move |_: Result<&u32, &Error<Text>>| outcome)
                .resend(|write: &Write| Some(write.clone()))
                .layer(flaky.clone());
            assert_eq!(once(&mut service, Write { idempotent: is }).await, BUSY);
            assert_eq!(flaky.calls(), calls, "{outcome:?}, {is}");
            // CX14
            let suppressed = log.lock().contains(&"no 2: NotIdempotent".to_owned());
            assert_eq!(suppressed, calls < idempotent, "{outcome:?}, {is}");
        }
    }
}

// CX14
#[tokio::test(start_paused = true)]
async fn rt6_rt7_without_a_copy_a_request_that_was_not_sent_is_not_sent_again() {
    let retry = retry();
    let (log, flaky) = (events(&retry), Flaky::failing(9));
    let unsent = Outcome::Failure {
        kind: FailureKind::Unsent,
        retry_after: None,
    };
    let mut service = RetryLayer::new(&retry)
        .classify(move |_: Result<&u32, &Error<Text>>| unsent)
        .resend(|_: &u32| None)
        .layer(flaky.clone());
    assert_eq!(once(&mut service, 1).await, BUSY);
    assert_eq!(flaky.calls(), 1);
    assert_eq!(*log.lock(), ["no 2: NoCopy", "Failure(Unsent) after 1"]);
}

/// Fails every call by an error, or by a response of 1.
#[derive(Clone)]
struct Failing {
    responds: bool,
    calls: Arc<crate::sync::Mutex<u32>>,
    /// How many times a clone is pending before it is ready.
    unready: u32,
}

impl Service<u32> for Failing {
    type Response = u32;
    type Error = Error<Text>;
    type Future = std::future::Ready<Result<u32, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.unready.checked_sub(1) {
            None => return Poll::Ready(Ok(())),
            Some(left) => self.unready = left,
        }
        Poll::Pending
    }

    fn call(&mut self, _: u32) -> Self::Future {
        *self.calls.lock() += 1;
        std::future::ready(if self.responds { Ok(1) } else { BUSY })
    }
}

// The backoff ends at 100 ms, and is polled at 200 ms; or the service is ready then.
#[tokio::test(start_paused = true)]
async fn to4_an_attempt_that_becomes_due_after_the_deadline_is_not_made() {
    let busy = |_: Result<&u32, &Error<Text>>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    let budget = Budget::builder().ratio(0.0).burst(3).floor(0);
    let budget = budget.build().unwrap();
    for (responds, unready) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let retry = builder().budget(&budget).build().unwrap();
        let (log, calls) = (events(&retry), Arc::default());
        let failing = Failing {
            responds,
            calls: Arc::clone(&calls),
            unready,
        };
        let service = RetryLayer::new(&retry).classify(busy).layer(failing);
        let mut service = TimeoutLayer::new(ms(150)).layer(service);
        let mut call = pin!(service.call(1));
        assert!(polled(call.as_mut()).is_pending());
        if unready > 0 {
            tokio::time::advance(ms(110)).await;
            assert!(polled(call.as_mut()).is_pending());
        }
        tokio::time::advance(ms(200)).await;
        let Poll::Ready(answer) = polled(call.as_mut()) else {
            panic!("still waiting");
        };
        // A failed response was dropped, so that the timeout has the answer.
        assert_eq!(answer.unwrap_err().rejection().is_some(), responds);
        assert_eq!((*calls.lock(), budget.snapshot().balance), (1, 3.0));
        let ended = match responds {
            true => &["2 in 100ms", "Dropped after 1"][..],
            false => &["2 in 100ms", "no 2: Deadline", "Failure(Response) after 1"],
        };
        assert_eq!(*log.lock(), ended);
    }
}

// TO3: the deadline was that of a caller that polled the call by reference.
#[tokio::test(start_paused = true)]
async fn to3_to4_a_call_goes_on_once_a_passed_deadline_is_gone() {
    let busy = |_: Result<&u32, &Error<Text>>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    let calls = Arc::default();
    let failing = Failing {
        responds: true,
        calls: Arc::clone(&calls),
        unready: 0,
    };
    let mut service = RetryLayer::new(retry()).classify(busy).layer(failing);
    let mut call = pin!(service.call(1));
    let start = now();
    assert!(polled(call.as_mut()).is_pending());
    {
        let timeout = crate::Timeout::new(ms(150));
        let mut within = pin!(timeout.run(|| call.as_mut()));
        assert!(polled(within.as_mut()).is_pending());
        tokio::time::advance(ms(200)).await;
        assert!(polled(within.as_mut()).is_ready());
    }
    assert_eq!(*calls.lock(), 1);
    assert_eq!(call.await, Ok(1));
    assert_eq!((*calls.lock(), now().since(start)), (3, ms(301)));
}

// A backoff is held to the deadline of the call, not to that of a caller that polls it by reference
// when an attempt fails, or when the backoff ends.
#[tokio::test(start_paused = true)]
async fn to3_a_backoff_is_held_to_the_deadline_of_the_call() {
    let busy = |_: Result<&u32, &Error<Text>>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    for (responds, passed) in [
        (true, ms(60)),
        (false, ms(60)),
        (true, ms(110)),
        (false, ms(110)),
    ] {
        let calls = Arc::default();
        let failing = Failing {
            responds,
            calls: Arc::clone(&calls),
            unready: 0,
        };
        let mut service = RetryLayer::new(retry()).classify(busy).layer(failing);
        let mut call = pin!(service.call(1));
        {
            let timeout = crate::Timeout::new(ms(50));
            let mut within = pin!(timeout.run(|| call.as_mut()));
            assert!(polled(within.as_mut()).is_pending());
            tokio::time::advance(passed).await;
            let Poll::Ready(Err(Error::Rejected(rejection))) = polled(within.as_mut()) else {
                panic!("the backoff gave up");
            };
            assert!(matches!(rejection.kind(), RejectionKind::TimedOut { .. }));
        }
        assert_eq!(call.await, if responds { Ok(1) } else { BUSY });
        assert_eq!(*calls.lock(), 3);
    }
}

// Under a deadline that no timer enforces, the failed response is the answer.
#[tokio::test(start_paused = true)]
async fn to4_a_failed_response_is_kept_under_a_deadline_that_only_informs() {
    let busy = |_: Result<&u32, &Error<Text>>| Outcome::Failure {
        kind: FailureKind::Response,
        retry_after: None,
    };
    let budget = Budget::builder().ratio(0.0).burst(3);
    let budget = budget.build().unwrap();
    for unready in [0, 1] {
        let retry = builder().budget(&budget).build().unwrap();
        let calls = Arc::default();
        let failing = Failing {
            responds: true,
            calls: Arc::clone(&calls),
            unready,
        };
        let mut service = RetryLayer::new(&retry).classify(busy).layer(failing);
        // Seen at the call, or by the polls only.
        let scope = Deadline::after(ms(150));
        let call = match unready {
            0 => scope.enter(|| service.call(1)),
            _ => service.call(1),
        };
        let mut call = pin!(scope.scope(call));
        assert!(polled(call.as_mut()).is_pending());
        tokio::time::advance(ms(200)).await;
        let answer = polled(call.as_mut());
        assert!(matches!(answer, Poll::Ready(Ok(1))), "{answer:?}");
        assert_eq!((*calls.lock(), budget.snapshot().balance), (1, 3.0));
    }
}
