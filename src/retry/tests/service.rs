use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::run::{events, polled};
use crate::backoff::{Backoff, Jitter};
use crate::budget::Budget;
use crate::classify::{ErrorsOnly, FailureKind, Outcome};
use crate::config::Mode;
use crate::deadline::Deadline;
use crate::event::EventKind;
use crate::rate_limit::{Quota, RateLimitLayer, RateLimiter};
use crate::rejection::{Error, Rejection, RejectionKind};
use crate::retry::{Builder, Retry, RetryLayer};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::testing::{Text, ms};
use crate::time::now;
use crate::timeout::{Timeout, TimeoutLayer};

/// 100 ms before each attempt.
pub(super) fn builder() -> Builder {
    let backoff = Backoff::constant(ms(100)).jitter(Jitter::None);
    Retry::builder().backoff(backoff).no_budget()
}

pub(super) fn retry() -> Retry {
    builder().build().unwrap()
}

pub(super) type Answer = Result<u32, Error<Text>>;
type Boxed = Pin<Box<dyn Future<Output = Answer> + Send>>;

pub(super) const BUSY: Answer = Err(Error::Service(Text("busy")));

/// What a [`Strict`] has seen.
#[derive(Default)]
struct Seen {
    /// When it was polled ready and called, in ms from the start, and as which attempt.
    log: Vec<(&'static str, u64, u32)>,
}

/// A service that panics when called without fresh readiness, and resets on clone.
struct Strict {
    ready: bool,
    seen: Arc<Mutex<Seen>>,
    start: crate::time::Tick,
    /// Answers the n-th call, from 1.
    answer: Arc<dyn Fn(u32) -> Answer + Send + Sync>,
    /// The n-th readiness, from 1.
    readiness: Arc<dyn Fn(u32) -> Poll<Result<(), &'static str>> + Send + Sync>,
    takes: Duration,
}

impl Strict {
    fn new(answer: impl Fn(u32) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            ready: false,
            seen: Arc::default(),
            start: now(),
            answer: Arc::new(answer),
            readiness: Arc::new(|_| Poll::Ready(Ok(()))),
            takes: Duration::ZERO,
        }
    }

    fn count(&self, what: &str) -> u32 {
        let seen = self.seen.lock();
        seen.log.iter().filter(|(kind, ..)| *kind == what).count() as u32
    }

    fn note(&self, what: &'static str) -> u32 {
        let at = now().since(self.start).as_millis() as u64;
        let attempt = crate::attempt().unwrap_or(0);
        self.seen.lock().log.push((what, at, attempt));
        self.count(what)
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            seen: Arc::clone(&self.seen),
            start: self.start,
            answer: Arc::clone(&self.answer),
            readiness: Arc::clone(&self.readiness),
            takes: self.takes,
        }
    }
}

impl Service<u32> for Strict {
    type Response = u32;
    type Error = Error<Text>;
    type Future = Boxed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let nth = self.note("ready");
        match (self.readiness)(nth) {
            Poll::Ready(Ok(())) => self.ready = true,
            other => return other.map_err(|text| Error::Service(Text(text))),
        }
        Poll::Ready(Ok(()))
    }

    #[allow(clippy::disallowed_methods)] // A test's own service may box.
    fn call(&mut self, _: u32) -> Boxed {
        assert!(std::mem::take(&mut self.ready), "called without readiness");
        let answer = (self.answer)(self.note("call"));
        let takes = self.takes;
        Box::pin(async move {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            answer
        })
    }
}

async fn ready<S: Service<Req>, Req>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

pub(super) async fn once<S: Service<Req>, Req>(
    service: &mut S,
    request: Req,
) -> Result<S::Response, S::Error> {
    ready(service).await?;
    service.call(request).await
}

fn failing(times: u32) -> impl Fn(u32) -> Answer + Send + Sync {
    move |nth| if nth <= times { BUSY } else { Ok(nth) }
}

#[tokio::test(start_paused = true)]
async fn rt1_cx3_every_attempt_is_readied_right_before_its_call_and_holds_nothing_before() {
    let strict = Strict::new(failing(2));
    let mut service = RetryLayer::new(retry()).layer(strict.clone());
    // This one, the inner one and the template.
    assert_eq!(Arc::strong_count(&strict.seen), 3);
    ready(&mut service).await.unwrap();
    let call = service.call(7);
    assert_eq!(strict.count("call"), 1, "eagerly");
    let mut call = pin!(call);
    for _ in 0..2 {
        let polled = tokio::time::timeout(ms(99), call.as_mut()).await;
        assert!(polled.is_err());
        assert_eq!(
            Arc::strong_count(&strict.seen),
            3,
            "held during the backoff"
        );
        tokio::time::advance(ms(1)).await;
    }
    assert_eq!(call.await, Ok(3));
    let seen = strict.seen.lock();
    let expected = [
        ("ready", 0, 0),
        ("call", 0, 1),
        ("ready", 100, 2),
        ("call", 100, 2),
        ("ready", 200, 3),
        ("call", 200, 3),
    ];
    assert_eq!(seen.log, expected);
}

#[tokio::test(start_paused = true)]
async fn cx1_cx3_clones_and_services_of_one_layer_never_call_without_readiness() {
    let strict = Strict::new(|nth| if nth % 3 == 0 { Ok(nth) } else { BUSY });
    let retry = retry();
    let layer = RetryLayer::new(&retry);
    let mut services = [layer.layer(strict.clone()), layer.layer(strict.clone())];
    for i in 0..4 {
        let mut clone = services[i % 2].clone();
        assert!(once(&mut services[i % 2], 1).await.is_ok());
        assert!(once(&mut clone, 1).await.is_ok());
    }
    assert_eq!(retry.snapshot().retried, 16);
}

/// A request that counts its copies.
#[derive(Debug)]
struct Counted(Arc<AtomicU64>);

impl crate::attempts::Idempotent for Counted {
    fn is_idempotent(&self) -> bool {
        true
    }
}

fn copy(request: &Counted) -> Option<Counted> {
    request.0.fetch_add(1, Ordering::Relaxed);
    Some(Counted(Arc::clone(&request.0)))
}

/// Fails its first `fails` calls.
#[derive(Clone, Debug)]
pub(super) struct Flaky {
    fails: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
}

impl Flaky {
    pub(super) fn failing(fails: u64) -> Self {
        Self {
            fails: Arc::new(AtomicU64::new(fails)),
            calls: Arc::default(),
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<Req> Service<Req> for Flaky {
    type Response = u32;
    type Error = Error<Text>;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        let nth = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = nth <= self.fails.load(Ordering::Relaxed);
        std::future::ready(if fails { BUSY } else { Ok(nth as u32) })
    }
}

// None for the last attempt, and none where the call is not retried.
#[tokio::test(start_paused = true)]
async fn rt6_a_request_is_copied_at_most_as_often_as_sent() {
    for (fails, sent, copies) in [(0, 1, 1), (1, 2, 2), (2, 3, 2), (9, 3, 2)] {
        let flaky = Flaky::failing(fails);
        let copied = Arc::new(AtomicU64::new(0));
        let mut service = RetryLayer::new(retry()).resend(copy).layer(flaky.clone());
        let _ = once(&mut service, Counted(Arc::clone(&copied))).await;
        let counted = copied.load(Ordering::Relaxed);
        assert_eq!((flaky.calls(), counted), (sent, copies), "{fails} failures");
    }
    let copied = Arc::new(AtomicU64::new(0));
    for retry in [builder().max_attempts(1).build().unwrap(), off(retry())] {
        let mut service = RetryLayer::new(retry).resend(copy).layer(Flaky::failing(9));
        let _ = once(&mut service, Counted(Arc::clone(&copied))).await;
    }
    assert_eq!(copied.load(Ordering::Relaxed), 0);
    // RT7: also if it may not be sent twice, because it may be sent again if nothing of it
    // reached the service.
    let mut service = RetryLayer::new(retry())
        .only(|_: &Counted| false)
        .resend(copy)
        .layer(Flaky::failing(9));
    let _ = once(&mut service, Counted(Arc::clone(&copied))).await;
    assert_eq!(copied.load(Ordering::Relaxed), 1);
}

fn off(retry: Retry) -> Retry {
    retry.set_mode(Mode::Off);
    retry
}

#[tokio::test(start_paused = true)]
async fn rt6_a_request_without_a_copy_is_sent_once() {
    let flaky = Flaky::failing(9);
    let mut service = RetryLayer::new(retry())
        .resend(|_: &Counted| None)
        .layer(flaky.clone());
    assert_eq!(once(&mut service, Counted(Arc::default())).await, BUSY);
    assert_eq!(flaky.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn rt7_a_timed_out_attempt_is_retried_and_a_rejected_one_is_not() {
    let mut strict = Strict::new(|_| Ok(1));
    strict.takes = ms(50);
    let stack = RetryLayer::new(retry()).layer(TimeoutLayer::new(ms(10)).layer(strict.clone()));
    let error = once(&mut stack.clone(), 1).await.unwrap_err();
    let kind = error.rejection().unwrap().kind();
    assert!(matches!(kind, RejectionKind::TimedOut { .. }), "{kind:?}");
    assert_eq!(strict.count("call"), 3);

    let limiter = RateLimiter::builder(Quota::per_day(1)).build().unwrap();
    assert!(limiter.allow());
    let strict = Strict::new(failing(9));
    let mut stack =
        RetryLayer::new(retry()).layer(RateLimitLayer::new(&limiter).layer(strict.clone()));
    let error = once(&mut stack, 1).await.unwrap_err();
    assert_eq!(
        error.rejection().unwrap().kind(),
        RejectionKind::RateLimited
    );
    assert_eq!(strict.count("call"), 0);
}

#[tokio::test(start_paused = true)]
async fn rt8_a_readiness_error_does_not_hide_the_failure() {
    let mut strict = Strict::new(failing(1));
    strict.readiness = Arc::new(|nth| match nth {
        2 => Poll::Ready(Err("closed")),
        _ => Poll::Ready(Ok(())),
    });
    let retry = retry();
    let attempts = Arc::new(AtomicU64::new(0));
    let last = Arc::clone(&attempts);
    let listener = move |event: &crate::Event<'_>| {
        if let EventKind::Ended { .. } = event.kind {
            last.store(u64::from(event.attempts.unwrap()), Ordering::Relaxed);
        }
    };
    retry.on_event(listener).forever();
    let mut service = RetryLayer::new(&retry).layer(strict.clone());
    assert_eq!(
        once(&mut service, 1).await,
        Ok(2),
        "retried like any failure"
    );
    assert_eq!(
        attempts.load(Ordering::Relaxed),
        2,
        "the attempts that were made"
    );
    assert_eq!(strict.seen.lock().log.last(), Some(&("call", 200, 3)));

    strict.seen.lock().log.clear();
    strict.readiness = Arc::new(|nth| match nth {
        1 => Poll::Ready(Ok(())),
        _ => Poll::Ready(Err("closed")),
    });
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(5)
        .floor(0)
        .build()
        .unwrap();
    let backoff = Backoff::constant(ms(1)).jitter(Jitter::None);
    let retry = builder().backoff(backoff).budget(&budget);
    let retry = retry.build().unwrap();
    let mut service = RetryLayer::new(&retry).layer(strict.clone());
    assert_eq!(once(&mut service, 1).await, BUSY);
    assert_eq!((strict.count("ready"), strict.count("call")), (3, 1));
    // CX7: what was not used is given back.
    assert_eq!(budget.snapshot().balance, 5.0);
}

#[tokio::test(start_paused = true)]
async fn rt4_the_permit_of_an_attempt_that_was_not_made_serves_the_next_one() {
    let mut strict = Strict::new(failing(1));
    strict.readiness = Arc::new(|nth| match nth {
        2 => Poll::Ready(Err("closed")),
        _ => Poll::Ready(Ok(())),
    });
    let one = Budget::builder().ratio(0.0).burst(1).floor(0);
    let budget = one.build().unwrap();
    let backoff = Backoff::constant(ms(1)).jitter(Jitter::None);
    let retry = builder().backoff(backoff).budget(&budget);
    let retry = retry.build().unwrap();
    let mut service = RetryLayer::new(&retry).layer(strict.clone());
    assert_eq!(once(&mut service, 1).await, Ok(2));
    let snapshot = budget.snapshot();
    assert_eq!((snapshot.made, snapshot.suppressed), (1, 0));
    assert_eq!(snapshot.balance, 0.0);
}

/// A failed response that holds a connection.
struct Held(#[allow(dead_code)] Arc<()>);

crate::judge!(Held, |_| Outcome::Failure {
    kind: FailureKind::Response,
    retry_after: None
});

/// Answers its first call with a failed response, the others by `then`.
#[derive(Clone)]
struct Pooled {
    held: Arc<()>,
    then: fn() -> Result<(), Rejection>,
}

impl Service<()> for Pooled {
    type Response = Held;
    type Error = Rejection;
    type Future = std::future::Ready<Result<Held, Rejection>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let outcome = match crate::attempt() {
            Some(1) => Ok(()),
            _ => (self.then)(),
        };
        std::future::ready(outcome.map(|()| Held(Arc::clone(&self.held))))
    }
}

// So that the next attempt can have its connection. The last response is returned.
#[tokio::test(start_paused = true)]
async fn rt9_the_failed_response_is_dropped_before_the_backoff() {
    let service = |then| Pooled {
        held: Arc::new(()),
        then,
    };
    let pooled = service(|| Ok(()));
    let (held, mut service_) = (
        Arc::clone(&pooled.held),
        RetryLayer::new(retry()).layer(pooled),
    );
    let base = Arc::strong_count(&held);
    let mut call = pin!(service_.call(()));
    assert!(polled(call.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&held), base);
    assert!(call.await.is_ok());

    // If no other attempt follows, it is not dropped.
    let within = async {
        let mut service = RetryLayer::new(retry()).layer(service(|| Ok(())));
        once(&mut service, ()).await.is_ok()
    };
    assert!(Deadline::after(ms(100)).scope(within).await);

    // RT11: the response has been dropped, so the rejection is returned.
    let reject = || Err(Rejection::new(RejectionKind::RateLimited, "below"));
    let mut service = RetryLayer::new(retry()).layer(service(reject));
    let rejected = once(&mut service, ()).await.err().unwrap();
    assert_eq!(rejected.kind(), RejectionKind::RateLimited);
}

// The second attempt's response has been dropped and the third is rejected: the answer is the error
// of the first, and so is the end of the call.
#[tokio::test(start_paused = true)]
async fn rt8_the_end_of_the_call_is_that_of_its_answer() {
    let attempts = tower::service_fn(|(): ()| {
        std::future::ready(match crate::attempt() {
            Some(1) => Err(Error::Service(Text("busy"))),
            Some(2) => Ok(Held(Arc::new(()))),
            _ => Err(Rejection::new(RejectionKind::RateLimited, "below").into()),
        })
    });
    let retry = retry();
    let log = events(&retry);
    let mut service = RetryLayer::new(&retry).layer(attempts);
    let answer = once(&mut service, ()).await.err();
    assert_eq!(answer, Some(Error::Service(Text("busy"))));
    let expected = ["2 in 100ms", "3 in 100ms", "Failure(Error) after 2"];
    assert_eq!(*log.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn rt10_a_retry_inside_an_extra_attempt_makes_one_attempt() {
    let strict = Strict::new(failing(99));
    let inner = RetryLayer::new(retry()).layer(strict.clone());
    let mut outer = RetryLayer::new(retry()).layer(inner);
    assert_eq!(once(&mut outer, 1).await, BUSY);
    assert_eq!(strict.count("call"), 3 + 1 + 1);
}

// There it copies nothing. Behind a buffer its call does not see the attempt, and its polls do.
#[tokio::test(start_paused = true)]
async fn rt10_rt6_the_call_and_the_polls_each_see_the_extra_attempt() {
    let extra = crate::context::Attempt::new(2, None);
    let flaky = Flaky::failing(9);
    let copied = Arc::new(AtomicU64::new(0));
    let mut service = RetryLayer::new(retry()).resend(copy).layer(flaky.clone());
    let call = {
        let _entered = extra.enter();
        service.call(Counted(Arc::clone(&copied)))
    };
    assert_eq!(call.await, BUSY);
    assert_eq!((flaky.calls(), copied.load(Ordering::Relaxed)), (1, 0));

    let mut call = pin!(service.call(Counted(copied)));
    let _entered = extra.enter();
    assert_eq!(polled(call.as_mut()), Poll::Ready(BUSY));
    assert_eq!(flaky.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn rt11_an_extra_attempt_waits_for_a_token_like_any_call() {
    let limiter = RateLimiter::per_second(2);
    let strict = Strict::new(failing(99));
    let waiting = RateLimitLayer::waiting(&limiter).layer(strict.clone());
    let budget = Budget::builder().ratio(0.0).burst(9).floor(0);
    let budget = budget.build().unwrap();
    let budgeted = builder().budget(&budget).build().unwrap();
    let mut service = RetryLayer::new(&budgeted).layer(waiting);
    let start = now();
    // Two tokens; the third attempt comes 200 ms later, and its own 300 ms after that.
    assert_eq!(once(&mut service, 1).await, BUSY);
    assert_eq!(strict.count("call"), 3);
    assert_eq!(now().since(start), ms(500));
    assert_eq!(budget.snapshot().made, 2);

    // The same with `acquire`, within `max_wait`: the second waits 0.9 s, the third 0.8 s.
    let limiter = RateLimiter::per_second(1);
    let direct = retry();
    let acquired = direct.run(|n| {
        let limiter = &limiter;
        async move {
            limiter.acquire().await?;
            Err::<(), _>(Error::Service(Text(if n == 1 { "busy" } else { "late" })))
        }
    });
    assert_eq!(
        acquired.await,
        Err(Error::Service(Error::Service(Text("late"))))
    );
}

#[tokio::test(start_paused = true)]
async fn to4_the_total_timeout_covers_every_attempt() {
    let total = Timeout::new(ms(250));
    let mut strict = Strict::new(failing(99));
    strict.takes = ms(30);
    let retry = builder().max_attempts(9).build().unwrap();
    let mut stack = TimeoutLayer::new(&total).layer(RetryLayer::new(&retry).layer(strict.clone()));
    let start = now();
    assert_eq!(once(&mut stack, 1).await, BUSY, "the last real failure");
    assert_eq!(now().since(start), ms(160));
    assert_eq!(strict.count("call"), 2);
    assert_eq!(total.snapshot().timed_out, 0);
}

struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn cx9_a_backoff_is_woken_by_its_timer_only() {
    let mut service = RetryLayer::new(retry()).layer(Flaky::failing(2));
    let count = std::sync::Arc::new(Count(AtomicU64::new(0)));
    let waker = Waker::from(std::sync::Arc::clone(&count));
    let mut call = pin!(service.call(1));
    for woken in 0..2 {
        assert!(
            call.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(count.0.load(Ordering::Relaxed), woken);
        tokio::time::sleep(ms(101)).await;
        assert_eq!(count.0.load(Ordering::Relaxed), woken + 1);
    }
    assert!(
        call.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    );
}

// An error that is not Clone, a request that is not Send, a response that is neither.
#[tokio::test(start_paused = true)]
async fn cx10_a_retry_adds_no_bounds() {
    fn is<T: Clone + Send + Sync + Unpin>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let layer = RetryLayer::new(retry());
    is(&layer);
    let mut service = layer.layer(Flaky::failing(1));
    is(&service);
    is_send(&service.call(1u32));

    struct Bare(#[allow(dead_code)] Rc<()>);
    #[derive(Clone)]
    struct Local;
    impl<'a> Service<&'a Cell<u32>> for Local {
        type Response = Bare;
        type Error = Box<dyn std::error::Error>;
        type Future = std::future::Ready<Result<Bare, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, tries: &'a Cell<u32>) -> Self::Future {
            tries.set(tries.get() + 1);
            std::future::ready(match tries.get() {
                1 => Err("busy".into()),
                _ => Ok(Bare(Rc::new(()))),
            })
        }
    }
    fn same<'a>(request: &&'a Cell<u32>) -> Option<&'a Cell<u32>> {
        Some(request)
    }
    let mut service = RetryLayer::new(retry())
        .classify(ErrorsOnly)
        .only(|_: &&Cell<u32>| true)
        .resend(same)
        .layer(Local);
    let tries = Cell::new(0);
    assert!(once(&mut service, &tries).await.is_ok());
    assert_eq!(tries.get(), 2);
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods)] // A test may have a task.
async fn cx12_boxed_errors_and_infallible_services() {
    struct Of<E>(fn(Option<u32>) -> Result<u32, E>);
    impl<E> Clone for Of<E> {
        fn clone(&self) -> Self {
            Self(self.0)
        }
    }
    impl<E> Service<String> for Of<E> {
        type Response = u32;
        type Error = E;
        type Future = std::future::Ready<Result<u32, E>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: String) -> Self::Future {
            std::future::ready((self.0)(crate::attempt()))
        }
    }
    type BoxError = Box<dyn std::error::Error + Send + Sync>;
    let boxed: Of<BoxError> = Of(|attempt| match attempt {
        Some(1) => Err("busy".into()),
        _ => Err(Rejection::new(RejectionKind::CircuitOpen, "below").into()),
    });
    let mut service = RetryLayer::new(retry()).layer(boxed);
    let joined = tokio::spawn(async move { once(&mut service, String::new()).await });
    assert_eq!(joined.await.unwrap().unwrap_err().to_string(), "busy");

    let never: Of<std::convert::Infallible> = Of(|attempt| Ok(attempt.unwrap()));
    let busy = |outcome: Result<&u32, &std::convert::Infallible>| match outcome {
        Ok(3) => Outcome::Success,
        _ => Outcome::Failure {
            kind: FailureKind::Response,
            retry_after: None,
        },
    };
    let mut service = RetryLayer::new(retry()).classify(busy).layer(never);
    assert_eq!(once(&mut service, String::new()).await, Ok(3));
}

#[test]
fn cx11_made_outside_of_a_runtime() {
    let service = RetryLayer::new(retry()).layer(Flaky::failing(0));
    assert!(format!("{service:?}").contains("RetryService"));
}

#[tokio::test(start_paused = true)]
async fn cx7_ten_thousand_drops_end_at_the_starting_balance() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(1_000)
        .floor(0)
        .build()
        .unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let start = Arc::new(());
    let mut running = Vec::new();
    for i in 0..10_000u64 {
        let mut strict = Strict::new(failing(99));
        strict.takes = ms(rng.u64(0..50));
        // Only the first is ready, so that no extra attempt is made.
        strict.readiness = Arc::new(move |nth| match (nth, i % 3) {
            (1, _) => Poll::Ready(Ok(())),
            (_, 0) => Poll::Ready(Err("closed")),
            _ => Poll::Pending,
        });
        let retry =
            Retry::builder().backoff(Backoff::constant(ms(100)).jitter(crate::Jitter::None));
        let retry = retry.budget(&budget).build().unwrap();
        let mut service = RetryLayer::new(retry).layer(strict);
        let held = Arc::clone(&start);
        let mut call: Pin<Box<dyn Future<Output = ()>>> = pinned(async move {
            let _ = once(&mut service, 1).await;
            drop(held);
        });
        if polled(call.as_mut()).is_pending() {
            running.push(call);
        }
        if rng.u8(..) < 16 {
            tokio::time::advance(ms(rng.u64(0..80))).await;
            running.retain_mut(|call| polled(call.as_mut()).is_pending());
        }
        while running.len() > rng.usize(0..200) {
            drop(running.swap_remove(rng.usize(..running.len())));
        }
    }
    assert!(budget.snapshot().balance < 1_000.0, "some are taken");
    running.clear();
    assert_eq!(budget.snapshot().balance, 1_000.0);
    assert_eq!(budget.snapshot().made, 0);
    assert_eq!(Arc::strong_count(&start), 1);
}

#[allow(clippy::disallowed_methods)] // A test may box.
fn pinned<F: Future<Output = ()> + 'static>(future: F) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(future)
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods)] // A test may have a task.
async fn cx8_cx14_a_panic_ends_in_one_event_and_gives_everything_back() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(5)
        .floor(0)
        .build()
        .unwrap();
    let retry = Retry::builder().backoff(Backoff::constant(ms(1)));
    let retry = retry.budget(&budget).build().unwrap();
    let endings = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&endings);
    let listener = move |event: &crate::Event<'_>| {
        if let EventKind::Ended { ending, .. } = event.kind {
            log.lock().push((ending, event.attempts.unwrap()));
        }
    };
    retry.on_event(listener).forever();
    for at in [1, 2] {
        let strict = Strict::new(move |nth| {
            if nth < at {
                BUSY
            } else {
                panic!("in the call")
            }
        });
        let mut service = RetryLayer::new(&retry).layer(strict);
        let joined = tokio::spawn(async move { once(&mut service, 1).await }).await;
        assert!(joined.unwrap_err().is_panic());
        assert_eq!(crate::attempt(), None);
    }
    let panicked = crate::event::Ending::Panicked;
    assert_eq!(*endings.lock(), [(panicked, 1), (panicked, 2)]);
    assert_eq!(budget.snapshot().balance, 4.0, "one was made");
}

#[test]
fn ob1_cx8_a_copier_that_panics_leaves_no_call_without_an_end() {
    let retry = retry();
    let copy = |_: &u32| -> Option<u32> { panic!("in the copier") };
    let layer = RetryLayer::new(&retry).resend(copy);
    let mut service = layer.layer(Strict::new(failing(0)));
    let call = std::panic::AssertUnwindSafe(|| drop(service.call(1)));
    assert!(std::panic::catch_unwind(call).is_err());
    let totals = retry.snapshot().totals;
    assert_eq!((totals.calls(), totals.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn cx6_poll_ready_only_forwards() {
    let mut strict = Strict::new(failing(0));
    strict.readiness = Arc::new(|nth| match nth {
        1 => Poll::Pending,
        2 => Poll::Ready(Err("closed")),
        _ => Poll::Ready(Ok(())),
    });
    let mut service = RetryLayer::new(retry()).layer(strict);
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(service.poll_ready(cx).is_pending());
    assert_eq!(
        service.poll_ready(cx),
        Poll::Ready(Err(Error::Service(Text("closed"))))
    );
    assert_eq!(once(&mut service, 1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn cx19_a_service_sees_a_change_with_its_next_call() {
    let retry = retry();
    let made = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&made);
    let inner = Strict::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        BUSY
    });
    let mut service = RetryLayer::new(&retry).layer(inner);
    let mut clone = service.clone();
    for most in [3, 2, 4, 4] {
        retry.change(|now| now.max_attempts(most)).unwrap();
        for service in [&mut service, &mut clone] {
            made.store(0, Ordering::Relaxed);
            assert_eq!(once(service, 7).await, BUSY);
            assert_eq!(made.load(Ordering::Relaxed), u64::from(most));
        }
    }
    made.store(0, Ordering::Relaxed);
    ready(&mut service).await.unwrap();
    let running = service.call(7);
    retry.change(|now| now.max_attempts(1)).unwrap();
    assert_eq!(running.await, BUSY);
    assert_eq!(made.load(Ordering::Relaxed), 4);
}
