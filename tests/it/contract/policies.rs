//! Each policy and layer in the terms of the suite.

use std::future::{Ready, ready};
use std::time::Duration;

use seawall::bulkhead::{BulkheadService, QueuedService, Queues};
use seawall::circuit_breaker::{CircuitBreakerService, State, Trip};
use seawall::fallback::{Call, Cause, FallbackService, Through, call};
use seawall::hedge::HedgeService;
use seawall::rate_limit::{One, RateLimitService, WaitingService, Waits};
use seawall::retry::RetryService;
use seawall::service::Native;
use seawall::timeout::{PerRequest, TimeoutService};
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ConfigError,
    Deadline, Fallback, FallbackLayer, Hedge, HedgeLayer, Jitter, Quota, RateLimitLayer,
    RateLimiter, Retry, RetryLayer, Timeout, TimeoutLayer,
};

use tower::BoxError;

use super::{Policy, Resends, Subject};
use crate::support::{Do, Mock, Strict, full_budget, secs, spend_to};

pub(super) fn nanosecond() -> Backoff {
    Backoff::constant(Duration::from_nanos(1)).jitter(Jitter::None)
}

macro_rules! subjects {
    ($($name:ident $(, $rejects:literal)?: $policy:ty, $make:expr; $layer:ty, $new:expr; $service:ty;)*) => {$(
        pub(super) struct $name;

        impl Subject for $name {
            type Policy = $policy;
            type Layer = $layer;
            type Service = $service;

            $(const REJECTS: bool = $rejects;)?

            fn policy(name: &str) -> $policy {
                $make(name)
            }

            fn layer(policy: &$policy) -> $layer {
                $new(policy)
            }
        }
    )*};
}

/// A fallback that fails too.
type Failing = Call<fn(Cause) -> Ready<Result<u32, BoxError>>>;

type ByRequest = PerRequest<fn(&Do) -> Option<Duration>>;

subjects! {
    Timed: Timeout, timeout;
        TimeoutLayer<Native, ByRequest>, timed; TimeoutService<Strict<Mock>, Native, ByRequest>;
    Broken: CircuitBreaker, breaker;
        CircuitBreakerLayer, CircuitBreakerLayer::new; CircuitBreakerService<Strict<Mock>>;
    Limited: RateLimiter, limiter;
        RateLimitLayer, RateLimitLayer::new; RateLimitService<Strict<Mock>>;
    Waiting: RateLimiter, limiter;
        RateLimitLayer<Native, One, Waits>, RateLimitLayer::waiting; WaitingService<Strict<Mock>>;
    Bounded: Bulkhead, bulkhead;
        BulkheadLayer, BulkheadLayer::new; BulkheadService<Strict<Mock>>;
    Queued: Bulkhead, with_queue;
        BulkheadLayer<Native, Queues>, BulkheadLayer::queued; QueuedService<Strict<Mock>>;
    Retrying: Budgeted<Retry>, retry;
        RetryLayer, |policy: &Budgeted<Retry>| RetryLayer::new(&policy.0);
        RetryService<Strict<Mock>>;
    Hedging: Budgeted<Hedge>, hedge;
        HedgeLayer, |policy: &Budgeted<Hedge>| HedgeLayer::new(&policy.0);
        HedgeService<Strict<Mock>>;
    FallingBack, false: Fallback, fallback;
        FallbackLayer<Failing>, falling_back; FallbackService<Strict<Mock>, Failing>;
    FallingBackTo, false: Fallback, fallback;
        FallbackLayer<Elsewhere>, |policy| FallbackLayer::new(policy, elsewhere());
        FallbackService<Strict<Mock>, Elsewhere>;
}

type Elsewhere = Through<Strict<Mock>>;

fn elsewhere() -> Elsewhere {
    seawall::fallback::service(Strict::new(Mock::new()))
}

fn falling_back(policy: &Fallback) -> FallbackLayer<Failing> {
    let failing: fn(Cause) -> _ = |_| ready(Err("the fallback failed".into()));
    FallbackLayer::new(policy, call(failing))
}

fn fallback(name: &str) -> Fallback {
    Fallback::builder().name(name).build().unwrap()
}

impl Policy for Fallback {
    type Handle = Self;

    const SCARCE: bool = false;
    const ENDINGS: [&'static str; 4] = ["Success", "Failure(Error)", "Dropped", "Panicked"];

    fn handle(&self) -> &Self {
        self
    }

    fn change_badly(&self) -> ConfigError {
        let change = self.change(|now| now.limit(0).timeout(secs(0)));
        let error = change.unwrap_err();
        assert_eq!(error.problems().len(), 2, "{error}");
        error
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }

    fn balance(&self, _: usize) -> String {
        format!("{}", self.snapshot().in_flight)
    }
}

fn timed(timeout: &Timeout) -> TimeoutLayer<Native, ByRequest> {
    TimeoutLayer::new(timeout).duration_from(|what| (*what == Do::Late).then_some(secs(0)))
}

fn timeout(name: &str) -> Timeout {
    Timeout::builder(secs(60)).name(name).build().unwrap()
}

impl Policy for Timeout {
    type Handle = Self;

    const SCARCE: bool = false;
    const ENDINGS: [&'static str; 4] = ["Completed", "Completed", "Dropped", "Panicked"];

    fn handle(&self) -> &Self {
        self
    }

    fn change_badly(&self) -> ConfigError {
        self.set_limit(secs(0)).unwrap_err()
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }

    fn balance(&self, _: usize) -> String {
        String::new()
    }

    fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        Deadline::after(secs(0)).enter(f)
    }
}

pub(super) fn breaker(name: &str) -> CircuitBreaker {
    let rule = Trip::consecutive_failures(1_000);
    let breaker = CircuitBreaker::builder(name).trip_on(rule);
    let breaker = breaker.open_for(nanosecond()).probes(1);
    breaker.build().unwrap()
}

impl Policy for CircuitBreaker {
    type Handle = Self;

    const ENDINGS: [&'static str; 4] = ["Success", "Failure(Error)", "Dropped", "Panicked"];

    fn handle(&self) -> &Self {
        self
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

    fn balance(&self, _: usize) -> String {
        let snapshot = self.snapshot();
        format!("{:?}", snapshot.probes.map(|probes| probes.in_flight))
    }

    fn shut(&self) {
        self.force_open();
    }

    fn reopen(&self) {
        self.release();
    }

    /// Half-open, with its one probe permit.
    fn make_scarce(&self) {
        let trip_after = |failures| {
            let change = self.change(|b| b.trips([Trip::consecutive_failures(failures)]));
            change.unwrap();
        };
        trip_after(1);
        self.try_acquire().unwrap().failure();
        trip_after(1_000);
        while self.state() != State::HalfOpen {
            std::hint::spin_loop();
        }
    }
}

/// No token refills while a test runs.
pub(super) const QUOTA: Quota = Quota::new(20_000, secs(30 * 24 * 3_600));

fn limiter(name: &str) -> RateLimiter {
    RateLimiter::builder(QUOTA).name(name).build().unwrap()
}

impl Policy for RateLimiter {
    type Handle = Self;

    const RETURNS: bool = false;
    const ENDINGS: [&'static str; 4] = ["Admitted"; 4];

    fn handle(&self) -> &Self {
        self
    }

    fn change_badly(&self) -> ConfigError {
        self.set_quota(Quota::new(1, secs(0))).unwrap_err()
    }

    fn settings(&self) -> String {
        format!("{:?} {:?}", self.quota(), self.mode())
    }

    fn balance(&self, calls: usize) -> String {
        format!("{}", self.available() as usize + calls)
    }

    fn shut(&self) {
        self.pause_for(secs(60));
    }

    /// A pause leaves one token and no burst, so the bucket is refilled.
    fn reopen(&self) {
        self.resume();
        // With a burst of one and its token available, no debt is left, also in the stripes.
        let fast = Quota::per_second(1_000_000_000).burst(1);
        self.set_quota(fast).unwrap();
        while self.available() < 1 {
            std::hint::spin_loop();
        }
        self.set_quota(QUOTA).unwrap();
    }

    fn make_scarce(&self) {
        self.try_acquire_n(self.available() - 1).unwrap();
    }
}

const LIMIT: u32 = 1_000;

pub(super) fn bulkhead(name: &str) -> Bulkhead {
    Bulkhead::builder(LIMIT).name(name).build().unwrap()
}

pub(super) fn with_queue(name: &str) -> Bulkhead {
    let bulkhead = Bulkhead::builder(LIMIT).name(name).queue(10);
    bulkhead.build().unwrap()
}

impl Policy for Bulkhead {
    type Handle = Self;

    const ENDINGS: [&'static str; 4] = ["Completed", "Completed", "Dropped", "Panicked"];

    fn handle(&self) -> &Self {
        self
    }

    fn change_badly(&self) -> ConfigError {
        self.change(|now| now.queue(u32::MAX)).unwrap_err()
    }

    fn settings(&self) -> String {
        format!("{:?}", self.snapshot())
    }

    fn balance(&self, _: usize) -> String {
        let snapshot = self.snapshot();
        format!("{} {}", snapshot.in_flight, snapshot.queued)
    }

    fn shut(&self) {
        self.set_limit(0).unwrap();
    }

    fn reopen(&self) {
        self.set_limit(LIMIT).unwrap();
    }

    /// And no queue.
    fn make_scarce(&self) {
        let taken = self.snapshot().in_flight;
        self.set_limit(taken + 1).unwrap();
        self.change(|now| now.queue(0)).unwrap();
    }
}

/// A policy with the budget of its extra attempts.
#[derive(Clone)]
pub(super) struct Budgeted<P>(pub(super) P, pub(super) Budget);

fn retry(name: &str) -> Budgeted<Retry> {
    let budget = full_budget();
    let retry = Retry::builder().name(name).backoff(nanosecond());
    Budgeted(retry.budget(&budget).build().unwrap(), budget)
}

fn hedge(name: &str) -> Budgeted<Hedge> {
    let budget = full_budget();
    Budgeted(failures_only(name, &budget), budget)
}

/// The delay is longer than any test: only a failure starts an extra attempt.
pub(super) fn failures_only(name: &str, budget: &Budget) -> Hedge {
    let hedge = Hedge::builder().name(name).delay(secs(60));
    hedge.budget(budget).build().unwrap()
}

macro_rules! budgeted {
    ($($policy:ty, $attempts:literal, $resent:ident: $change_badly:expr;)*) => {$(
        impl Policy for Budgeted<$policy> {
            type Handle = $policy;

            const ATTEMPTS: usize = $attempts;
            const SCARCE: bool = false;
            const ENDINGS: [&'static str; 4] =
                ["Success", "Failure(Error)", "Dropped", "Panicked"];

            fn handle(&self) -> &$policy {
                &self.0
            }

            fn change_badly(&self) -> ConfigError {
                $change_badly(&self.0)
            }

            fn settings(&self) -> String {
                format!("{:?}", self.0)
            }

            fn balance(&self, _: usize) -> String {
                let budget = self.1.snapshot();
                format!("{}", budget.balance + budget.made as f64)
            }
        }

        impl Resends for Budgeted<$policy> {
            fn resent(&self) -> u64 {
                self.0.snapshot().$resent
            }

            fn suppressed(&self) -> u64 {
                self.0.snapshot().suppressed
            }

            fn spend_to(&self, attempts: u32) {
                spend_to(&self.1, attempts);
            }
        }
    )*};
}

budgeted! {
    Retry, 3, retried: |retry: &Retry| {
        let change = retry.change(|now| now.max_attempts(0).max_elapsed(secs(0)));
        let error = change.unwrap_err();
        assert_eq!(error.problems().len(), 2, "{error}");
        error
    };
    Hedge, 2, made: |hedge: &Hedge| {
        hedge.set_quantile(1.0).unwrap_err();
        hedge.change(|now| now.max_extra(0)).unwrap_err()
    };
}
