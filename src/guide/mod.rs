//! How the parts fit together.
//!
//! - [`stacking`]: the order of the layers, around a client and in a server, and what goes wrong in
//!   another order.
//! - [`anti_patterns`]: common mistakes, their consequences, and what to do instead.
//! - [`numbers`]: which numbers to change, and when, and the measurement behind each default.
//! - `configuration`, with the feature `serde`: numbers from a file and the environment, their reload
//!   while calls run, the levers for an operator, and what a stack can do to its dependency.
//! - [`deadlines`]: where a deadline is visible and where it is not.
//! - `serving`, with the feature `serve`: what ties up a server before its layers, how to know a client's
//!   address, and how to shut down.
//! - `answers`, with the feature `http`: the response that a rejected client gets.
//! - `console`, with the feature `console`: a live page of all policies, its data and its levers.
//! - [`bodies`]: calls over HTTP that last until the end of the response's body (feature `http`).
//! - `observing`, with the feature `metrics`: the names of metrics and of trace fields, with a table of each.
//! - [`clients`]: the same client written with reqwest-middleware, backon, Microsoft's fetch and this crate,
//!   and how many calls each serves in an outage.
//! - [`databases`]: a repository, a cache and blocking drivers behind the policies.
//! - [`coming_from`]: the terms of Polly, resilience4j, gobreaker, x/time/rate, failsafe-go, tower
//!   and others, the matching terms of this crate, and where they differ.
//! - [`internals`]: the packed words, their memory orderings and numbers, the models that prove
//!   them, and the cost of a call.
//!
//! `seawall::grpc` describes the stacks for gRPC (feature `http`).
//!
//! Each pattern has its own page: [`timeout`](crate::timeout), [`rate_limit`](crate::rate_limit),
//! [`circuit_breaker`](crate::circuit_breaker), [`retry`](crate::retry),
//! [`bulkhead`](crate::bulkhead), [`hedge`](crate::hedge), and the [`budget`](crate::budget) that
//! retry and hedge share. This module holds only text.

#[doc = include_str!("deadlines.md")]
pub mod deadlines {}

#[doc = include_str!("stacking.md")]
pub mod stacking {}

#[doc = include_str!("anti_patterns.md")]
pub mod anti_patterns {}

#[cfg(feature = "serve")]
#[doc = include_str!("serving.md")]
pub mod serving {}

#[cfg(feature = "console")]
#[doc = include_str!("console.md")]
pub mod console {}

#[cfg(feature = "http")]
#[doc = include_str!("answers.md")]
pub mod answers {}

#[cfg(feature = "http")]
#[doc = include_str!("bodies.md")]
pub mod bodies {}

#[cfg(feature = "metrics")]
#[doc = include_str!("observing.md")]
pub mod observing {}

// Its code needs the drivers: the package `tests/databases` compiles it.
#[cfg(not(doctest))]
#[doc = include_str!("databases.md")]
pub mod databases {}

#[cfg(feature = "serde")]
#[doc = include_str!("configuration.md")]
pub mod configuration {}

// Its code needs the peers: the package `benches/clients` compiles it.
#[cfg(not(doctest))]
#[doc = include_str!("clients.md")]
pub mod clients {}

#[doc = include_str!("numbers.md")]
pub mod numbers {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("internals.md")]
pub mod internals {}
