//! The peers' policies for the comparison, and stacks of them.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use tower::limit::ConcurrencyLimitLayer;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{Service, ServiceBuilder};
use tower_resilience::bulkhead::BulkheadLayer as ResilienceBulkhead;
use tower_resilience::circuitbreaker::CircuitBreakerLayer as ResilienceBreaker;
use tower_resilience::hedge::HedgeLayer as ResilienceHedge;
use tower_resilience::ratelimiter::RateLimiterLayer as ResilienceRate;
use tower_resilience::retry::{RetryBudgetBuilder, RetryLayer as ResilienceRetry};
use tower_resilience::timelimiter::{FixedTimeout, TimeLimiterLayer as ResilienceTimeout};

use crate::http_call::{Request, Response};
use crate::noop::Fault;
use crate::ours::{ABUNDANT, Bottom, LONG, ROOM};

/// tower's retry as in its docs: a budget that successes fill.
#[derive(Clone)]
pub struct Budgeted(Arc<TpsBudget>);

impl Default for Budgeted {
    fn default() -> Self {
        Self(Arc::new(TpsBudget::default()))
    }
}

impl<E> tower::retry::Policy<u32, u32, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, E>) -> Option<Ready<()>> {
        match result {
            Ok(_) => {
                self.0.deposit();
                None
            }
            Err(_) => self.0.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

/// Retries errors and server errors of idempotent requests.
impl<E> tower::retry::Policy<Request, Response, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request, result: &mut Result<Response, E>) -> Option<Ready<()>> {
        match result {
            Ok(response) if !response.status().is_server_error() => {
                self.0.deposit();
                None
            }
            _ => self.0.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        request.method().is_idempotent().then(|| request.clone())
    }
}

/// Hedges every request.
#[derive(Clone)]
pub struct Always;

impl tower::hedge::Policy<u32> for Always {
    fn clone_request(&self, request: &u32) -> Option<u32> {
        Some(*request)
    }

    fn can_retry(&self, _: &u32) -> bool {
        true
    }
}

/// tower's hedge at the same quantile. It starts with latencies of `millis`, for the whole run: with a
/// service that does nothing its quantile would be zero, and it would hedge every pending call. Short latencies
/// are in its favour, because it walks its histogram up to the quantile in each call.
pub fn tower_hedge<S>(service: S, millis: u64) -> tower::hedge::Hedge<S, Always>
where
    S: Service<u32> + Clone,
    S::Error: Into<tower::BoxError>,
{
    let hour = Duration::from_secs(3_600);
    let seen = [millis; 100];
    tower::hedge::Hedge::new_with_mock_latencies(service, Always, 10, 0.95, hour, &seen)
}

pub fn resilience_retry<E: 'static>() -> ResilienceRetry<u32, u32, E> {
    let budget = RetryBudgetBuilder::new().token_bucket().build().unwrap();
    ResilienceRetry::<u32, u32, E>::builder()
        .max_attempts(3)
        .exponential_backoff(Duration::from_millis(50))
        .budget(budget)
        .build()
}

pub fn resilience_rate() -> ResilienceRate {
    // The fixed window is its default and its cheapest.
    let rate = ResilienceRate::builder().limit_for_period(ABUNDANT as usize);
    rate.refresh_period(Duration::from_secs(1)).build().unwrap()
}

pub fn resilience_bulkhead() -> ResilienceBulkhead {
    let bulkhead = ResilienceBulkhead::builder().max_concurrent_calls(ROOM);
    bulkhead.build().unwrap()
}

pub fn resilience_timeout() -> ResilienceTimeout<FixedTimeout> {
    ResilienceTimeout::builder().timeout_duration(LONG).build()
}

/// Without a breaker, which tower has not. Its rate limit is outside of the retry, because it is not `Clone`.
pub fn tower(inner: impl Bottom, hedged_after: u64) -> impl Service<u32, Response = u32> {
    ServiceBuilder::new()
        .timeout(LONG)
        .rate_limit(u64::from(ABUNDANT), Duration::from_secs(1))
        .layer_fn(move |inner| tower_hedge(inner, hedged_after))
        .retry(Budgeted::default())
        .layer(ConcurrencyLimitLayer::new(ROOM))
        .timeout(LONG / 2)
        .service(inner)
}

/// The parts of a default client stack that tower has: no breaker.
pub fn tower_client<S>(
    inner: S,
) -> impl Service<Request, Response = Response, Error = tower::BoxError>
where
    S: Service<Request, Response = Response, Error = Fault> + Clone,
{
    ServiceBuilder::new()
        .timeout(Duration::from_secs(10))
        .retry(Budgeted::default())
        .layer(ConcurrencyLimitLayer::new(ROOM))
        .timeout(Duration::from_secs(3))
        .service(inner)
}

/// Its hedge requires an error that is `Clone`; the errors of its other layers are not.
pub fn resilience(inner: impl Bottom) -> impl Service<u32, Response = u32> {
    let breaker = ResilienceBreaker::builder().sliding_window_size(100);
    let hedge = ResilienceHedge::builder()
        .delay(LONG)
        .max_hedged_attempts(2);
    ServiceBuilder::new()
        .layer(resilience_timeout())
        .layer(resilience_retry())
        .layer(hedge.build())
        .map_err(|_| Fault::Peer)
        .layer(breaker.build().unwrap())
        .layer(resilience_bulkhead())
        .layer(resilience_rate())
        .layer(resilience_timeout())
        .service(inner)
}
