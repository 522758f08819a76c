//! The counted operations: a function each, with its name in the record. Set-up is not counted, nor are the
//! first operations, because a thread's first use of a policy registers it.

use std::hint::black_box;
use std::time::Duration;

use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack,
    HedgeLayer, Keyed, Quota, RateLimitLayer, RateLimiter, RetryLayer, ServerStack, TimeoutLayer,
    Trip,
};
use tower::Layer;

use crate::body_call::{Streams, serve_bodies};
use crate::http_call::{Endpoint, KeepsCopy, serve_http};
use crate::noop::{Noop, When, runtime, serve};
use crate::ours::{ABUNDANT, LONG, our_hedge, our_limiter, our_retry, ours, settle};

/// How often each is made.
pub(crate) const TIMES: u64 = 2_000;

/// Operations of a hedge: it computes its quantile again after a second, longer than any operation here.
const WINDOW: Duration = Duration::from_secs(300);

const HOUR: Duration = Duration::from_secs(3_600);

fn each(mut run: impl FnMut()) -> impl FnMut(u64) {
    move |n| (0..n).for_each(|_| run())
}

#[inline(never)]
fn first<F: FnMut(u64)>(run: &mut F) {
    run(300);
}

#[inline(never)]
fn settled<F: FnMut(u64)>(mut run: F) -> F {
    settle(WINDOW, &mut run);
    run
}

/// The name of each, and its operations in a function of that name.
macro_rules! operations {
    ($visit:ident: $($name:ident => $make:expr;)*) => {$({
        #[inline(never)]
        fn $name<F: FnMut(u64)>(run: &mut F) {
            // Different in each, or the compiler merges two functions.
            black_box(stringify!($name));
            run(TIMES);
        }
        $visit(stringify!($name), &|| {
            let mut run = $make;
            first(&mut run);
            $name(&mut run);
        });
    })*};
}

fn breaker(trip: Trip) -> CircuitBreaker {
    let breaker = CircuitBreaker::builder("counted").trip_on(trip);
    breaker.open_for(Backoff::constant(HOUR)).build().unwrap()
}

fn succeed(breaker: &CircuitBreaker) {
    if let Ok(permit) = breaker.try_acquire() {
        permit.success();
    }
}

pub(crate) fn all(mut visit: impl FnMut(&'static str, &dyn Fn())) {
    let runtime = runtime();
    let noop = Noop(When::AtOnce);
    macro_rules! layer {
        ($layer:expr) => {
            answers(serve(&runtime, $layer.layer(noop.clone())))
        };
    }
    macro_rules! bodies {
        ($layer:expr, $chunks:expr) => {{
            let _entered = runtime.enter();
            answers(serve_bodies(&runtime, $layer.layer(Streams($chunks))))
        }};
    }
    operations! { visit:
        limiter_allow_large_burst => {
            let limiter = our_limiter(ABUNDANT);
            each(move || { black_box(limiter.allow()); })
        };
        limiter_allow_small_burst => {
            let limiter = our_limiter(100);
            each(move || { black_box(limiter.allow()); })
        };
        limiter_reject => {
            let limiter = RateLimiter::per_hour(1);
            each(move || { black_box(limiter.allow()); })
        };
        limiter_reject_with_rejection => {
            let limiter = RateLimiter::per_hour(1);
            each(move || drop(black_box(limiter.try_acquire())))
        };
        limiter_keyed_allow => {
            let limiter = Keyed::limit(10_000, Quota::per_second(1_000_000_000)).unwrap();
            let mut key = 0_u64;
            each(move || {
                key = (key + 1) % 100;
                black_box(limiter.allow(&key));
            })
        };
        breaker_consecutive => {
            let breaker = breaker(Trip::consecutive_failures(5));
            each(move || succeed(&breaker))
        };
        breaker_rate_over_time => {
            let breaker = breaker(Trip::failure_rate(0.5));
            each(move || succeed(&breaker))
        };
        breaker_default_rules => {
            let breaker = CircuitBreaker::new("counted");
            each(move || succeed(&breaker))
        };
        breaker_open => {
            let breaker = breaker(Trip::consecutive_failures(1));
            breaker.try_acquire().unwrap().failure();
            each(move || drop(black_box(breaker.try_acquire())))
        };
        bulkhead_in_and_out => {
            let bulkhead = Bulkhead::new(64);
            each(move || drop(black_box(bulkhead.try_acquire())))
        };
        bulkhead_reject => {
            let bulkhead = Bulkhead::new(0);
            each(move || drop(black_box(bulkhead.try_acquire())))
        };
        budget_call => {
            let budget = Budget::percent(10);
            each(move || budget.on_success())
        };
        budget_call_and_withdraw => {
            let budget = Budget::percent(100);
            each(move || {
                budget.on_success();
                budget.withdraw().unwrap().spend();
            })
        };
        layer_none => answers(serve(&runtime, noop.clone()));
        layer_timeout => layer!(TimeoutLayer::new(LONG));
        layer_bulkhead => layer!(BulkheadLayer::new(Bulkhead::new(64)));
        layer_bulkhead_queued => layer!(BulkheadLayer::queued(Bulkhead::builder(64).queue(128).build().unwrap()));
        layer_rate_limit => layer!(RateLimitLayer::new(our_limiter(ABUNDANT)));
        layer_rate_limit_exact => layer!(RateLimitLayer::new(our_limiter(100)));
        layer_rate_limit_waiting => layer!(RateLimitLayer::waiting(our_limiter(ABUNDANT)));
        layer_breaker => layer!(CircuitBreakerLayer::new(CircuitBreaker::new("counted")));
        layer_retry => layer!(RetryLayer::new(our_retry(&Budget::percent(10))));
        layer_hedge => settled(layer!(HedgeLayer::new(our_hedge(&Budget::percent(10), WINDOW))));
        http_none => answers(serve_http(&runtime, Endpoint(When::AtOnce)));
        http_copied => answers(serve_http(&runtime, KeepsCopy(Endpoint(When::AtOnce))));
        http_client_stack => {
            let _entered = runtime.enter();
            answers(serve_http(&runtime, ClientStack::new("orders").layer(Endpoint(When::AtOnce))))
        };
        http_server_stack => {
            answers(serve_http(&runtime, ServerStack::new("api", 1_000).layer(Endpoint(When::AtOnce))))
        };
        bodies_client_plain => bodies!(ClientStack::new("orders"), 1);
        bodies_client => bodies!(ClientStack::http("orders"), 1);
        bodies_client_100_chunks => bodies!(ClientStack::http("orders"), 100);
        bodies_server_plain => bodies!(ServerStack::new("api", 1_000), 1);
        bodies_server => bodies!(ServerStack::http("api", 1_000), 1);
        bodies_server_100_chunks => bodies!(ServerStack::http("api", 1_000), 100);
        stack => settled(answers(serve(&runtime, ours(noop.clone(), WINDOW))));
        stack_pending_once => {
            settled(answers(serve(&runtime, ours(Noop(When::PendingOnce), WINDOW))))
        };
    }
}

fn answers(mut serve: impl FnMut(u64) -> u64) -> impl FnMut(u64) {
    move |n| assert_eq!(serve(n), n)
}
