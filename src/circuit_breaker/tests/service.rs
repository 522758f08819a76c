//! The service and its readiness.

use std::future::{Future, Ready, poll_fn, ready};
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake, Waker};

use tower_layer::Layer;
use tower_service::Service;

use super::*;
use crate::rejection::Reason;
use crate::{Backoff, Jitter};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn touchy() -> CircuitBreaker {
    CircuitBreaker::builder("touchy")
        .trip_on(Trip::consecutive_failures(1))
        .open_for(Backoff::constant(SECOND).jitter(Jitter::None))
        .probes(1)
        .build()
        .unwrap()
}

fn opened() -> CircuitBreaker {
    let breaker = touchy();
    breaker.try_acquire().unwrap().failure();
    breaker
}

/// Returns its request, and counts how often it is polled and called.
#[derive(Clone, Debug, Default)]
struct Inner {
    polls: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    stuck: Arc<AtomicUsize>,
}

impl Inner {
    fn seen(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (load(&self.polls), load(&self.calls))
    }
}

impl Service<Result<u32, &'static str>> for Inner {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        match self.stuck.load(Ordering::SeqCst) {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, answer: Result<u32, &'static str>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(answer.map_err(Into::into))
    }
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

type Gated = GatedService<Inner>;

fn gated(breaker: &CircuitBreaker) -> Gated {
    CircuitBreakerLayer::gated(breaker).layer(Inner::default())
}

fn is_ready(service: &mut Gated, waker: &Waker) -> bool {
    let mut cx = Context::from_waker(waker);
    Service::<Result<u32, &'static str>>::poll_ready(service, &mut cx).is_ready()
}

fn waiting(breaker: &CircuitBreaker) -> usize {
    breaker.0.gate.waiting()
}

fn kind_of(error: &BoxError) -> Option<RejectionKind> {
    Reason::of(&**error).map(Reason::kind)
}

#[tokio::test(start_paused = true)]
async fn cb12_a_gate_is_pending_while_open_and_wakes_once_when_a_probe_is_due() {
    let breaker = opened();
    let mut service = gated(&breaker);
    let (wakes, waker) = Wakes::new();
    assert!(!is_ready(&mut service, &waker));
    advance(SECOND / 2).await;
    assert!(!is_ready(&mut service, &waker));
    // CX9
    assert_eq!((wakes.take(), waiting(&breaker)), (0, 1));
    assert_eq!(service.service.inner.seen(), (0, 0));
    advance(SECOND / 2).await;
    tokio::task::yield_now().await;
    assert_eq!(wakes.take(), 1);
    assert!(is_ready(&mut service, &waker));
    assert_eq!(
        (service.service.inner.seen(), waiting(&breaker)),
        ((1, 0), 0)
    );
    assert_eq!(service.call(Ok(7)).await.unwrap(), 7);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb12_a_gate_wakes_when_the_handle_changes_the_state() {
    let closed: [fn(&CircuitBreaker); 4] = [
        CircuitBreaker::reset,
        |breaker| breaker.set_mode(Mode::Off),
        |breaker| breaker.set_mode(Mode::RecordOnly),
        |breaker| {
            breaker.force_open();
            breaker.release();
        },
    ];
    for close in closed {
        let breaker = opened();
        let mut service = gated(&breaker);
        let (wakes, waker) = Wakes::new();
        assert!(!is_ready(&mut service, &waker));
        close(&breaker);
        assert_eq!(wakes.take(), 1);
        assert!(is_ready(&mut service, &waker));
        assert_eq!(waiting(&breaker), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn cb12_a_gate_forced_open_has_no_timer_and_wakes_on_release() {
    let breaker = touchy();
    breaker.force_open();
    let mut service = gated(&breaker);
    let (wakes, waker) = Wakes::new();
    assert!(!is_ready(&mut service, &waker));
    advance(SECOND * 1_000_000).await;
    assert_eq!(wakes.take(), 0);
    breaker.release();
    assert_eq!(wakes.take(), 1);
    assert!(is_ready(&mut service, &waker));
}

#[tokio::test(start_paused = true)]
async fn cb12_a_gate_wakes_when_a_probe_permit_is_free_and_when_the_probe_is_given_up() {
    let ends: [(fn(Permit), bool); 4] = [
        (Permit::ignore, true),
        (drop, true),
        (Permit::success, true),
        (Permit::failure, false),
    ];
    for (end, opens) in ends {
        let breaker = opened();
        advance(SECOND).await;
        let probe = breaker.try_acquire_owned().unwrap();
        let mut service = gated(&breaker);
        let (wakes, waker) = Wakes::new();
        assert!(!is_ready(&mut service, &waker));
        end(probe);
        assert_eq!(wakes.take(), 1);
        assert_eq!(is_ready(&mut service, &waker), opens);
    }
    let breaker = opened();
    breaker
        .change(|rules| rules.max_probe_time(SECOND * 10))
        .unwrap();
    advance(SECOND).await;
    let _hung = breaker.try_acquire_owned().unwrap();
    let mut service = gated(&breaker);
    let (wakes, waker) = Wakes::new();
    assert!(!is_ready(&mut service, &waker));
    advance(SECOND * 10).await;
    tokio::task::yield_now().await;
    assert_eq!(wakes.take(), 1);
    // The gate gives the probe up, so it is never ready for a call that is then rejected.
    assert!(!is_ready(&mut service, &waker));
    assert_eq!(breaker.snapshot().next_probe, Some(SECOND));
    advance(SECOND).await;
    assert!(is_ready(&mut service, &waker));
    assert_eq!(service.call(Ok(7)).await.unwrap(), 7);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn cb12_a_waiting_gate_that_is_dropped_removes_its_waker() {
    let breaker = opened();
    let (wakes, waker) = Wakes::new();
    let mut services: Vec<_> = (0..10).map(|_| gated(&breaker)).collect();
    for service in &mut services {
        // Twice: one waits at most once.
        assert!(!is_ready(service, &waker));
        assert!(!is_ready(service, &waker));
    }
    assert_eq!(waiting(&breaker), 10);
    // A clone waits for itself, once polled.
    let mut clone = services[0].clone();
    assert_eq!(waiting(&breaker), 10);
    assert!(!is_ready(&mut clone, &waker));
    drop(clone);
    services.truncate(3);
    assert_eq!(waiting(&breaker), 3);
    drop(services);
    assert_eq!((waiting(&breaker), wakes.take()), (0, 0));
    // The test's own two.
    assert_eq!(Arc::strong_count(&wakes), 2);
}

#[tokio::test(start_paused = true)]
async fn cb12_a_waiter_that_changes_its_task_is_woken_by_its_latest_waker() {
    let breaker = opened();
    let mut service = gated(&breaker);
    let (old, old_waker) = Wakes::new();
    let (new, new_waker) = Wakes::new();
    assert!(!is_ready(&mut service, &old_waker));
    assert!(!is_ready(&mut service, &new_waker));
    breaker.reset();
    assert_eq!((old.take(), new.take()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn cb12_no_gate_waits_for_ever_when_it_is_released_meanwhile() {
    for _ in 0..500 {
        let breaker = touchy();
        breaker.force_open();
        let mut service = gated(&breaker);
        let (wakes, waker) = Wakes::new();
        let ready = std::thread::scope(|scope| {
            scope.spawn(|| breaker.release());
            is_ready(&mut service, &waker)
        });
        assert!(ready || wakes.take() == 1);
    }
}

fn service(breaker: &CircuitBreaker) -> CircuitBreakerService<Inner> {
    CircuitBreakerLayer::new(breaker).layer(Inner::default())
}

async fn call(
    service: &mut CircuitBreakerService<Inner>,
    answer: Result<u32, &'static str>,
) -> Result<u32, BoxError> {
    poll_fn(|cx| Service::<Result<u32, &'static str>>::poll_ready(service, cx)).await?;
    service.call(answer).await
}

#[tokio::test(start_paused = true)]
async fn cb9_an_open_breaker_does_not_call_the_inner_service() {
    // CB9, CX5, CX6
    let breaker = touchy();
    let mut service = service(&breaker);
    let inner = service.inner.clone();
    assert_eq!(call(&mut service, Ok(1)).await.unwrap(), 1);
    assert!(call(&mut service, Err("broken")).await.is_err());
    // CB11
    let tripped = breaker.snapshot().last_trip.unwrap().tripped;
    assert_eq!(tripped.error.as_deref(), Some("broken"));
    let error = call(&mut service, Ok(1)).await.unwrap_err();
    let reason = Reason::of(&*error).unwrap();
    assert_eq!(
        (reason.kind(), reason.retry_after()),
        (RejectionKind::CircuitOpen, Some(SECOND))
    );
    assert_eq!(inner.seen().1, 2);
    // Rejected while the inner service is stuck; the same service works after that.
    inner.stuck.store(1, Ordering::SeqCst);
    let error = call(&mut service, Ok(1)).await.unwrap_err();
    assert_eq!(kind_of(&error), Some(RejectionKind::CircuitOpen));
    inner.stuck.store(0, Ordering::SeqCst);
    advance(SECOND).await;
    assert_eq!(call(&mut service, Ok(3)).await.unwrap(), 3);
    assert_eq!((breaker.state(), inner.seen().1), (State::Closed, 3));
}

#[derive(Clone)]
struct Panics {
    in_poll: bool,
}

impl Service<()> for Panics {
    type Response = ();
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(self.in_poll, "in the call");
        Box::pin(async { panic!("in the poll") })
    }
}

#[tokio::test(start_paused = true)]
async fn cx8_a_panic_of_the_inner_service_is_a_failure() {
    for in_poll in [false, true] {
        let breaker = touchy();
        let mut service = CircuitBreakerLayer::new(&breaker).layer(Panics { in_poll });
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut call = Box::pin(service.call(()));
            let mut cx = Context::from_waker(Waker::noop());
            let _ = call.as_mut().poll(&mut cx);
        }));
        assert!(panicked.is_err());
        let last_trip = breaker.snapshot().last_trip.unwrap();
        assert_eq!(last_trip.tripped.kind, crate::classify::FailureKind::Panic);
    }
}

#[derive(Clone)]
struct Hangs;

impl Service<()> for Hangs {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Pending<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        pending()
    }
}

#[tokio::test(start_paused = true)]
async fn cb8_outer_timeouts_over_the_layer_trip_it_and_drops_do_not() {
    let breaker = touchy();
    let mut service = CircuitBreakerLayer::new(&breaker).layer(Hangs);
    for _ in 0..10 {
        drop(service.call(()));
    }
    assert_eq!(breaker.state(), State::Closed);
    let mut service = crate::TimeoutLayer::new(SECOND).layer(service);
    let error = service.call(()).await.unwrap_err();
    assert!(matches!(
        kind_of(&error),
        Some(RejectionKind::TimedOut { .. })
    ));
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb7_a_dropped_response_future_frees_its_probe() {
    // CX7
    let breaker = opened();
    advance(SECOND).await;
    let mut service = CircuitBreakerLayer::new(&breaker).layer(Hangs);
    for _ in 0..10 {
        let probe = service.call(());
        let rejection = service.call(()).await.unwrap_err();
        assert_eq!(kind_of(&rejection), Some(RejectionKind::HalfOpenFull));
        drop(probe);
    }
    assert_eq!(breaker.snapshot().probes.unwrap().in_flight, 0);
}
