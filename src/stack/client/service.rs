use crate::attempts::{Again, ByRequest};
use crate::bulkhead::{Bulkhead, QueuedService};
use crate::circuit_breaker::{CircuitBreaker, CircuitBreakerService};
use crate::classify::Standard;
use crate::hedge::HedgeService;
use crate::keyed::ByKey;
use crate::rate_limit::{One, RateLimitService, RateLimiter};
use crate::retry::RetryService;
use crate::service::Native;
use crate::stack::{ByAuthority, StackService};
use crate::timeout::TimeoutService;

/// A policy per authority.
pub type PerAuthority<P> = ByKey<str, P, ByAuthority>;

/// A service under a [`ClientStack`](crate::ClientStack).
pub type ClientService<S, R = Native, C = Standard, L = RateLimiter, O = ByRequest, K = ByRequest> =
    StackService<TimeoutService<Retried<S, R, C, L, O, K>, R>>;

// From the outside in.
type Retried<S, R, C, L, O, K> = RetryService<Hedged<S, R, C, L, O, K>, C, Again<O, K>>;
type Hedged<S, R, C, L, O, K> = HedgeService<Breaker<S, R, C, L>, C, Again<O, K>>;
type Breaker<S, R, C, L> =
    CircuitBreakerService<Queued<S, R, L>, R, C, PerAuthority<CircuitBreaker>>;
type Queued<S, R, L> = QueuedService<Limited<S, R, L>, R, PerAuthority<Bulkhead>>;
type Limited<S, R, L> = RateLimitService<TimeoutService<S, R>, R, One, L>;
