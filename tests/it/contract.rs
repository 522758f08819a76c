//! What every layer promises, written once. A new layer joins with a `Subject` and one line at
//! `contract!`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use seawall::circuit_breaker::CircuitBreakerService;
use seawall::event::Subscription;
use seawall::rate_limit::{One, RateLimitService, WaitingService, Waits};
use seawall::service::Native;
use seawall::timeout::{PerRequest, TimeoutService};
use seawall::{
    Bulkhead, CircuitBreaker, CircuitBreakerLayer, ConfigError, Deadline, Event, Mode, Quota,
    RateLimitLayer, RateLimiter, Timeout, TimeoutLayer,
};
use tower::buffer::Buffer;
use tower::layer::Layer;
use tower::{BoxError, Service, ServiceExt};

use crate::bulkhead::Queued;
use crate::hedge::Hedged;
use crate::retry::Retried;
use crate::support::{
    Do, Mock, Random, Recorder, Strict, Task, catching, locked, poll_ready, reason, secs,
};

/// What the layers are put on, and what they make of it.
pub(crate) trait Inner:
    Service<Do, Response = u32, Error = BoxError, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<S> Inner for S where
    S: Service<Do, Response = u32, Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// A policy with its layer, in the terms of this suite.
///
/// To be refused, a call is made between `shut` and `reopen`, `within`; behind a `Buffer`, which
/// `within` does not reach, with `Do::Late`.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    /// Whether `scarce` leaves a place that a call in flight takes.
    const SCARCE: bool;
    /// Whether it refuses anything: one that only makes calls again has no refusals, but tells
    /// and counts what it does in `Repeats`.
    const REFUSES: bool = true;
    /// How often a call is made that fails each time.
    const ATTEMPTS: usize = 1;
    /// Whether it knows without a request that it refuses.
    const REFUSES_UNASKED: bool;
    /// Whether the place of a call that is dropped is free again; a token is spent.
    const COMES_BACK: bool;
    /// What it tells of a call that came back, failed, was dropped, and panicked.
    const ENDINGS: [&'static str; 4];

    type Layer: Layer<Strict<Mock>, Service = Self::Service>;
    type Service: Inner;

    fn named(name: &str) -> Self;
    fn layer(&self) -> Self::Layer;
    fn name(&self) -> String;
    fn set_mode(&self, mode: Mode);
    fn would_reject(&self) -> u64;
    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription;
    /// Changes it in a way that must be refused.
    fn change_badly(&self) -> ConfigError;
    /// All that can be set, as text.
    fn settings(&self) -> String;

    /// Refuses from now on.
    fn shut(&self);
    fn reopen(&self);
    /// Runs what is to be refused.
    fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }
    /// Leaves exactly one place.
    fn scarce(&self);
    /// All that can be taken and given back, as text; `made` calls have been made since it was
    /// full.
    fn balance(&self, made: usize) -> String;

    /// The inner service is always a strict one (CX3).
    fn over(&self, mock: Mock) -> Self::Service {
        self.layer().layer(Strict::new(mock))
    }

    /// Makes a call that is refused.
    fn refused(&self, service: &mut impl Inner, what: Do) -> BoxError {
        self.shut();
        let outcome = self.within(|| {
            assert!(matches!(poll_ready(service), Poll::Ready(Ok(()))));
            let call = service.call(what);
            let mut task = Task::new(call);
            let outcome = task.run();
            assert_eq!((task.polls(), task.wakes()), (1, 0));
            outcome
        });
        self.reopen();
        match outcome {
            Poll::Ready(Err(error)) => error,
            other => panic!("{other:?} in place of a refusal"),
        }
    }
}

impl Subject for Timeout {
    const SCARCE: bool = false;
    const COMES_BACK: bool = true;
    const REFUSES_UNASKED: bool = true;
    const ENDINGS: [&'static str; 4] = ["Completed", "Completed", "Dropped", "Panicked"];

    type Layer = TimeoutLayer<Native, PerRequest<fn(&Do) -> Option<Duration>>>;
    type Service = TimeoutService<Strict<Mock>, Native, PerRequest<fn(&Do) -> Option<Duration>>>;

    fn named(name: &str) -> Self {
        Self::builder(secs(60)).name(name).build().unwrap()
    }

    fn layer(&self) -> Self::Layer {
        TimeoutLayer::new(self).duration_from(|what| (*what == Do::Late).then_some(secs(0)))
    }

    fn name(&self) -> String {
        self.name().to_string()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn would_reject(&self) -> u64 {
        self.snapshot().would_time_out
    }

    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.on_event(listener)
    }

    fn change_badly(&self) -> ConfigError {
        self.set_limit(secs(0)).unwrap_err()
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }

    fn shut(&self) {}

    fn reopen(&self) {}

    fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        Deadline::after(secs(0)).enter(f)
    }

    fn scarce(&self) {}

    fn balance(&self, _: usize) -> String {
        String::new()
    }
}

impl Subject for CircuitBreaker {
    const SCARCE: bool = true;
    const COMES_BACK: bool = true;
    const REFUSES_UNASKED: bool = true;
    const ENDINGS: [&'static str; 4] = ["Success", "Failure(Error)", "Dropped", "Panicked"];

    type Layer = CircuitBreakerLayer;
    type Service = CircuitBreakerService<Strict<Mock>>;

    fn named(name: &str) -> Self {
        use seawall::circuit_breaker::Trip;
        use seawall::{Backoff, Jitter};
        let instant = Backoff::constant(Duration::from_nanos(1)).jitter(Jitter::None);
        let rule = Trip::consecutive_failures(1_000);
        let builder = Self::builder(name).trip_on(rule).open_for(instant);
        builder.probes(1).build().unwrap()
    }

    fn layer(&self) -> Self::Layer {
        CircuitBreakerLayer::new(self)
    }

    fn name(&self) -> String {
        self.name().to_string()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn would_reject(&self) -> u64 {
        self.snapshot().would_reject
    }

    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.on_event(listener)
    }

    fn change_badly(&self) -> ConfigError {
        let error = self.change(|b| b.probes(0).trips([])).unwrap_err();
        assert_eq!(error.problems().len(), 2, "{error}");
        error
    }

    fn settings(&self) -> String {
        let snapshot = self.snapshot();
        let rules: Vec<_> = snapshot.rules.into_iter().map(|rule| rule.rule).collect();
        format!("{:?} {rules:?}", snapshot.mode)
    }

    fn shut(&self) {
        self.force_open();
    }

    fn reopen(&self) {
        self.release();
    }

    fn scarce(&self) {
        use seawall::circuit_breaker::{State, Trip};
        let rules = |n| self.change(|b| b.trips([Trip::consecutive_failures(n)]));
        rules(1).unwrap();
        self.try_acquire().unwrap().failure();
        rules(1_000).unwrap();
        // It is open for a nanosecond.
        while self.state() != State::HalfOpen {
            std::hint::spin_loop();
        }
    }

    fn balance(&self, _: usize) -> String {
        let snapshot = self.snapshot();
        format!("{:?}", snapshot.probes.map(|probes| probes.in_flight))
    }
}

/// Of which no token comes while a test runs.
const QUOTA: Quota = Quota::new(20_000, secs(30 * 24 * 3_600));

fn limiter(name: &str) -> RateLimiter {
    RateLimiter::builder(QUOTA).name(name).build().unwrap()
}

fn one_token_left(limiter: &RateLimiter) {
    limiter.try_acquire_n(limiter.available() - 1).unwrap();
}

impl Subject for RateLimiter {
    const SCARCE: bool = true;
    const COMES_BACK: bool = false;
    const REFUSES_UNASKED: bool = true;
    const ENDINGS: [&'static str; 4] = ["Admitted"; 4];

    type Layer = RateLimitLayer;
    type Service = RateLimitService<Strict<Mock>>;

    fn named(name: &str) -> Self {
        limiter(name)
    }

    fn layer(&self) -> Self::Layer {
        RateLimitLayer::new(self)
    }

    fn name(&self) -> String {
        self.name().to_string()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn would_reject(&self) -> u64 {
        self.snapshot().would_reject
    }

    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.on_event(listener)
    }

    fn change_badly(&self) -> ConfigError {
        self.set_quota(Quota::new(1, secs(0))).unwrap_err()
    }

    fn settings(&self) -> String {
        format!("{:?} {:?}", self.quota(), self.mode())
    }

    fn shut(&self) {
        self.pause_for(secs(60));
    }

    fn reopen(&self) {
        self.resume();
        // A pause leaves one token and no burst; fill it again. With a burst of one that is there
        // nothing is owed, not even to stripes.
        self.set_quota(Quota::per_second(1_000_000_000).burst(1))
            .unwrap();
        while self.available() < 1 {
            std::hint::spin_loop();
        }
        self.set_quota(QUOTA).unwrap();
    }

    fn scarce(&self) {
        one_token_left(self);
    }

    fn balance(&self, made: usize) -> String {
        format!("{}", self.available() as usize + made)
    }
}

/// A limiter with the layer that waits.
#[derive(Clone)]
struct Waiting(RateLimiter);

impl Subject for Waiting {
    const SCARCE: bool = true;
    const COMES_BACK: bool = false;
    const REFUSES_UNASKED: bool = true;
    const ENDINGS: [&'static str; 4] = ["Admitted"; 4];

    type Layer = RateLimitLayer<Native, One, Waits>;
    type Service = WaitingService<Strict<Mock>>;

    fn named(name: &str) -> Self {
        Self(limiter(name))
    }

    fn layer(&self) -> Self::Layer {
        RateLimitLayer::waiting(&self.0)
    }

    fn name(&self) -> String {
        self.0.name().to_string()
    }

    fn set_mode(&self, mode: Mode) {
        self.0.set_mode(mode);
    }

    fn would_reject(&self) -> u64 {
        self.0.snapshot().would_reject
    }

    fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.on_event(listener)
    }

    fn change_badly(&self) -> ConfigError {
        self.0.change_badly()
    }

    fn settings(&self) -> String {
        self.0.settings()
    }

    fn shut(&self) {
        self.0.shut();
    }

    fn reopen(&self) {
        self.0.reopen();
    }

    fn scarce(&self) {
        self.0.scarce();
    }

    fn balance(&self, made: usize) -> String {
        self.0.balance(made)
    }
}

// CX1
fn one_state<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("shared");
    let layer = policy.layer();
    let strict = || Strict::new(mock.clone());
    let (mut a, mut b) = (layer.layer(strict()), layer.layer(strict()));
    let mut other_layer = policy.clone().over(mock.clone());
    let mut clone = a.clone();
    for _ in 0..2 {
        policy.refused(&mut a, Do::Answer);
        policy.refused(&mut b, Do::Answer);
        policy.refused(&mut clone, Do::Answer);
        policy.refused(&mut other_layer, Do::Answer);
    }
    assert_eq!(mock.calls(), 0);

    if P::SCARCE {
        policy.scarce();
        let mut taken = Task::new(call(&mut a, Do::Hang));
        assert!(taken.run().is_pending());
        for outcome in [
            Task::new(call(&mut a, Do::Answer)).run(),
            Task::new(call(&mut b, Do::Answer)).run(),
            Task::new(call(&mut clone, Do::Answer)).run(),
            Task::new(call(&mut other_layer, Do::Answer)).run(),
        ] {
            assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
        }
    }
}

/// Readies `service` and calls it.
fn call<S: Inner>(service: &mut S, what: Do) -> S::Future {
    assert!(matches!(poll_ready(service), Poll::Ready(Ok(()))));
    service.call(what)
}

// CX3
async fn strict_inner<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("strict");
    let mut service = policy.over(mock.clone());
    for _ in 0..3 {
        if P::REFUSES {
            policy.refused(&mut service, Do::Answer);
        }
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
        let mut clone = service.clone();
        assert_eq!(
            clone.ready().await.unwrap().call(Do::Answer).await.unwrap(),
            7
        );
        // Readied twice, called once.
        service.ready().await.unwrap();
        service
            .ready()
            .await
            .unwrap()
            .call(Do::Fail)
            .await
            .unwrap_err();
    }

    // Three attempts of tower's own retry, which readies its clone once and calls it thrice.
    let retry = tower::retry::Retry::new(Attempts(3), service);
    let before = mock.calls();
    retry.oneshot(Do::Fail).await.unwrap_err();
    assert_eq!(mock.calls() - before, 3 * P::ATTEMPTS);

    let buffer = Buffer::new(policy.over(mock), 4);
    let calls = (0..20).map(|i| buffer.clone().oneshot(Do::Yield(i)));
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome.unwrap(), 7);
    }
}

#[derive(Clone)]
struct Attempts(u32);

impl tower::retry::Policy<Do, u32, BoxError> for Attempts {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut Do, outcome: &mut Result<u32, BoxError>) -> Option<Self::Future> {
        self.0 -= 1;
        (outcome.is_err() && self.0 > 0).then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, what: &Do) -> Option<Do> {
        Some(*what)
    }
}

// CX4
fn nothing_reserved<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("idle");
    policy.scarce();
    let mut service = policy.over(mock.clone());
    let mut idle: Vec<_> = (0..100).map(|_| service.clone()).collect();
    for service in &mut idle {
        assert!(matches!(poll_ready(service), Poll::Ready(Ok(()))));
        assert!(matches!(poll_ready(service), Poll::Ready(Ok(()))));
    }
    let mut first = Task::new(call(&mut service, Do::Wait));
    assert!(first.run().is_pending());
    assert_eq!(mock.calls(), 1);
    if P::SCARCE {
        // The one place is taken: so it was there, and only there.
        let second = Task::new(idle[0].call(Do::Answer)).run();
        assert!(matches!(second, Poll::Ready(Err(_))), "{second:?}");
    }
    mock.answer();
    assert!(matches!(first.run(), Poll::Ready(Ok(7))));
}

// CX5
fn refuses_over_a_stuck_inner<P: Subject>() {
    let mock = Mock::stuck();
    let policy = P::named("shut");
    let mut service = policy.over(mock.clone());
    assert!(poll_ready(&mut service).is_pending());
    if !P::REFUSES_UNASKED {
        return;
    }
    let error = policy.refused(&mut service, Do::Answer);
    assert_eq!(&**reason(&error).policy(), "shut");
    assert_eq!(mock.calls(), 0);

    // A service that is ready because it would refuse refuses, whatever has changed since: the
    // inner service is not ready for that call.
    policy.shut();
    let ready = policy.within(|| poll_ready(&mut service));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    policy.reopen();
    // However often it is asked.
    let polls = mock.ready_polls();
    assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))));
    assert_eq!(mock.ready_polls(), polls);
    let outcome = Task::new(service.call(Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Err(_))), "{outcome:?}");
    assert_eq!(mock.calls(), 0);

    // And a clone of it has been promised nothing.
    policy.shut();
    let ready = policy.within(|| poll_ready(&mut service));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    policy.reopen();
    assert!(poll_ready(&mut service.clone()).is_pending());
    assert!(Task::new(service.call(Do::Answer)).run().is_ready());
    mock.unstick();
    let outcome = Task::new(call(&mut service, Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
}

// CX6
async fn a_refusal_breaks_nothing<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("refusing");
    let mut service = policy.over(mock.clone());
    for n in 1..=3 {
        reason(&policy.refused(&mut service, Do::Answer));
        let outcome = service.ready().await.unwrap().call(Do::Answer).await;
        assert_eq!((outcome.unwrap(), mock.calls()), (7, n));
    }

    let mut buffer = Buffer::new(service, 4);
    for n in 4..=6 {
        policy.shut();
        let refused = buffer.ready().await.unwrap().call(Do::Late).await;
        policy.reopen();
        assert_eq!(&**reason(&refused.unwrap_err()).policy(), "refusing");
        let outcome = buffer.ready().await.unwrap().call(Do::Answer).await;
        assert_eq!((outcome.unwrap(), mock.calls()), (7, n));
    }
}

// CX7
fn a_drop_gives_all_back<P: Subject>() {
    for scarce in [false, true] {
        if scarce && !P::COMES_BACK {
            continue;
        }
        let mock = Mock::new();
        let policy = P::named("dropped");
        if scarce {
            policy.scarce();
            // The first caller moves the breaker to half-open.
            drop(call(&mut policy.over(mock.clone()), Do::Hang));
        }
        let service = policy.over(mock.clone());
        let start = policy.balance(mock.calls());

        // At every await point: before the first poll, and after each.
        for polls in 0..=4 {
            let mut task = Task::new(call(&mut service.clone(), Do::Yield(5)));
            for _ in 0..polls {
                assert!(task.poll().is_pending());
            }
            task.cancel();
            assert_eq!(policy.balance(mock.calls()), start);
            assert_eq!(mock.in_flight(), 0);
        }

        let made = mock.calls();
        let mut random = Random::new(7);
        let mut running = Vec::new();
        for _ in 0..10_000 {
            let what = match random.below(3) {
                0 => Do::Hang,
                1 => Do::Wait,
                _ => Do::Yield(10),
            };
            let mut task = Task::new(call(&mut service.clone(), what));
            for _ in 0..random.below(4) {
                if task.poll().is_ready() {
                    break;
                }
            }
            running.push(task);
            while running.len() as u64 > random.below(8) {
                let at = random.below(running.len() as u64);
                running.swap_remove(usize::try_from(at).unwrap());
            }
        }
        drop(running);
        assert_eq!(policy.balance(mock.calls()), start);
        assert_eq!(mock.in_flight(), 0);
        assert!(mock.calls() > made + 1_000, "{}", mock.calls());
    }
}

// CX8
fn a_panic_gives_all_back<P: Subject>() {
    let fresh = || {
        let (mock, policy, recorder) = (Mock::new(), P::named("panicking"), Recorder::new());
        policy.on_event(recorder.listener()).forever();
        (policy.over(mock.clone()), mock, policy, recorder)
    };
    for what in [Do::PanicInCall, Do::PanicInPoll] {
        let (mut service, mock, policy, recorder) = fresh();
        let start = policy.balance(mock.calls());
        let panicked = catching(|| Task::new(call(&mut service, what)).run());
        assert!(panicked.is_err());
        assert_eq!(recorder.endings(), [P::ENDINGS[3]], "{what:?}");
        assert_eq!(policy.balance(mock.calls()), start);
        assert_eq!(mock.in_flight(), 0);
        let outcome = Task::new(call(&mut service, Do::Answer)).run();
        assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
    }

    // A probe's place too: while it is out there is no other.
    for what in [Do::PanicInCall, Do::PanicInPoll] {
        if !P::COMES_BACK {
            break;
        }
        let (mut service, _, policy, recorder) = fresh();
        policy.scarce();
        recorder.take();
        let panicked = catching(|| Task::new(call(&mut service, what)).run());
        assert!(panicked.is_err());
        assert_eq!(recorder.endings(), [P::ENDINGS[3]], "{what:?}");
        policy.scarce();
        let outcome = Task::new(call(&mut service, Do::Answer)).run();
        assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
    }

    // Caught above, by the user: told all the same, and while the caught future still lives.
    let (mut service, _, _, recorder) = fresh();
    let future = call(&mut service, Do::PanicInPoll);
    let mut task = Task::new(std::panic::AssertUnwindSafe(future).catch_unwind());
    assert!(matches!(task.run(), Poll::Ready(Err(_))));
    assert_eq!(recorder.endings(), [P::ENDINGS[3]]);

    // Dropped by somebody else's panic: that is a drop.
    let (mut service, _, _, recorder) = fresh();
    let panicked = catching(|| {
        let mut task = Task::new(call(&mut service, Do::Hang));
        assert!(task.run().is_pending());
        panic!("elsewhere");
    });
    assert!(panicked.is_err());
    assert_eq!(recorder.endings(), [P::ENDINGS[2]]);
}

// CX9
fn polls_are_events<P: Subject>() {
    let mock = Mock::new();
    let mut service = P::named("quiet").over(mock.clone());
    let mut task = Task::new(call(&mut service, Do::Wait));
    assert!(task.run().is_pending());
    for n in 1..=5 {
        mock.wake();
        assert_eq!(task.wakes(), n);
        assert!(task.poll().is_pending());
        assert_eq!(task.wakes(), n, "it woke itself");
    }
    mock.answer();
    assert!(task.run().is_ready());
    assert_eq!((task.polls(), mock.polls(), task.wakes()), (7, 7, 6));

    let mock = Mock::stuck();
    let mut service = P::named("quiet").over(mock.clone());
    let mut ready = Task::new(service.ready());
    assert!(ready.run().is_pending());
    assert_eq!(ready.wakes(), 0);
    mock.unstick();
    assert!(ready.run().is_ready());
    assert_eq!((ready.wakes(), mock.ready_polls()), (1, 2));
}

// CX11
fn outside_a_runtime<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("no runtime");
    let mut service = policy.over(mock);
    assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))));
    // What comes back at once needs none either.
    let outcome = Task::new(service.call(Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
    if P::REFUSES {
        policy.refused(&mut service, Do::Answer);
    }
    drop((service.clone(), service, policy));
}

// CX14
async fn one_terminal_event<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("told");
    let recorder = Recorder::new();
    let _on = policy.on_event(recorder.listener());
    let mut service = policy.over(mock);
    let [completed, failed, dropped, panicked] = P::ENDINGS;

    assert!(Task::new(call(&mut service, Do::Yield(2))).run().is_ready());
    assert_eq!(recorder.endings(), [completed]);
    call(&mut service, Do::Fail).await.unwrap_err();
    assert_eq!(recorder.endings(), [failed]);
    drop(call(&mut service, Do::Answer));
    assert_eq!(recorder.endings(), [dropped]);
    let mut task = Task::new(call(&mut service, Do::Hang));
    assert!(task.run().is_pending());
    task.cancel();
    assert_eq!(recorder.endings(), [dropped]);
    catching(|| call(&mut service, Do::PanicInCall))
        .err()
        .unwrap();
    assert_eq!(recorder.endings(), [panicked]);
    catching(|| Task::new(call(&mut service, Do::PanicInPoll)).run()).unwrap_err();
    assert_eq!(recorder.endings(), [panicked]);
    if P::REFUSES {
        policy.refused(&mut service, Do::Answer);
        assert_eq!(recorder.endings(), ["rejected"]);
    }
    let mut stuck = policy.over(Mock::stuck());
    if P::REFUSES_UNASKED {
        policy.refused(&mut stuck, Do::Answer);
        assert_eq!(recorder.endings(), ["rejected"]);
    }
}

// CX14
fn listeners_do_what_they_like<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("told");
    let heard = Arc::new(AtomicUsize::new(0));
    let _panics = policy.on_event(|_| panic!("a listener"));
    // Whatever lock the policy held would be taken here again.
    let (count, handle) = (Arc::clone(&heard), policy.clone());
    let _uses = policy.on_event(move |_| {
        handle.settings();
        handle.set_mode(Mode::Enforce);
        drop(handle.on_event(|_| {}));
        count.fetch_add(1, Ordering::SeqCst);
    });
    // So does a listener that goes, with what it keeps.
    let kept = policy.on_event(|_| {});
    drop(policy.on_event(move |_| drop(format!("{kept:?}"))));
    let mut service = policy.over(mock);
    let outcome = Task::new(call(&mut service, Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
    assert!(heard.load(Ordering::SeqCst) >= 1);
    if P::REFUSES {
        policy.refused(&mut service, Do::Answer);
        assert!(heard.load(Ordering::SeqCst) >= 2);
    }
    let outcome = Task::new(call(&mut service, Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
}

// CX16
fn record_only<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("recording");
    let recorder = Recorder::new();
    let _on = policy.on_event(recorder.listener());
    let mut service = policy.over(mock.clone());
    policy.set_mode(Mode::RecordOnly);
    policy.shut();
    recorder.take();
    for n in 1..=3 {
        let outcome = policy.within(|| Task::new(call(&mut service, Do::Answer)).run());
        assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
        assert_eq!(recorder.take(), ["would reject", P::ENDINGS[0]]);
        assert_eq!(policy.would_reject(), n);
    }
    // A stuck inner service is waited for: nothing is refused.
    let ready = policy.within(|| poll_ready(&mut policy.over(Mock::stuck())));
    assert!(ready.is_pending());
    policy.reopen();

    // What would be admitted is told as ever.
    assert!(Task::new(call(&mut service, Do::Answer)).run().is_ready());
    assert_eq!(recorder.take().last().unwrap(), P::ENDINGS[0]);
    assert_eq!((policy.would_reject(), mock.calls()), (3, 4));
}

// CX18
fn names<P: Subject>() {
    let (one, two) = (P::named("same"), P::named("same"));
    assert_eq!(one.name(), "same");
    let mock = Mock::new();
    let (mut first, mut second) = (one.over(mock.clone()), two.over(mock));
    let error = one.refused(&mut first, Do::Answer);
    assert_eq!(&**reason(&error).policy(), "same");
    one.shut();
    let outcome = Task::new(call(&mut second, Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
}

// CX15, CX19
fn changes_while_calls_run<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("changed");
    let recorder = Recorder::new();
    let _on = policy.on_event(recorder.listener());
    let mut service = policy.over(mock.clone());

    let before = policy.settings();
    let error = policy.change_badly();
    assert_eq!(policy.settings(), before);
    assert_eq!(&**error.policy(), "changed");
    let said = error.to_string();
    for problem in error.problems() {
        assert!(!problem.field.is_empty() && !problem.allowed.is_empty());
        assert!(said.contains(&problem.to_string()), "{said}");
    }

    // A call that runs while it is shut and switched off is not touched, and ends with the event
    // it would have had.
    let mut running = Task::new(call(&mut service, Do::Wait));
    assert!(running.run().is_pending());
    policy.set_mode(Mode::Off);
    policy.shut();
    recorder.take();
    for _ in 0..3 {
        let outcome = policy.within(|| Task::new(call(&mut service, Do::Answer)).run());
        assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
    }
    assert_eq!(recorder.take(), [""; 0], "switched off it tells nothing");
    mock.answer();
    assert!(matches!(running.run(), Poll::Ready(Ok(7))));

    policy.set_mode(Mode::Enforce);
    policy.reopen();
    if P::REFUSES {
        reason(&policy.refused(&mut service, Do::Answer));
    }
    let outcome = Task::new(call(&mut service, Do::Answer)).run();
    assert!(matches!(outcome, Poll::Ready(Ok(7))), "{outcome:?}");
}

// CX14, CX19
fn an_admission_ends_in_the_mode_it_began_in<P: Subject>() {
    let mock = Mock::new();
    let policy = P::named("changed");
    let recorder = Recorder::new();
    let _on = policy.on_event(recorder.listener());
    let mut service = policy.over(mock.clone());
    let mut running = Task::new(call(&mut service, Do::Wait));
    assert!(running.run().is_pending());
    policy.set_mode(Mode::Off);
    let mut unseen = Task::new(call(&mut service, Do::Wait));
    assert!(unseen.run().is_pending());
    mock.answer();
    assert!(running.run().is_ready());
    assert_eq!(recorder.endings(), [P::ENDINGS[0]]);
    policy.set_mode(Mode::Enforce);
    assert!(unseen.run().is_ready());
    assert_eq!(recorder.endings(), [""; 0]);
}

/// A policy that refuses nothing and makes calls again: what stands for a refusal is that a call
/// is not made again.
pub(crate) trait Repeats: Subject {
    /// How many calls were made again.
    fn made_again(&self) -> u64;
    /// How many were not because there was no leave left.
    fn suppressed(&self) -> u64;
    /// Leaves this much leave.
    fn leave(&self, attempts: u32);
}

// CX1
async fn one_leave<P: Repeats>() {
    let mock = Mock::new();
    let policy = P::named("shared");
    let layer = policy.layer();
    let strict = || Strict::new(mock.clone());
    let (a, b) = (layer.layer(strict()), layer.layer(strict()));
    let other_layer = policy.clone().over(mock.clone());
    policy.leave(2);
    for mut service in [a.clone(), a, b, other_layer] {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    assert_eq!(mock.calls(), 4 + 2, "one leave for all of them");
    assert_eq!(policy.made_again(), 2);
    assert!(policy.suppressed() >= 2);
}

// CX6
async fn a_failure_breaks_nothing<P: Repeats>() {
    let mock = Mock::new();
    let mut service = P::named("failing").over(mock.clone());
    let mut calls = 0;
    for _ in 0..3 {
        let error = service.ready().await.unwrap().call(Do::Fail).await;
        assert_eq!(error.unwrap_err().to_string(), "the inner service failed");
        let outcome = service.ready().await.unwrap().call(Do::Answer).await;
        calls += P::ATTEMPTS + 1;
        assert_eq!((outcome.unwrap(), mock.calls()), (7, calls));
    }
    let mut buffer = Buffer::new(service, 4);
    for _ in 0..3 {
        let error = buffer.ready().await.unwrap().call(Do::Fail).await;
        assert_eq!(error.unwrap_err().to_string(), "the inner service failed");
        let outcome = buffer.ready().await.unwrap().call(Do::Answer).await;
        calls += P::ATTEMPTS + 1;
        assert_eq!((outcome.unwrap(), mock.calls()), (7, calls));
    }
}

// CX16
async fn record_only_makes_nothing_again<P: Repeats>() {
    let mock = Mock::new();
    let policy = P::named("recording");
    let recorder = Recorder::new();
    let _on = policy.on_event(recorder.listener());
    let mut service = policy.over(mock.clone());
    policy.set_mode(Mode::RecordOnly);
    let start = policy.balance(0);
    for n in 1..=3 {
        call(&mut service, Do::Fail).await.unwrap_err();
        assert_eq!(recorder.take(), ["would go again", P::ENDINGS[1]]);
        assert_eq!((policy.would_reject(), mock.calls() as u64), (n, n));
    }
    assert_eq!((policy.made_again(), policy.balance(0)), (0, start));
    assert!(Task::new(call(&mut service, Do::Answer)).run().is_ready());
    assert_eq!(recorder.take(), [P::ENDINGS[0]]);
}

// CX18
async fn names_without_refusals<P: Repeats>() {
    let (one, two) = (P::named("same"), P::named("same"));
    let names = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&names);
    let _on = one.on_event(move |event| locked(&told).push(event.policy.to_string()));
    let mock = Mock::new();
    one.leave(0);
    for policy in [&one, &two] {
        let mut service = policy.over(mock.clone());
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    assert_eq!(mock.calls(), 1 + P::ATTEMPTS);
    assert_eq!(*locked(&names), ["same"], "and nothing of the other one");
}

macro_rules! shared {
    ($policy:ty) => {
        #[tokio::test]
        async fn cx3_a_strict_inner_service_is_called_only_when_ready() {
            strict_inner::<$policy>().await;
        }

        #[tokio::test]
        async fn cx4_idle_clones_reserve_nothing() {
            nothing_reserved::<$policy>();
        }

        #[tokio::test]
        async fn cx7_a_drop_at_any_await_point_gives_all_back() {
            a_drop_gives_all_back::<$policy>();
        }

        #[tokio::test]
        async fn cx8_a_panic_gives_all_back() {
            a_panic_gives_all_back::<$policy>();
        }

        #[tokio::test]
        async fn cx9_polls_are_as_many_as_events() {
            polls_are_events::<$policy>();
        }

        #[test]
        fn cx11_it_is_made_and_answers_outside_a_runtime() {
            outside_a_runtime::<$policy>();
        }

        #[tokio::test]
        async fn cx14_each_admission_ends_in_one_terminal_event() {
            one_terminal_event::<$policy>().await;
        }

        #[tokio::test]
        async fn cx14_listeners_may_panic_and_use_the_policy() {
            listeners_do_what_they_like::<$policy>();
        }

        #[tokio::test]
        async fn cx15_cx19_changed_badly_and_switched_off_while_calls_run() {
            changes_while_calls_run::<$policy>();
        }
    };
}

macro_rules! contract {
    ($($module:ident: $policy:ty;)*) => {$(
        mod $module {
            use super::*;

            shared!($policy);

            #[test]
            fn cx1_two_services_and_two_layers_share_one_state() {
                one_state::<$policy>();
            }

            #[test]
            fn cx5_refuses_over_a_stuck_inner_service_and_leaves_it_alone() {
                refuses_over_a_stuck_inner::<$policy>();
            }

            #[tokio::test]
            async fn cx6_a_refused_call_is_followed_by_a_working_one() {
                a_refusal_breaks_nothing::<$policy>().await;
            }

            #[tokio::test]
            async fn cx16_record_only_tells_and_refuses_nothing() {
                record_only::<$policy>();
            }

            #[test]
            fn cx18_two_policies_of_one_name_stay_two() {
                names::<$policy>();
            }
        }
    )*};
}

/// The contract of what makes calls again: CX5 speaks of refusals.
macro_rules! repeats {
    ($($module:ident: $policy:ty;)*) => {$(
        mod $module {
            use super::*;

            shared!($policy);

            #[tokio::test]
            async fn cx1_two_services_and_two_layers_share_one_state() {
                one_leave::<$policy>().await;
            }

            #[tokio::test]
            async fn cx6_a_failed_call_is_followed_by_a_working_one() {
                a_failure_breaks_nothing::<$policy>().await;
            }

            #[tokio::test]
            async fn cx16_record_only_tells_and_makes_nothing_again() {
                record_only_makes_nothing_again::<$policy>().await;
            }

            #[tokio::test]
            async fn cx18_two_policies_of_one_name_stay_two() {
                names_without_refusals::<$policy>().await;
            }
        }
    )*};
}

#[tokio::test]
async fn cx14_cx19_an_admission_by_a_timeout_ends_in_the_mode_it_began_in() {
    an_admission_ends_in_the_mode_it_began_in::<Timeout>();
}

#[tokio::test]
async fn cx14_cx19_an_admission_by_a_breaker_ends_in_the_mode_it_began_in() {
    an_admission_ends_in_the_mode_it_began_in::<CircuitBreaker>();
}

#[tokio::test]
async fn cx14_cx19_an_admission_by_a_limiter_ends_in_the_mode_it_began_in() {
    an_admission_ends_in_the_mode_it_began_in::<RateLimiter>();
    an_admission_ends_in_the_mode_it_began_in::<Waiting>();
}

#[tokio::test]
async fn cx14_cx19_an_admission_by_a_bulkhead_ends_in_the_mode_it_began_in() {
    an_admission_ends_in_the_mode_it_began_in::<Bulkhead>();
    an_admission_ends_in_the_mode_it_began_in::<Queued>();
}

#[tokio::test]
async fn cx14_cx19_an_admission_by_a_retry_or_a_hedge_ends_in_the_mode_it_began_in() {
    an_admission_ends_in_the_mode_it_began_in::<Retried>();
    an_admission_ends_in_the_mode_it_began_in::<Hedged>();
}

contract! {
    timeout: Timeout;
    circuit_breaker: CircuitBreaker;
    rate_limit: RateLimiter;
    rate_limit_waiting: Waiting;
    bulkhead: Bulkhead;
    bulkhead_queued: Queued;
}

repeats! {
    retry: Retried;
    hedge: Hedged;
}

// CX17: the parent looks at what a child of this very test says to its first use of a policy
// after an `advance`. A child, because it is said once in a process.
#[cfg(all(not(feature = "test-util"), debug_assertions))]
#[tokio::test(start_paused = true)]
async fn cx17_without_the_feature_the_first_use_after_an_advance_says_which_line_to_add() {
    const ROLE: &str = "SEAWALL_TEST_ADVANCES";
    const NAME: &str =
        "contract::cx17_without_the_feature_the_first_use_after_an_advance_says_which_line_to_add";
    if let Ok(role) = std::env::var(ROLE) {
        let breaker = CircuitBreaker::new("child");
        breaker.state();
        if role == "yes" {
            tokio::time::advance(secs(3_600)).await;
        }
        breaker.state();
        breaker.state();
        return;
    }
    let stderr_of = |role| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", NAME, "--nocapture"]).env(ROLE, role);
        let output = child.output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = stderr_of("yes");
    let line = "seawall = { version = \"*\", features = [\"test-util\"] }";
    assert_eq!(told.matches(line).count(), 1, "{told}");
    assert_eq!(stderr_of("no").matches("seawall").count(), 0);
}
