//! Layers on layers.

mod describe;
mod load;
#[cfg(feature = "test-util")]
mod readiness;
#[cfg(feature = "test-util")]
mod storm;
#[cfg(feature = "test-util")]
mod time;

use std::io;

use seawall::circuit_breaker::Trip;
use seawall::{
    Backoff, Budget, Bulkhead, CircuitBreaker, CircuitBreakerLayer, Error, Hedge, Jitter,
    RateLimitLayer, RateLimiter, Rejection, RejectionKind, Retry, Timeout, TimeoutLayer,
};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Do, Mock, Recorder, Strict, full_budget, ms, reason, secs};

/// The policies of the full stack.
pub(crate) struct Policies {
    pub(crate) total: Timeout,
    pub(crate) retry: Retry,
    pub(crate) hedge: Hedge,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) limiter: RateLimiter,
    pub(crate) attempt: Timeout,
}

/// The full stack, over `$limit` as the limiter's layer.
macro_rules! full {
    ($policies:expr, $limit:ident) => {{
        let policies = &$policies;
        tower::ServiceBuilder::new()
            .layer(seawall::TimeoutLayer::new(&policies.total))
            .layer(seawall::RetryLayer::new(&policies.retry))
            .layer(seawall::HedgeLayer::new(&policies.hedge))
            .layer(seawall::CircuitBreakerLayer::new(&policies.breaker))
            .layer(seawall::BulkheadLayer::queued(&policies.bulkhead))
            .layer(seawall::RateLimitLayer::$limit(&policies.limiter))
            .layer(seawall::TimeoutLayer::new(&policies.attempt))
    }};
}
#[cfg(feature = "test-util")]
pub(crate) use full;

/// Policies that admit everything: three attempts with 10 ms between them, and no hedge.
pub(crate) fn quiet() -> Policies {
    let named = |name, limit| Timeout::builder(limit).name(name).build().unwrap();
    Policies {
        total: named("total", secs(5)),
        retry: retry_every(10).budget(full_budget()).build().unwrap(),
        hedge: Hedge::builder().budget(dry()).build().unwrap(),
        breaker: tripping(4_000).build().unwrap(),
        bulkhead: Bulkhead::builder(64).queue(128).build().unwrap(),
        limiter: RateLimiter::per_second(1_000_000),
        attempt: named("attempt", ms(800)),
    }
}

/// A retry that waits for exactly this time.
pub(crate) fn retry_every(millis: u64) -> seawall::retry::Builder {
    Retry::builder().backoff(Backoff::constant(ms(millis)).jitter(Jitter::None))
}

pub(crate) fn tripping(failures: u32) -> seawall::circuit_breaker::Builder {
    CircuitBreaker::builder("breaker").trip_on(Trip::consecutive_failures(failures))
}

/// An empty budget.
pub(crate) fn dry() -> Budget {
    let budget = Budget::builder().ratio(0.0).burst(0).floor(0);
    budget.build().unwrap()
}

/// Twelve different layers in turn. That this file compiles quickly is the test: bounds that are spelled
/// out in each layer double the compiler's work with each of them, two minutes at sixteen, and hours at
/// twenty-four.
macro_rules! twelve {
    ($builder:expr) => {
        $builder
            .layer(TimeoutLayer::new(secs(60)))
            .layer(CircuitBreakerLayer::new(CircuitBreaker::new("01")))
            .layer(TimeoutLayer::new(secs(60)))
            .layer(RateLimitLayer::new(RateLimiter::per_second(1_000)))
            .layer(TimeoutLayer::new(secs(60)))
            .layer(CircuitBreakerLayer::new(CircuitBreaker::new("03")))
            .layer(TimeoutLayer::new(secs(60)))
            .layer(RateLimitLayer::waiting(RateLimiter::per_second(1_000)))
            .layer(TimeoutLayer::new(secs(60)))
            .layer(CircuitBreakerLayer::new(CircuitBreaker::new("05")))
            .layer(TimeoutLayer::new(secs(60)))
            .layer(RateLimitLayer::new(RateLimiter::per_second(1_000)))
    };
}

// CX12: the stack of the docs three times over, in one type.
#[tokio::test]
async fn cx12_three_nested_full_stacks_compile_and_change_no_type() {
    let (a, b, c) = (quiet(), quiet(), quiet());
    let inner = full!(c, waiting).service(Strict::new(Mock::new()));
    let stack = full!(a, new).service(full!(b, waiting).service(inner));
    let answer = stack.clone().oneshot(Do::Answer).await.unwrap();
    assert_eq!(answer, 7);
    let failed = tokio::spawn(async move { stack.oneshot(Do::Fail).await });
    let error = failed.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
}

// CX12
#[tokio::test]
async fn cx12_twenty_four_layers_compile_and_change_no_type() {
    let stack = twelve!(twelve!(ServiceBuilder::new())).service(Mock::new());
    let answer = stack.clone().oneshot(Do::Answer).await.unwrap();
    assert_eq!(answer, 7);
    // In a task, which needs all 24 futures to be `Send`.
    let failed = tokio::spawn(async move { stack.oneshot(Do::Fail).await });
    let error = failed.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the inner service failed");
}

// CX12: `Carrier` for boxed errors holds for every lifetime, or this does not compile.
#[tokio::test]
async fn cx12_oneshot_inside_spawn_compiles_with_boxed_errors() {
    let breaker = CircuitBreaker::new("spawned");
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(60)))
        .layer(CircuitBreakerLayer::new(&breaker))
        .service_fn(async |n: u32| Ok::<u32, BoxError>(n));
    let boxed = BoxCloneService::new(service.clone());
    let call = tokio::spawn(async move { service.oneshot(3).await });
    assert_eq!(call.await.unwrap().unwrap(), 3);
    let call = tokio::spawn(async move {
        let outcome = boxed.oneshot(4).await?;
        Ok::<_, BoxError>(outcome)
    });
    assert_eq!(call.await.unwrap().unwrap(), 4);
}

// CX12: the mark is in the rejection, not in the layer that finds it.
#[tokio::test]
async fn cx12_a_breaker_with_a_responder_of_its_own_ignores_rejections_from_below() {
    let recorder = Recorder::new();
    let breaker = CircuitBreaker::builder("above").on_event(recorder.listener());
    let breaker = breaker.build().unwrap();
    let below = CircuitBreaker::new("below");
    below.force_open();
    let mut service = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(&breaker).respond(|_| Err(io::Error::other("mine"))))
        .layer(CircuitBreakerLayer::new(&below))
        .service(service_fn(async |()| Ok::<(), io::Error>(())));
    for _ in 0..10 {
        service.ready().await.unwrap().call(()).await.unwrap_err();
        assert_eq!(recorder.take(), ["Ignored"]);
    }
    breaker.force_open();
    recorder.take();
    let error = service.ready().await.unwrap().call(()).await.unwrap_err();
    assert_eq!(error.to_string(), "mine");
    assert_eq!(recorder.take(), ["rejected"]);
}

// CX12: the stack of the docs, over a client whose error type is not ours.
#[tokio::test]
async fn cx12_a_client_stack_over_a_foreign_error() {
    let payments = CircuitBreaker::new("payments");
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(secs(5)))
        .layer(CircuitBreakerLayer::new(&payments))
        .layer(TimeoutLayer::new(secs(1)))
        .map_err(Error::service)
        .service(service_fn(async |n: u32| match n {
            0 => Err(std::fmt::Error),
            n => Ok(n),
        }));
    assert_eq!(client.clone().oneshot(1).await, Ok(1));
    let failed = client.clone().oneshot(0).await;
    assert_eq!(failed, Err(Error::Service(std::fmt::Error)));
    payments.force_open();
    let rejected = client.oneshot(1).await.unwrap_err();
    assert_eq!(
        rejected.rejection().map(|r| r.kind()),
        Some(RejectionKind::CircuitOpen)
    );
}

// CX12: an error under a stack may itself be one of ours.
#[tokio::test]
async fn cx12_a_rejection_is_an_error_type_of_its_own() {
    let never = service_fn(async |()| Ok::<(), Rejection>(()));
    let breaker = CircuitBreaker::new("only");
    let mut service = CircuitBreakerLayer::new(&breaker).layer(never);
    assert_eq!(service.call(()).await, Ok(()));
    breaker.force_open();
    assert_eq!(&**service.call(()).await.unwrap_err().policy(), "only");
}

/// An open breaker, below all others.
fn deep() -> CircuitBreaker {
    let deep = CircuitBreaker::new("deep");
    deep.force_open();
    deep
}

// CX12, RT7: no layer above counts it as a failure or sends the call again.
#[tokio::test]
async fn cx12_a_rejection_from_below_is_found_above_seven_layers() {
    let recorder = Recorder::new();
    let policies = quiet();
    let _on = policies.breaker.on_event(recorder.listener());
    let mock = Mock::new();
    let service = full!(policies, new)
        .layer(CircuitBreakerLayer::new(deep()))
        .service(mock.clone());
    let error = service.oneshot(Do::Answer).await.unwrap_err();
    let reason = reason(&error);
    assert_eq!(
        (reason.policy().as_str(), reason.kind()),
        ("deep", RejectionKind::CircuitOpen)
    );
    assert_eq!(mock.calls(), 0);
    assert_eq!(recorder.take(), ["Ignored"]);
    assert_eq!(policies.retry.snapshot().retried, 0);
    assert_eq!(policies.hedge.snapshot().suppressed, 0);
}

// CX12
#[tokio::test]
async fn cx12_a_rejection_from_below_is_found_in_an_error_of_ours() {
    let stack = || full!(quiet(), waiting);
    let failing = || {
        let service = service_fn(async |_: u32| Err::<u32, _>(std::fmt::Error));
        ServiceBuilder::new()
            .map_err(Error::service)
            .service(service)
    };
    let shut = CircuitBreakerLayer::new(deep()).layer(failing());
    let error = stack().service(shut).oneshot(1).await.unwrap_err();
    let rejection = error.rejection().expect("it is one");
    assert_eq!(rejection.policy().as_str(), "deep");
    let error = stack().service(failing()).oneshot(1).await.unwrap_err();
    assert_eq!(error, Error::Service(std::fmt::Error));
}

// CX12
#[cfg(feature = "http")]
#[tokio::test]
async fn cx12_a_rejection_from_below_is_found_in_a_response() {
    use seawall::classify::Judge;
    type Answer = Result<http::Response<String>, std::convert::Infallible>;

    let recorder = Recorder::new();
    let policies = quiet();
    let _on = policies.breaker.on_event(recorder.listener());
    let inner =
        service_fn(async |_: http::Request<String>| -> Answer { Ok(http::Response::default()) });
    let request = || http::Request::new(String::new());
    let service = full!(policies, new).layer(CircuitBreakerLayer::new(deep()));
    let response = service.service(inner).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    let reason = response.reason().expect("it is marked");
    assert_eq!(reason.policy().as_str(), "deep");
    assert_eq!(recorder.take(), ["Ignored"]);
    assert_eq!(policies.retry.snapshot().retried, 0);
    let response = full!(quiet(), new).service(inner).oneshot(request()).await;
    assert_eq!(response.unwrap().status(), http::StatusCode::OK);
}
