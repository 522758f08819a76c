//! Timeout: a bound on how long a call may take, and a deadline for everything below it.

mod future;
#[cfg(feature = "tower")]
mod layer;
mod policy;
#[cfg(feature = "tower")]
mod service;

#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::{DurationOf, Fixed, PerRequest, TimeoutLayer};
pub use policy::{Builder, Snapshot, Timeout};
#[cfg(feature = "tower")]
pub use service::TimeoutService;
