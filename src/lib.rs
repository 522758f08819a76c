//! Resilience middleware for tower, over a lock-light core that also works without it.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backoff;
pub mod circuit_breaker;
pub mod classify;
pub mod deadline;
pub mod event;
#[cfg(feature = "http")]
pub mod http;
pub mod policy;
pub mod rate_limit;
pub mod rejection;
#[cfg(feature = "tokio")]
pub mod timeout;

mod guard;
mod rng;
mod sync;
mod time;

pub use backoff::{Backoff, Jitter};
pub use circuit_breaker::CircuitBreaker;
#[cfg(feature = "tower")]
pub use circuit_breaker::CircuitBreakerLayer;
pub use classify::{Classify, Outcome};
pub use deadline::Deadline;
#[cfg(feature = "tokio")]
pub use deadline::spawn;
pub use event::Event;
pub use policy::{ConfigError, Mode};
pub use rate_limit::{Quota, RateLimiter};
pub use rejection::{Error, Reason, Rejection, Why};
#[cfg(feature = "tokio")]
pub use timeout::Timeout;
#[cfg(feature = "tower")]
pub use timeout::TimeoutLayer;
