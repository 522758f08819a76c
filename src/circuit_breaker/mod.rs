//! Circuit breaker: fails calls at once while a dependency is known to be down.

mod future;
#[cfg(feature = "tower")]
mod gate;
#[cfg(feature = "tower")]
mod layer;
mod policy;
mod rules;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
mod trip;
mod window;

#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::{CircuitBreakerLayer, Gated, Refusing};
pub use policy::{Builder, CircuitBreaker, Permit, Probes, RuleCounts, Snapshot, Trouble};
pub use rules::{GiveUp, OnDrop, Tripped};
#[cfg(feature = "tower")]
pub use service::{CircuitBreakerService, GatedService};
pub use state::{Cause, State, Transition};
pub use trip::{Counts, Trip, Window};
