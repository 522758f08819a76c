//! Rate limit.

mod policy;
mod quota;
pub(crate) mod state;

#[cfg(feature = "tokio")]
pub use policy::Acquire;
pub use policy::{Builder, RateLimiter, Reservation, Snapshot};
pub use quota::Quota;
