//! Seawall's policies for the comparison, and a stack of all of them.

use std::time::Duration;

use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Hedge,
    HedgeLayer, Quota, RateLimitLayer, RateLimiter, Retry, RetryLayer, TimeoutLayer,
};
use tower::{Service, ServiceBuilder};

use crate::noop::Fault;

/// Longer than any run, so that no timer fires.
pub const LONG: Duration = Duration::from_secs(600);
pub const ROOM: usize = 1_000;
/// A rate that one thread cannot use up.
pub const ABUNDANT: u32 = 1_000_000_000;
/// A hedge at a quantile, for calls that take less than the least delay. It has a delay only after
/// [`settle`].
pub fn our_hedge(budget: &Budget, window: Duration) -> Hedge {
    let most = Duration::from_secs(10);
    let hedge = Hedge::builder().quantile(0.95).min_delay(most);
    hedge.window(window).budget(budget).build().unwrap()
}

/// The hedge's default window.
pub const WINDOW: Duration = Duration::from_secs(30);

/// Makes calls until a hedge has enough latencies, and waits until it reads them, which it does 300 times in
/// a window.
pub fn settle(window: Duration, mut calls: impl FnMut(u64)) {
    calls(300);
    std::thread::sleep(window / 250);
    calls(300);
}

pub fn our_retry(budget: &Budget) -> Retry {
    Retry::builder()
        .backoff(Backoff::exponential(Duration::from_millis(50)))
        .max_attempts(3)
        .budget(budget)
        .build()
        .unwrap()
}

pub fn our_limiter(burst: u32) -> RateLimiter {
    let limiter = RateLimiter::builder(Quota::per_second(ABUNDANT).burst(burst));
    limiter.build().unwrap()
}

/// A service that any stack accepts.
pub trait Bottom:
    Service<u32, Response = u32, Error = Fault, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Bottom for S where
    S: Service<u32, Response = u32, Error = Fault, Future: Send> + Clone + Send + Sync + 'static
{
}

pub fn ours(inner: impl Bottom, window: Duration) -> impl Service<u32, Response = u32> {
    let budget = Budget::percent(10);
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(LONG))
        .layer(RetryLayer::new(our_retry(&budget)))
        .layer(HedgeLayer::new(our_hedge(&budget, window)))
        .layer(CircuitBreakerLayer::new(CircuitBreaker::new("stack")))
        .layer(BulkheadLayer::queued(
            Bulkhead::builder(1_000).queue(128).build().unwrap(),
        ))
        .layer(RateLimitLayer::new(our_limiter(ABUNDANT)))
        .layer(TimeoutLayer::new(LONG / 2))
        .service(inner)
}
