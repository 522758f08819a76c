//! The integration tests: what every layer promises (`contract`), what each pattern does beyond
//! that, and stacks.

// Clippy's bans are for `src`. Tests may use std's locks, spawn and box.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[cfg(all(feature = "axum", feature = "test-util"))]
mod answers;
mod auto_traits;
#[cfg(feature = "http")]
mod balance;
mod bodies;
#[cfg(feature = "test-util")]
mod budget;
mod bulkhead;
#[cfg(all(feature = "http", feature = "test-util"))]
mod call_headers;
mod circuit_breaker;
mod classify;
#[cfg(feature = "http")]
mod client_ip;
mod client_stack;
mod contract;
#[cfg(feature = "test-util")]
mod deadline;
#[cfg(feature = "http")]
mod drain;
#[cfg(all(feature = "reqwest", feature = "tonic"))]
mod errors;
#[cfg(feature = "test-util")]
mod fallback;
#[cfg(feature = "test-util")]
mod gather;
#[cfg(feature = "tonic")]
mod grpc;
#[cfg(feature = "serve")]
mod hosts;
#[cfg(feature = "http")]
mod http;
mod keyed;
mod live;
#[cfg(all(feature = "reqwest", feature = "serve"))]
mod newcomers;
#[cfg(all(feature = "http", feature = "test-util"))]
mod overrides;
mod rate_limit;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod rate_limit_fields;
mod readiness;
mod registry;
mod rejection;
#[cfg(all(feature = "reqwest", feature = "serve"))]
mod reqwest;
#[cfg(all(feature = "http", feature = "test-util"))]
mod resend;
#[cfg(feature = "serve")]
mod serve;
mod server_stack;
#[cfg(all(feature = "serde", feature = "test-util"))]
mod settings;
#[cfg(feature = "test-util")]
mod shadow;
#[cfg(all(feature = "http", feature = "test-util"))]
mod shedding;
mod stack;
mod support;
#[path = "../../src/testing.rs"]
mod testing;
#[cfg(feature = "test-util")]
mod timeout;

// `testing` is a module of the crate too and takes these names from its root.
use seawall::{Event, event};
