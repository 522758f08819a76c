//! Resilience middleware for [tower](https://docs.rs/tower): timeout, rate limit, circuit
//! breaker, retry, bulkhead and hedging, as layers for axum and hyper servers and for outbound
//! clients, and as plain values for any async or blocking call.
//!
//! A service falls over when something it depends on slows down: its callers wait, pile up and
//! take it down with them. The layers here make it fail fast instead, shed what is too much,
//! and recover by itself.
//!
//! # A policy is a handle
//!
//! [`Timeout`], [`RateLimiter`], [`CircuitBreaker`], [`Retry`], [`Bulkhead`], [`Hedge`] and
//! [`Budget`] are plain values: cheap to clone, and every clone is the same policy. Name them, share them, read them, change them and switch
//! them off while calls run. A layer is a thin skin over one, so that state never depends on how
//! often a framework applies a layer:
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
//! The recommended layers come as one, checked together: [`ClientStack`] and [`ServerStack`],
//! whose [page](stack) says why they stand in that order. A limit per caller and a breaker per
//! host are [`Keyed`]: any layer takes one in place of a policy.
//!
//! # Where to go on
//!
//! Each pattern's module says what it does, its defaults and the reason for each, and when not to
//! use it. The [`guide`] says which layer goes where, what to avoid, what carries a deadline, and
//! what the words of other libraries are here.
//!
//! # What a refusal looks like
//!
//! A layer never changes the types of the service under it. A refusal is a [`Rejection`]: it
//! becomes the service's own error where that can carry one, and an HTTP response where the
//! service never fails. See [`rejection`].
//!
//! # Without a service
//!
//! `run` on a policy makes one call under it, such as [`CircuitBreaker::run`]; a [`Pipeline`]
//! takes several. With `--no-default-features` limiter, breaker and bulkhead depend on neither
//! tokio nor tower and serve blocking code: [`RateLimiter::acquire_blocking`],
//! [`CircuitBreaker::run_blocking`], [`Bulkhead::acquire_blocking`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tower` | yes | the layers; implies `tokio` |
//! | `tokio` | yes | what waits: [`Timeout`], [`Retry`], [`Hedge`], [`Pipeline`], `RateLimiter::acquire`, [`spawn`], [`Deadline::shield`] |
//! | `http` | no | refusals as 429, 503, 504 with `Retry-After` or as gRPC statuses; judging `http::Response` |
//! | `tracing` | yes | transitions of circuit breakers and rejections as `tracing` [events](event#tracing) |
//! | `reqwest` | no | judging `reqwest::Response`, copying `reqwest::Request`; implies `http` |
//! | `test-util` | no | every policy follows `tokio::time::pause` and `advance`; for `[dev-dependencies]` |
//!
//! A feature adds API and changes no behaviour, but for `test-util`.
//!
//! # Testing your own code
//!
//! A test with `#[tokio::test(start_paused = true)]` moves tokio's clock. For the policies to
//! follow it, add to `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! seawall = { version = "*", features = ["test-util"] }
//! ```
//!
//! In a debug build without it, the first use after an `advance` says so on standard error.
#![cfg_attr(docsrs, feature(doc_cfg))]
// A link to what a feature adds leads nowhere without it. With all features, as the docs are
// published, every link is checked.
#![cfg_attr(
    not(all(feature = "reqwest", feature = "tower")),
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
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "tower")]
pub mod guide;
// The quantile needs no runtime, and its models run without one.
#[cfg(any(feature = "tokio", test))]
pub mod hedge;
#[cfg(feature = "http")]
pub mod http;
pub mod keyed;
#[cfg(feature = "tokio")]
pub mod pipeline;
pub mod prelude;
pub mod rate_limit;
pub mod rejection;
#[cfg(feature = "tokio")]
pub mod retry;
#[cfg(feature = "tower")]
pub mod service;
#[cfg(feature = "tower")]
pub mod stack;
#[cfg(feature = "tokio")]
pub mod timeout;

#[allow(dead_code)] // Until the policies have moved to it.
mod common;
// Without a runtime nothing sets a context; it can only be read.
#[cfg_attr(not(feature = "tower"), allow(dead_code))]
mod context;
mod in_flight;
mod outcome;
mod per_thread;
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
mod registry;
mod rng;
mod sync;
#[cfg(all(test, not(seawall_loom)))]
mod testing;
mod time;

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
pub use config::{ConfigError, Mode};
pub use context::attempt;
pub use deadline::Deadline;
#[cfg(feature = "tokio")]
pub use deadline::spawn;
pub use event::Event;
#[cfg(feature = "tokio")]
pub use hedge::Hedge;
#[cfg(feature = "tower")]
pub use hedge::HedgeLayer;
pub use keyed::Keyed;
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
#[cfg(feature = "tokio")]
pub use timeout::Timeout;
#[cfg(feature = "tower")]
pub use timeout::TimeoutLayer;

#[cfg(all(doctest, feature = "http", feature = "tower"))]
#[doc = include_str!("../README.md")]
mod readme {}
