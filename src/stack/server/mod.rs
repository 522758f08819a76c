//! The server stack: its configuration, the handle, the service.

mod config;
mod service;
mod stack;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

pub use config::ServerConfig;
pub use service::ServerService;
pub use stack::ServerStack;
