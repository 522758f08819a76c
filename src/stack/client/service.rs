use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::attempts::{Again, ByRequest};
use crate::bulkhead::{Bulkhead, QueuedService};
use crate::circuit_breaker::{CircuitBreaker, CircuitBreakerService};
use crate::classify::Standard;
use crate::hedge::HedgeService;
use crate::keyed::ByKey;
use crate::rate_limit::{One, RateLimitService, RateLimiter};
use crate::retry::RetryService;
use crate::service::Native;
use crate::stack::ByAuthority;
use crate::timeout::TimeoutService;

/// A policy per authority.
pub type PerAuthority<P> = ByKey<str, P, ByAuthority>;

// From the inside out.
type Attempt<S, R> = TimeoutService<S, R>;
type Limited<S, R, L> = RateLimitService<Attempt<S, R>, R, One, L>;
type Placed<S, R, L> = QueuedService<Limited<S, R, L>, R, PerAuthority<Bulkhead>>;
type Broken<S, R, C, L> =
    CircuitBreakerService<Placed<S, R, L>, R, C, PerAuthority<CircuitBreaker>>;
type Hedged<S, R, C, L, O, K> = HedgeService<Broken<S, R, C, L>, C, Again<O, K>>;
type Retried<S, R, C, L, O, K> = RetryService<Hedged<S, R, C, L, O, K>, C, Again<O, K>>;
pub(super) type Whole<S, R, C, L, O, K> = TimeoutService<Retried<S, R, C, L, O, K>, R>;

/// A service under a [`ClientStack`](crate::ClientStack).
#[derive(Clone)]
pub struct ClientService<S, R = Native, C = Standard, L = RateLimiter, O = ByRequest, K = ByRequest>(
    Whole<S, R, C, L, O, K>,
);

impl<S, R, C, L, O, K> ClientService<S, R, C, L, O, K> {
    pub(super) fn new(whole: Whole<S, R, C, L, O, K>) -> Self {
        Self(whole)
    }
}

impl<S, Req, R, C, L, O, K> Service<Req> for ClientService<S, R, C, L, O, K>
where
    Whole<S, R, C, L, O, K>: Service<Req>,
{
    type Response = <Whole<S, R, C, L, O, K> as Service<Req>>::Response;
    type Error = <Whole<S, R, C, L, O, K> as Service<Req>>::Error;
    type Future = <Whole<S, R, C, L, O, K> as Service<Req>>::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

impl<S, R, C, L, O, K> fmt::Debug for ClientService<S, R, C, L, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientService").finish_non_exhaustive()
    }
}
