//! Layers on layers.

use std::io;

use seawall::{
    CircuitBreaker, CircuitBreakerLayer, Error, RateLimitLayer, RateLimiter, Rejection,
    TimeoutLayer, Why,
};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Do, Mock, Recorder, secs};

/// Twelve layers of all sorts in turn. That this file compiles in a moment is the test:
/// bounds written out in each layer would double the compiler's work with each of them, two
/// minutes at sixteen, and hours at twenty-four.
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

// CX12
#[tokio::test]
async fn cx12_twenty_four_layers_compile_and_change_no_type() {
    let stack = twelve!(twelve!(ServiceBuilder::new())).service(Mock::new());
    let answer = stack.clone().oneshot(Do::Answer).await.unwrap();
    assert_eq!(answer, 7);
    // In a task of its own, which asks whether all 24 futures are `Send`.
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

// CX12: whoever recognises a refusal asks it, not the layer that found it.
#[tokio::test]
async fn cx12_a_breaker_with_a_responder_of_its_own_ignores_refusals_from_below() {
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
    let refused = client.oneshot(1).await.unwrap_err();
    assert_eq!(refused.rejection().map(|r| r.why()), Some(Why::CircuitOpen));
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
