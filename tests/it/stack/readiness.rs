//! The total timeout of a stack covers the time in which the service below is not ready.

use std::time::Duration;

use seawall::circuit_breaker::CircuitBreaker;
use seawall::{CircuitBreakerLayer, ClientStack, RejectionKind, ServerStack};
use tokio::time::Instant;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::Constant;
use tower::load_shed::LoadShedLayer;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::support::{Do, Mock, Strict, ms, poll_ready, reason, secs};

/// Three gated endpoints, all of them open, that share nothing.
fn all_down() -> impl Service<Do, Response = u32, Error = BoxError, Future: Send> + Send {
    let services = ["a", "b", "c"].map(|name| {
        let breaker = CircuitBreaker::new(name);
        breaker.force_open();
        let gated = CircuitBreakerLayer::gated(&breaker);
        Constant::new(gated.layer(Mock::new()), 1)
    });
    Balance::new(ServiceList::new::<Do>(Vec::from(services)))
}

fn client() -> ClientStack {
    let config = ClientStack::builder("balanced").total_timeout(secs(1));
    config.attempt_timeout(ms(500)).build().unwrap()
}

/// How long each of 20 callers waits, in a buffer of four.
async fn waits<S>(service: S) -> Vec<Duration>
where
    S: Service<Do, Response = u32, Error = BoxError> + Clone,
{
    let callers = (0..20).map(|_| {
        let service = service.clone();
        async move {
            let start = Instant::now();
            service.oneshot(Do::Answer).await.unwrap_err();
            start.elapsed()
        }
    });
    futures::future::join_all(callers).await
}

#[tokio::test(start_paused = true)]
async fn to2_cb12_with_all_endpoints_down_a_caller_waits_at_most_for_the_total() {
    let service = client().layer(Buffer::new(all_down(), 4));
    for wait in waits(service).await {
        assert!((secs(1)..=ms(1_002)).contains(&wait), "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn to2_cb12_with_load_shed_a_caller_does_not_wait() {
    let shedding = LoadShedLayer::new().layer(all_down());
    let config = ClientStack::builder("shed").total_timeout(secs(1));
    let config = config.attempt_timeout(ms(500));
    let stack = config.retry(|retry| retry.max_attempts(1)).build().unwrap();
    for wait in waits(stack.layer(Buffer::new(shedding, 4))).await {
        assert!(wait <= ms(1), "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn to2_the_time_in_readiness_counts_against_the_total_of_the_call() {
    let mock = Mock::stuck();
    let mut service = client().layer(Strict::new(mock.clone()));
    let start = Instant::now();
    assert!(poll_ready(&mut service).is_pending());
    tokio::time::advance(ms(700)).await;
    mock.unstick();
    let call = service.ready().await.unwrap().call(Do::Hang);
    let error = call.await.unwrap_err();
    // The attempt's own timeout of 500 ms would end after 1.2 s.
    assert!((secs(1)..=ms(1_002)).contains(&start.elapsed()));
    let RejectionKind::TimedOut { limit, elapsed } = reason(&error).kind() else {
        panic!("{error}");
    };
    assert!(limit == secs(1) && elapsed >= secs(1), "{error}");
}

#[tokio::test(start_paused = true)]
async fn to2_a_call_for_which_the_service_was_never_ready_is_rejected_and_the_next_one_waits_its_own()
 {
    let stack = ServerStack::builder("api", 1)
        .timeout(ms(200))
        .build()
        .unwrap();
    let mock = Mock::stuck();
    let mut service = stack.layer(Strict::new(mock.clone()));
    for _ in 0..2 {
        let start = Instant::now();
        let error = service.ready().await.unwrap().call(Do::Answer).await;
        let kind = reason(&error.unwrap_err()).kind();
        assert!(matches!(kind, RejectionKind::TimedOut { .. }), "{kind:?}");
        assert!((ms(200)..=ms(202)).contains(&start.elapsed()));
    }
    assert_eq!(mock.calls(), 0);
    mock.unstick();
    let answer = service.ready().await.unwrap().call(Do::Answer).await;
    assert_eq!(answer.unwrap(), 7);
}

// Dropped while it waits: the handle that waited is gone, and its clone starts its own wait.
#[tokio::test(start_paused = true)]
async fn to2_cx7_a_wait_that_is_given_up_is_not_that_of_a_clone_or_of_a_later_call() {
    let mock = Mock::stuck();
    let mut service = client().layer(Strict::new(mock.clone()));
    assert!(poll_ready(&mut service).is_pending());
    tokio::time::advance(ms(900)).await;
    let mut clone = service.clone();
    assert!(poll_ready(&mut clone).is_pending());
    tokio::time::advance(secs(3)).await;
    for service in [&mut service, &mut clone] {
        assert!(poll_ready(service).is_pending(), "a new wait");
    }
    mock.unstick();
    assert_eq!(
        service
            .ready()
            .await
            .unwrap()
            .call(Do::Answer)
            .await
            .unwrap(),
        7
    );
}
