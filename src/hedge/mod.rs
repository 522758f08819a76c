//! Hedging.
#[cfg(feature = "tokio")]
mod future;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tokio")]
mod policy;
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
mod quantile;
#[cfg(feature = "tower")]
mod service;

#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::{ByResend, DelayOf, HedgeLayer, Only, Own, PerRequest, Safe};
#[cfg(feature = "tokio")]
pub use policy::{Builder, Hedge, Snapshot};
#[cfg(feature = "tower")]
pub use service::HedgeService;
