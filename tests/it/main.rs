//! The integration tests: what every layer promises (`contract`), what each pattern does on top
//! of it, and stacks of them.

// Clippy's walls are for `src`. Tests keep records behind std's locks, and spawn and box freely.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod auto_traits;
mod bulkhead;
mod circuit_breaker;
mod classify;
mod client_stack;
mod contract;
#[cfg(feature = "test-util")]
mod deadline;
mod hedge;
#[cfg(feature = "http")]
mod http;
mod keyed;
mod live;
mod rate_limit;
mod rejection;
mod retry;
mod server_stack;
mod stack;
mod support;
#[cfg(feature = "test-util")]
mod timeout;
