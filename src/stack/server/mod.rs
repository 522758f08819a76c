//! The server stack: its configuration, the handle and its service.

mod config;
#[cfg(feature = "serde")]
mod settings;
mod stack;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

pub use config::ServerConfig;
pub use stack::{ServerService, ServerStack};
