//! Readiness of the layers that reject without a request, and of the stacks.

use std::future::poll_fn;

use seawall::circuit_breaker::{State, Trip};
use seawall::{
    Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack, Jitter,
    Quota, RateLimitLayer, RateLimiter, ServerStack,
};
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::support::{Do, Mock, Task, poll_ready, reason, secs};

fn opened() -> CircuitBreaker {
    let breaker = CircuitBreaker::builder("breaker")
        .trip_on(Trip::consecutive_failures(1))
        .open_for(Backoff::constant(secs(30)).jitter(Jitter::None))
        .build()
        .unwrap();
    breaker.try_acquire().unwrap().failure();
    breaker
}

fn spent() -> RateLimiter {
    let limiter = RateLimiter::builder(Quota::new(1, secs(30)))
        .build()
        .unwrap();
    assert!(limiter.allow());
    limiter
}

/// Readies the service and calls it, as `oneshot` does, but keeps it.
async fn rejected<S>(service: &mut S)
where
    S: Service<Do, Response = u32, Error = BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    reason(&service.call(Do::Answer).await.unwrap_err());
}

#[tokio::test]
async fn cb9_ten_calls_rejected_by_an_open_breaker_poll_the_inner_service_never() {
    // CX5
    let mock = Mock::stuck();
    let breaker = opened();
    let mut service = CircuitBreakerLayer::new(&breaker).layer(mock.clone());
    for _ in 0..10 {
        rejected(&mut service).await;
        rejected(&mut service.clone()).await;
    }
    let mut buffer = Buffer::new(service, 4);
    for _ in 0..10 {
        let call = buffer.ready().await.unwrap().call(Do::Answer);
        reason(&call.await.unwrap_err());
    }
    assert_eq!((mock.ready_polls(), mock.calls()), (0, 0));
}

#[tokio::test]
async fn cb9_half_open_with_its_probe_in_flight_polls_the_inner_service_for_the_probe_only() {
    let mock = Mock::new();
    let breaker = CircuitBreaker::builder("breaker")
        .trip_on(Trip::consecutive_failures(1))
        .open_for(Backoff::constant(secs(1) / 1_000))
        .max_probe_time(secs(9))
        .build()
        .unwrap();
    breaker.try_acquire().unwrap().failure();
    while breaker.state() == State::Open {
        std::hint::spin_loop();
    }
    let service = CircuitBreakerLayer::new(&breaker).layer(mock.clone());
    let mut probe = Task::new(service.clone().oneshot(Do::Hang));
    assert!(probe.run().is_pending());
    for _ in 0..10 {
        let error = service.clone().oneshot(Do::Answer).await.unwrap_err();
        // It says when the probe is given up.
        let left = reason(&error).retry_after().unwrap();
        assert!(left > secs(5) && left <= secs(9), "{left:?}");
    }
    assert_eq!((mock.ready_polls(), mock.calls()), (1, 1));
}

/// The first handle is rejected and kept; others use the inner service.
async fn a_rejected_handle_holds_nothing<L>(layer: L)
where
    L: Layer<ConcurrencyLimit<Mock>>,
    L::Service: Service<Do, Response = u32, Error = BoxError> + Clone,
{
    let inner = ConcurrencyLimit::new(Mock::new(), 1);
    let mut kept = layer.layer(inner.clone());
    rejected(&mut kept).await;
    for _ in 0..3 {
        rejected(&mut kept).await;
        // Another one of the layer, and one of the inner service itself.
        rejected(&mut kept.clone()).await;
        let direct = inner.clone().oneshot(Do::Answer);
        assert!(Task::new(direct).run().is_ready());
    }
}

#[tokio::test]
async fn cx5_a_rejected_handle_that_is_kept_holds_no_capacity_of_the_inner_service() {
    a_rejected_handle_holds_nothing(CircuitBreakerLayer::new(opened())).await;
    let bulkhead = Bulkhead::new(1);
    let _permit = bulkhead.try_acquire().unwrap();
    a_rejected_handle_holds_nothing(BulkheadLayer::new(&bulkhead)).await;
    a_rejected_handle_holds_nothing(BulkheadLayer::queued(&bulkhead)).await;
    let stack = ServerStack::new("full", 0);
    a_rejected_handle_holds_nothing(stack).await;
}

#[tokio::test]
async fn cx5_a_limiter_holds_no_capacity_of_the_inner_service_after_its_first_rejection() {
    // RL12
    let inner = ConcurrencyLimit::new(Mock::new(), 1);
    let mut kept = RateLimitLayer::new(spent()).layer(inner.clone());
    rejected(&mut kept).await;
    // Another handle is rejected at once, and does not wait for the one that is kept.
    let mut other = Task::new(kept.clone().oneshot(Do::Answer));
    assert!(other.run().is_ready());
    drop(kept);
    assert!(Task::new(inner.oneshot(Do::Answer)).run().is_ready());
}

#[tokio::test]
async fn cx6_a_breaker_that_closes_forgets_a_rejection_of_readiness() {
    let mock = Mock::new();
    let breaker = opened();
    let mut service = CircuitBreakerLayer::new(&breaker).layer(mock.clone());
    assert!(poll_ready::<Do, _>(&mut service).is_ready());
    breaker.reset();
    assert!(poll_ready::<Do, _>(&mut service).is_ready());
    assert_eq!(service.call(Do::Answer).await.unwrap(), 7);
}

#[tokio::test]
async fn cx6_a_stack_forgets_a_rejection_of_readiness() {
    let server = ServerStack::new("api", 1);
    let permit = server.bulkhead().try_acquire_owned().unwrap();
    let mock = Mock::new();
    let mut service = server.layer(mock.clone());
    assert!(poll_ready::<Do, _>(&mut service).is_ready());
    assert_eq!(mock.ready_polls(), 0);
    drop(permit);
    assert!(poll_ready::<Do, _>(&mut service).is_ready());
    assert_eq!(service.call(Do::Answer).await.unwrap(), 7);

    let client = ClientStack::builder("api").rate_limit(Quota::new(1, secs(30)));
    let client = client.build().unwrap();
    assert!(client.limiter().allow());
    let mock = Mock::stuck();
    let mut service = client.layer(mock.clone());
    assert!(poll_ready::<Do, _>(&mut service).is_ready());
    client.limiter().set_mode(seawall::Mode::Off);
    assert!(poll_ready::<Do, _>(&mut service).is_pending());
    mock.unstick();
    assert!(poll_ready::<Do, _>(&mut service).is_ready());
    assert_eq!(service.call(Do::Answer).await.unwrap(), 7);
}
