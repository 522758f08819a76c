//! The types that most programs need.
//!
//! ```
//! use seawall::prelude::*;
//! ```

pub use crate::bulkhead::Bulkhead;
pub use crate::circuit_breaker::{CircuitBreaker, Trip, Window};
#[cfg(feature = "tokio")]
pub use crate::hedge::Hedge;
pub use crate::rate_limit::{Quota, RateLimiter};
#[cfg(feature = "tokio")]
pub use crate::retry::Retry;
#[cfg(feature = "tokio")]
pub use crate::timeout::Timeout;
pub use crate::{Backoff, Budget, Deadline, Jitter, Keyed, Mode, Reason, Rejection, RejectionKind};
#[cfg(feature = "tower")]
pub use crate::{
    budget::BudgetLayer, bulkhead::BulkheadLayer, circuit_breaker::CircuitBreakerLayer,
    hedge::HedgeLayer, rate_limit::RateLimitLayer, retry::RetryLayer, stack::ClientStack,
    stack::ServerStack, timeout::TimeoutLayer,
};
