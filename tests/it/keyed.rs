//! Layers with a policy per key.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use seawall::circuit_breaker::Trip;
use seawall::event::EventKind;
#[cfg(feature = "test-util")]
use seawall::{Budget, Hedge, HedgeLayer};
use seawall::{
    Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Keyed, Quota, RateLimitLayer,
    RateLimiter, Reason, RejectionKind,
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

#[cfg(feature = "test-util")]
use crate::support::ms;

/// A call to a host, or to none.
type Request = (Option<&'static str>, u32);

fn host(request: &Request) -> Option<&str> {
    request.0
}

fn reason(error: &BoxError) -> Option<&Reason> {
    Reason::of(&**error)
}

async fn answer(request: Request) -> Result<u32, BoxError> {
    match request.0 {
        Some("dead") => Err("unreachable".into()),
        Some("hung") => pending().await,
        _ => Ok(request.1),
    }
}

fn why(outcome: Result<u32, BoxError>) -> Option<RejectionKind> {
    outcome
        .err()
        .and_then(|error| reason(&error).map(|reason| reason.kind()))
}

fn tripping(name: &str) -> Result<CircuitBreaker, seawall::ConfigError> {
    CircuitBreaker::builder(name)
        .trip_on(Trip::consecutive_failures(3))
        .build()
}

// KY1, KY2: one of 100 hosts is dead. Its breaker opens, and the others never reject.
#[tokio::test]
async fn ky2_only_the_dead_host_of_a_hundred_is_rejected() {
    let per_host = Keyed::new(1_000, tripping).unwrap();
    let layer = CircuitBreakerLayer::new(per_host.by(host));
    let made = AtomicUsize::new(0);
    let service = layer.layer(service_fn(|request: Request| {
        made.fetch_add(1, Ordering::Relaxed);
        answer(request)
    }));
    let names: Vec<&'static str> = (0..99)
        .map(|n| &*Box::leak(format!("host-{n}").into_boxed_str()))
        .chain(["dead"])
        .collect();
    let (mut rejected, mut served) = (0, 0);
    for round in 0..20 {
        for name in &names {
            match service.clone().oneshot((Some(name), round)).await {
                Ok(answer) => {
                    assert_eq!(answer, round);
                    served += 1;
                }
                Err(error) => {
                    assert_eq!(*name, "dead");
                    rejected += usize::from(reason(&error).is_some());
                }
            }
        }
    }
    assert_eq!((served, rejected), (20 * 99, 17));
    assert_eq!(made.load(Ordering::Relaxed), 20 * 99 + 3);
    assert_eq!(per_host.len(), 100);
}

// KY1: the limiter's two layers.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn ky1_the_limiters_layers_take_a_limit_per_key() {
    use tokio::time::Instant;

    let per_host = Keyed::limit(100, Quota::per_second(10).burst(1)).unwrap();
    let rejecting = RateLimitLayer::new(per_host.by(host)).layer(service_fn(answer));
    let call = |name| rejecting.clone().oneshot((Some(name), 1));
    assert_eq!(call("a").await.unwrap(), 1);
    let error = call("a").await.unwrap_err();
    assert_eq!(reason(&error).unwrap().retry_after(), Some(ms(100)));
    assert_eq!(reason(&error).unwrap().policy(), per_host.name());
    assert_eq!(call("b").await.unwrap(), 1);

    let waiting = RateLimitLayer::waiting(per_host.by(host)).layer(service_fn(answer));
    let began = Instant::now();
    assert_eq!(waiting.clone().oneshot((Some("a"), 1)).await.unwrap(), 1);
    assert_eq!(began.elapsed(), ms(100));
    assert_eq!(waiting.clone().oneshot((Some("c"), 1)).await.unwrap(), 1);
    assert_eq!(began.elapsed(), ms(100));
    // A waiter that leaves returns its token to its own key.
    let mut waiter = Box::pin(waiting.clone().oneshot((Some("a"), 1)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiter.as_mut().poll(&mut cx).is_pending());
    let wait = |name| per_host.try_acquire(name).unwrap_err().retry_after();
    assert_eq!((wait("a"), wait("c")), (Some(ms(200)), Some(ms(100))));
    drop(waiter);
    assert_eq!((wait("a"), wait("c")), (Some(ms(100)), Some(ms(100))));
}

// KY1: the bulkhead's two layers.
#[tokio::test]
async fn ky1_the_bulkheads_layers_take_a_bulkhead_per_key() {
    let per_host = Keyed::new(100, |_: &str| Bulkhead::builder(1).queue(1).build()).unwrap();
    let rejecting = BulkheadLayer::new(per_host.by(host)).layer(service_fn(answer));
    let queued = BulkheadLayer::queued(per_host.by(host)).layer(service_fn(answer));
    let mut cx = Context::from_waker(Waker::noop());
    let mut hung = Box::pin(rejecting.clone().oneshot((Some("hung"), 1)));
    assert!(hung.as_mut().poll(&mut cx).is_pending());
    let rejected = why(rejecting.clone().oneshot((Some("hung"), 1)).await);
    assert!(
        matches!(rejected, Some(RejectionKind::BulkheadFull { limit: 1, .. })),
        "{rejected:?}"
    );
    assert_eq!(rejecting.clone().oneshot((Some("a"), 2)).await.unwrap(), 2);

    let mut waiter = Box::pin(queued.clone().oneshot((Some("hung"), 1)));
    assert!(waiter.as_mut().poll(&mut cx).is_pending());
    assert_eq!(per_host.get("hung").snapshot().queued, 1);
    assert_eq!(queued.clone().oneshot((Some("a"), 2)).await.unwrap(), 2);
    drop((hung, waiter));
    assert_eq!(per_host.get("hung").snapshot().in_flight, 0);
}

#[derive(Clone)]
#[cfg(feature = "test-util")]
struct Sleep(&'static str, u64);

#[cfg(feature = "test-util")]
seawall::resend!(Sleep);

// KY1: each host has a quantile of its own.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn ky1_the_hedges_layer_takes_a_quantile_per_key() {
    let make = |_: &str| Hedge::builder().min_samples(5).build();
    let per_host = Keyed::new(100, make).unwrap();
    let layer = HedgeLayer::new(per_host.by(|request: &Sleep| Some(request.0)));
    let service = layer.layer(service_fn(|Sleep(_, delay)| async move {
        tokio::time::sleep(ms(delay)).await;
        Ok::<_, BoxError>(())
    }));
    for _ in 0..5 {
        service.clone().oneshot(Sleep("slow", 500)).await.unwrap();
        service.clone().oneshot(Sleep("fast", 20)).await.unwrap();
    }
    tokio::time::advance(ms(1_000)).await;
    let delay = |host| per_host.get(host).delay().unwrap();
    assert!(
        (ms(450)..ms(600)).contains(&delay("slow")),
        "{:?}",
        delay("slow")
    );
    assert!(
        (ms(18)..ms(25)).contains(&delay("fast")),
        "{:?}",
        delay("fast")
    );
    service.clone().oneshot(Sleep("fast", 400)).await.unwrap();
    service.clone().oneshot(Sleep("slow", 400)).await.unwrap();
    let made = |host| per_host.get(host).snapshot().made;
    assert_eq!((made("fast"), made("slow")), (1, 0));
}

// KY5: the anonymous policy, which all requests without a key share; or none; or a rejection; or another
// policy.
#[tokio::test]
async fn ky5_a_request_without_a_key_is_handled_as_configured() {
    let per_host = Keyed::limit(100, Quota::per_second(1)).unwrap();
    let layer = |source| RateLimitLayer::new(source).layer(service_fn(answer));
    let anonymous = layer(per_host.by(host as fn(&Request) -> Option<&str>));
    assert!(anonymous.clone().oneshot((None, 1)).await.is_ok());
    assert_eq!(
        why(anonymous.clone().oneshot((None, 1)).await),
        Some(RejectionKind::RateLimited)
    );
    assert!(per_host.anonymous().peek().is_err());
    assert!(anonymous.clone().oneshot((Some("a"), 1)).await.is_ok());

    let by = || per_host.by(host as fn(&Request) -> Option<&str>);
    let skipping = layer(by().or_skip());
    for _ in 0..10 {
        assert!(skipping.clone().oneshot((None, 1)).await.is_ok());
    }
    assert!(skipping.clone().oneshot((Some("a"), 1)).await.is_err());

    let rejections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&rejections);
    let _subscription = per_host.get("any").on_event(move |event| {
        if let EventKind::Rejected(rejection) = event.kind {
            *count.lock().unwrap() += u32::from(rejection.kind() == RejectionKind::NoKey);
        }
    });
    let rejecting = layer(by().or_reject());
    let error = rejecting.clone().oneshot((None, 1)).await.unwrap_err();
    assert_eq!(reason(&error).unwrap().kind(), RejectionKind::NoKey);
    assert_eq!(reason(&error).unwrap().policy(), per_host.name());
    assert_eq!(*rejections.lock().unwrap(), 1);
    assert!(rejecting.clone().oneshot((Some("b"), 1)).await.is_ok());

    let guests = RateLimiter::per_second(2);
    let guarded = layer(by().or(&guests));
    assert!(guarded.clone().oneshot((None, 1)).await.is_ok());
    assert_eq!(guests.available(), 1);

    // The other hosts, by their own policies.
    let breakers = Keyed::new(10, tripping).unwrap();
    breakers.anonymous().force_open();
    let open = |source| CircuitBreakerLayer::new(source).layer(service_fn(answer));
    let by = || breakers.by(host as fn(&Request) -> Option<&str>);
    assert_eq!(
        why(open(by()).oneshot((None, 1)).await),
        Some(RejectionKind::CircuitOpen)
    );
    assert!(open(by().or_skip()).oneshot((None, 1)).await.is_ok());
    assert_eq!(
        why(open(by().or_reject()).oneshot((None, 1)).await),
        Some(RejectionKind::NoKey)
    );
    let bulkheads = Keyed::new(10, |_: &str| Ok(Bulkhead::new(0))).unwrap();
    let full = |source| BulkheadLayer::new(source).layer(service_fn(answer));
    let by = || bulkheads.by(host as fn(&Request) -> Option<&str>);
    assert!(matches!(
        why(full(by()).oneshot((None, 1)).await),
        Some(RejectionKind::BulkheadFull { .. })
    ));
    assert!(full(by().or_skip()).oneshot((None, 1)).await.is_ok());
}

// KY1, KY5: a key that is computed from the request.
#[tokio::test]
async fn ky1_ky5_a_key_may_be_computed_from_the_request() {
    let parity = Keyed::<bool, _>::limit(10, Quota::per_second(1)).unwrap();
    let layer = RateLimitLayer::new(parity.by_value(|request: &Request| Some(request.1 % 2 == 0)));
    let service = layer.layer(service_fn(answer));
    assert!(service.clone().oneshot((None, 2)).await.is_ok());
    assert!(service.clone().oneshot((None, 4)).await.is_err());
    assert!(service.clone().oneshot((None, 3)).await.is_ok());
}

// CX5, KY1: a layer that needs the request only forwards readiness.
#[test]
fn cx5_a_layer_per_key_is_ready_when_the_inner_service_is() {
    let per_host = Keyed::limit(10, Quota::per_second(0)).unwrap();
    let mut service = RateLimitLayer::new(per_host.by(host)).layer(Stuck);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Service::<Request>::poll_ready(&mut service, &mut cx).is_pending());
    let bulkheads = Keyed::new(10, |_: &str| Ok(Bulkhead::new(0))).unwrap();
    let mut service = BulkheadLayer::queued(bulkheads.by(host)).layer(Stuck);
    assert!(Service::<Request>::poll_ready(&mut service, &mut cx).is_pending());
}

#[derive(Clone)]
struct Stuck;

impl Service<Request> for Stuck {
    type Response = u32;
    type Error = BoxError;
    type Future = std::future::Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request) -> Self::Future {
        unreachable!("it is never ready")
    }
}

// KY1, RT4: the layer of the budget, above a retry and a hedge.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn ky1_the_budgets_layer_takes_a_budget_per_key() {
    use seawall::{Backoff, BudgetLayer, Jitter, Retry, RetryLayer};
    use tower::ServiceBuilder;

    // A burst of one, so that the end of an epoch cuts nothing.
    let make = |_: &str| {
        let budget = Budget::builder().ratio(0.5).burst(1);
        budget.refill(seawall::budget::Refill::Calls).build()
    };
    let per_host = Keyed::new(100, make).unwrap();
    let made = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&made);
    let own = Budget::builder().burst(1_000).build().unwrap();
    let backoff = Backoff::constant(ms(10)).jitter(Jitter::None);
    let service = |retry: Retry| {
        let log = Arc::clone(&log);
        ServiceBuilder::new()
            .layer(BudgetLayer::new(
                per_host.by(|request: &Sleep| Some(request.0)),
            ))
            .layer(RetryLayer::new(retry))
            .layer(HedgeLayer::new(Hedge::fixed(ms(1_000))))
            .service(service_fn(move |Sleep(host, delay): Sleep| {
                log.lock().unwrap().push(host);
                async move {
                    tokio::time::sleep(ms(delay)).await;
                    Err::<(), _>(BoxError::from("no"))
                }
            }))
    };
    let failing = service(Retry::new(backoff));
    for _ in 0..10 {
        failing.clone().oneshot(Sleep("a", 1)).await.unwrap_err();
    }
    failing.clone().oneshot(Sleep("b", 1)).await.unwrap_err();
    // One and half of its own calls for a; b has its own budget.
    let calls = |host| {
        made.lock()
            .unwrap()
            .iter()
            .filter(|made| **made == host)
            .count()
    };
    assert_eq!((calls("a"), calls("b")), (16, 2));
    assert_eq!(per_host.get("a").snapshot().made, 6);
    // Hedges use the same budget: after one more call a has half an attempt, after two a whole one.
    failing
        .clone()
        .oneshot(Sleep("a", 2_000))
        .await
        .unwrap_err();
    assert_eq!(calls("a"), 17);
    failing
        .clone()
        .oneshot(Sleep("a", 2_000))
        .await
        .unwrap_err();
    assert_eq!(calls("a"), 19);
    // A budget that is off is not there: the retry's own one counts.
    let held = per_host.get("d");
    held.set_mode(seawall::Mode::Off);
    let off = service(Retry::new(backoff));
    for _ in 0..200 {
        off.clone().oneshot(Sleep("d", 1)).await.unwrap_err();
    }
    let made = calls("d");
    assert!(made < 260, "{made} of 200 calls: no budget was used");
    // A retry with a budget of its own keeps it.
    let given = service(
        Retry::builder()
            .backoff(backoff)
            .budget(&own)
            .build()
            .unwrap(),
    );
    given.oneshot(Sleep("c", 1)).await.unwrap_err();
    // Three attempts, and the hedge of the first, which starts when that fails.
    assert_eq!(calls("c"), 4);
    assert_eq!(per_host.get("c").snapshot().made, 0);
}

// KY3: budgets and hedges in debt stay until it is paid.
#[tokio::test(start_paused = true)]
#[cfg(feature = "test-util")]
async fn ky3_a_budget_in_debt_stays_until_its_floor_has_paid_it() {
    use crate::support::secs;

    let make = |_: &str| Budget::builder().burst(5).floor(1).build();
    let budgets = Keyed::new(1, make).unwrap();
    for _ in 0..5 {
        budgets.get("a").withdraw().unwrap().spend();
    }
    assert!(budgets.find("a").is_some());
    budgets.get("b").on_call();
    assert_eq!(budgets.overflowed(), 1);
    tokio::time::advance(secs(4)).await;
    budgets.get("b").on_call();
    assert_eq!(budgets.overflowed(), 2, "the floor has not paid it yet");
    tokio::time::advance(secs(10)).await;
    budgets.get("b").on_call();
    assert_eq!(budgets.overflowed(), 2);
    assert!(budgets.find("a").is_none());
}

// KY3: a bulkhead whose call has been answered is idle, though the call's future still exists.
#[tokio::test]
async fn ky3_an_answered_call_holds_no_entry_of_its_key() {
    let bulkheads = Keyed::new(1, |_: &str| Ok(Bulkhead::new(1))).unwrap();
    let mut service = BulkheadLayer::new(bulkheads.by(host)).layer(service_fn(answer));
    let mut answered = Box::pin(service.ready().await.unwrap().call((Some("a"), 1)));
    assert_eq!((&mut answered).await.unwrap(), 1);
    assert_eq!(service.call((Some("b"), 2)).await.unwrap(), 2);
    assert_eq!(bulkheads.overflowed(), 0);
    drop(answered);
}
