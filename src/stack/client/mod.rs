//! The client stack: its configuration, the policies, the handle, the service.

mod again;
mod config;
mod describe;
mod policies;
mod service;
#[cfg(feature = "serde")]
mod settings;
mod stack;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

pub use again::{HedgesOf, RetriesOf};
pub use config::ClientConfig;
pub use service::{AttemptOf, Budgets, ClientService, PerAuthority, TotalOf};
pub use stack::ClientStack;
