//! Resilience middleware for [tower](https://docs.rs/tower): timeout, rate limit, circuit
//! breaker, retry, bulkhead and hedging. Use them as layers for axum and hyper servers and for
//! outbound clients, or as plain values around any async or blocking call.
//!
//! When a dependency slows down, its callers wait and pile up until they fail too. These layers
//! make calls fail fast, shed the load that is too much, and recover without intervention.
//!
//! # A policy is a handle
//!
//! [`Timeout`], [`RateLimiter`], [`CircuitBreaker`], [`Retry`], [`Bulkhead`], [`Hedge`] and
//! [`Budget`] are plain values. They are cheap to clone, and every clone is the same policy. You
//! can name them, share them, read them, change them and switch them off while calls run. A layer
//! refers to a policy, so the state does not depend on how often a framework applies the layer:
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::prelude::*;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower::BoxError> {
//! let payments = CircuitBreaker::new("payments");
//! let client = ServiceBuilder::new() // The first line is outermost.
//!     .layer(TimeoutLayer::new(Duration::from_secs(5))) // The whole operation.
//!     .layer(CircuitBreakerLayer::new(&payments))
//!     .layer(TimeoutLayer::new(Duration::from_millis(800))) // One attempt.
//!     .service(service_fn(|amount: u32| async move { Ok::<_, tower::BoxError>(amount) }));
//!
//! assert_eq!(client.oneshot(7).await?, 7);
//! println!("{:?}", payments.snapshot());
//! # Ok(()) }
//! ```
//!
//! [`ClientStack`] and [`ServerStack`] combine the recommended layers in one, with their
//! configuration checked together; [their page](stack) gives the reasons for the order. For a rate
//! limit per caller or a circuit breaker per host use [`Keyed`], which every layer accepts instead
//! of a single policy.
//!
//! # Where to read on
//!
//! The module of each pattern describes what it does, its defaults with the reason for each, and
//! when not to use it. [`grpc`] describes the stacks for gRPC (feature `http`). The [`guide`] covers the order of layers, anti-patterns, how deadlines
//! travel, and the terms of other libraries.
//!
//! # Rejections
//!
//! A layer never changes the types of the service under it. A [`Rejection`] becomes the service's
//! own error if the error type can carry one, and an HTTP response if the service never fails. See
//! [`rejection`].
//!
//! # Without a service
//!
//! `run` on a policy makes one call under it, such as [`CircuitBreaker::run`]. A [`Pipeline`]
//! combines several policies, and [`gather`] makes calls to several services at once. With `--no-default-features`, rate limiter, circuit breaker and
//! bulkhead depend on neither tokio nor tower and serve blocking code, by `run_blocking` such as
//! [`CircuitBreaker::run_blocking`], and to wait [`RateLimiter::acquire_blocking`] and
//! [`Bulkhead::acquire_blocking`].
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `tower` | yes | the layers; implies `tokio` |
//! | `tokio` | yes | everything that waits: [`Timeout`], [`Retry`], [`Hedge`], [`Fallback`], [`Pipeline`], [`gather`], `RateLimiter::acquire`, [`spawn`], [`Deadline::shield`] |
//! | `tracing` | yes | transitions of circuit breakers and rejections as `tracing` [events](event#tracing), attempts as spans |
//! | `http` | no | rejections as 429, 503 and 504 with `Retry-After` or as gRPC statuses; classification of `http::Response`; calls that last until the end of a [body](guide::bodies); [answers](guide::answers) with a body and fields of what is left; deadlines [between processes](guide::deadlines#over-the-wire); the client's address as a key; depends on bytes, http, http-body, httpdate, hyper and ipnet |
//! | `axum` | no | `http::ClientIp` reads the peer's address that `axum::serve` has; rejections are answers of handlers; implies `http` and `tower`; depends on axum with its feature `tokio` |
//! | `hyper` | no | [`mod@hyper`]: the client stack around hyper-util's client in one line; classification of the errors of `hyper`, of hyper-util's client and of `h2`; implies `http`; depends on h2, hyper and hyper-util |
//! | `reqwest` | no | [`mod@reqwest`]: the client stack around a client of reqwest in one line; classification of `reqwest::Response` and `reqwest::Error`, copies of `reqwest::Request`; implies `hyper`; depends on reqwest with its features `form`, `json` and `query`, and serde |
//! | `console` | no | [`console`]: a live page of all policies, with levers, as an axum `Router`; implies `axum` and `serde`; depends on serde_json |
//! | `metrics` | no | [`mod@metrics`]: the policies' counters, states and durations through the facade of the crate metrics; depends on metrics |
//! | `serde` | no | [`settings`]: policies and stacks from TOML, JSON, the environment and other sources, applied while calls run; snapshots of policies and the [registry] are `Serialize`; depends on serde |
//! | `serve` | no | `serve::Server`: an accept loop with connection limits and a drain in order; implies `http` and `tower`; depends on http-body, hyper and hyper-util |
//! | `tonic` | no | [`grpc`]: a client stack around a channel of tonic; rejections as `tonic::Status` and its classification; implies `hyper`; depends on tonic |
//! | `test-util` | no | every policy follows `tokio::time::pause` and `advance`; for `[dev-dependencies]` |
//!
//! A feature only adds API, except for `test-util`, which replaces the clock. The README lists all that
//! each one depends on. No default feature depends on a web framework.
//!
//! # Tests with paused time
//!
//! `#[tokio::test(start_paused = true)]` controls tokio's clock. To make the policies follow it,
//! add to `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! seawall = { version = "*", features = ["test-util"] }
//! ```
//!
//! Without it, a debug build prints a warning to standard error when a policy is first used after
//! an `advance`.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a feature, links to its items are broken. The docs are published with all features, and
// then every link is checked.
#![cfg_attr(
    not(all(feature = "reqwest", feature = "tonic", feature = "tower")),
    allow(rustdoc::broken_intra_doc_links)
)]

pub mod attempts;
pub mod backoff;
pub mod budget;
pub mod bulkhead;
pub mod circuit_breaker;
pub mod classify;
pub mod config;
pub mod deadline;
pub mod event;
#[cfg(feature = "tokio")]
pub mod fallback;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "tokio")]
pub mod gather;
#[cfg(all(feature = "http", feature = "tower"))]
pub mod grpc;
#[cfg(feature = "tower")]
pub mod guide;
// The tests and models of the quantile run without a runtime.
#[cfg(any(feature = "tokio", test))]
pub mod hedge;
#[cfg(feature = "http")]
pub mod http;
#[cfg(all(feature = "hyper", feature = "tower"))]
pub mod hyper;
pub mod keyed;
#[cfg(feature = "tokio")]
pub mod pipeline;
pub mod prelude;
pub mod rate_limit;
pub mod rejection;
#[cfg(all(feature = "reqwest", feature = "tower"))]
pub mod reqwest;
#[cfg(feature = "tokio")]
pub mod retry;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "tower")]
pub mod service;
#[cfg(feature = "tower")]
pub mod stack;
#[cfg(feature = "tokio")]
pub mod timeout;

mod common;
// Without a runtime nothing sets a context.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
mod context;
mod counters;
#[cfg(feature = "tokio")]
mod drain;
mod in_flight;
mod macros;
mod observe;
mod outcome;
mod per_thread;
mod policy_id;
mod rng;
mod sync;
#[cfg(all(test, not(seawall_loom)))]
mod testing;
mod time;
#[cfg(feature = "tonic")]
mod tonic;
mod waiting;

pub use backoff::{Backoff, Jitter};
pub use budget::Budget;
#[cfg(feature = "tower")]
pub use budget::BudgetLayer;
pub use bulkhead::Bulkhead;
#[cfg(feature = "tower")]
pub use bulkhead::BulkheadLayer;
#[cfg(feature = "tower")]
pub use circuit_breaker::CircuitBreakerLayer;
pub use circuit_breaker::{CircuitBreaker, Trip, Window};
pub use classify::{Classify, Outcome};
pub use common::Classified;
pub use config::{ConfigError, Mode};
pub use context::attempt;
pub use deadline::Deadline;
#[cfg(feature = "tokio")]
pub use deadline::spawn;
pub use event::Event;
#[cfg(feature = "tokio")]
pub use fallback::Fallback;
#[cfg(feature = "tower")]
pub use fallback::FallbackLayer;
#[cfg(feature = "tokio")]
pub use hedge::Hedge;
#[cfg(feature = "tower")]
pub use hedge::HedgeLayer;
pub use keyed::Keyed;
#[cfg(feature = "console")]
pub use observe::console;
#[cfg(feature = "metrics")]
pub use observe::metrics;
#[cfg(feature = "serde")]
pub use observe::settings;
pub use observe::{registry, shadow};
#[cfg(feature = "tokio")]
pub use pipeline::Pipeline;
#[cfg(feature = "tower")]
pub use rate_limit::RateLimitLayer;
pub use rate_limit::{Quota, RateLimiter};
pub use rejection::{Error, Reason, Rejection, RejectionKind};
#[cfg(feature = "tokio")]
pub use retry::Retry;
#[cfg(feature = "tower")]
pub use retry::RetryLayer;
#[cfg(feature = "tower")]
pub use stack::{ClientStack, ServerStack};
pub use time::use_system_clock;
#[cfg(feature = "tokio")]
pub use timeout::Timeout;
#[cfg(feature = "tower")]
pub use timeout::TimeoutLayer;

#[cfg(all(doctest, feature = "reqwest", feature = "serde", feature = "tower"))]
#[doc = include_str!("../README.md")]
mod readme {}
