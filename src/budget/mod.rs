//! The attempt budget: how many attempts beyond the first all callers together may make.
//!
//! ```text
//!  an original call ──> + ratio ┐
//!                               v
//!                         ┌───────────┐   at least 1     ┌──────────────────────┐
//!  an extra attempt ────> │  balance  │ ──────────────> │ a retry or a hedge   │
//!                         └───────────┘                 └──────────────────────┘
//!                               │ short: taken from the floor of n a second
//!                               └──────────> spent: the first outcome stands
//! ```
//!
//! Retries help against failures that are few and independent. In an outage they multiply the
//! load on a dependency that is already down. A limit per call does not stop that: three attempts
//! are three times the load. A budget does.
//!
//! # What it does
//!
//! A [retry](crate::retry) or [hedge](crate::hedge) takes each extra attempt from its budget, or
//! from that of a [`BudgetLayer`] above it. An original call adds the ratio to the balance, and an
//! extra attempt takes 1. If the balance is below 1, the attempt is taken from the floor of n a
//! second; if that is used up too, the attempt is not made. The original call is always
//! made. At the end of an epoch of 10 s the balance is cut to the burst, so that nothing is saved
//! up for an outage.
//!
//! Extra attempts are therefore at most the ratio of the calls of this epoch and the last, and the
//! burst, and the floor for every second: exactly, from any number of threads.
//!
//! Layers do not multiply what they earn: a call inside an attempt of another policy takes from a
//! budget and adds nothing to it.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Backoff, Budget, Hedge, HedgeLayer, Retry, RetryLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let budget = Budget::percent(10);
//! let retry = Retry::builder()
//!     .backoff(Backoff::exponential(Duration::from_millis(5)))
//!     .budget(&budget)
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(&retry))
//!     .layer(HedgeLayer::new(Hedge::fixed(Duration::from_millis(50)))) // Uses the retry's budget.
//!     .service(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
//! assert_eq!(service.oneshot(7).await?, 7);
//! assert_eq!(budget.snapshot().made, 0);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
//! ```
//! use seawall::Budget;
//! use seawall::budget::Refill;
//!
//! let budget = Budget::builder()
//!     .name("search")
//!     .ratio(0.02)
//!     .burst(5)
//!     .floor(0)
//!     .refill(Refill::Successes)
//!     .build()?;
//! # let _ = budget;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! In a loop of your own, call [`on_call`](Budget::on_call) for every original call, and
//! [`withdraw`](Budget::withdraw) before every other attempt.
//!
//! ```
//! # fn call() -> Result<u32, ()> { Err(()) }
//! let budget = seawall::Budget::percent(10);
//! budget.on_call();
//! let mut answer = call();
//! if answer.is_err() {
//!     if let Some(withdrawal) = budget.withdraw() {
//!         withdrawal.spend();
//!         answer = call();
//!     }
//! }
//! # let _ = answer;
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | [`ratio`](Builder::ratio) | 10 % of calls | an outage makes 1.1 times the load per layer, not three |
//! | [`burst`](Builder::burst) | 10, available from the start | a service with little traffic may retry at all |
//! | [`floor`](Builder::floor) | 1 a second | the same; 10 a second on 1,000 replicas would be a storm |
//! | [`refill`](Builder::refill) | by every original call | by successes, an outage leaves only burst and floor, also for the part that still works |
//! | [`name`](Builder::name) | `budget@` and the call site | |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Budget`] are one budget. Give one to all retries and hedges in front of the same
//! dependency, so that together they take one share. A hedge or a retry that was given none uses
//! the budget of the attempt it runs in.
//!
//! # Changing it while calls run
//!
//! [`change`](Budget::change) and [`set_ratio`](Budget::set_ratio) keep the balance.
//! [`RecordOnly`](crate::Mode::RecordOnly) permits every extra attempt, and counts those that it
//! would have suppressed; [`Off`](crate::Mode::Off) permits every one and takes nothing.
//!
//! # Cancel safety
//!
//! A [`Withdrawal`] that is dropped is given back: in its own epoch whole, and in the next as far
//! as it would have been kept. The same holds for an attempt that a layer below rejected, because
//! it was not made.
//!
//! # Errors
//!
//! None: a spent budget suppresses the extra attempt, and the first outcome stands.
//! [`snapshot`](Budget::snapshot) counts the suppressed attempts.
//!
//! # When not to use it
//!
//! - As a rate limit: it bounds extra attempts by the number of calls, not the calls.
//! - For work that has to be done in the end, however long it takes: use a queue with workers, not
//!   a retry within a request.

mod builder;
#[cfg(feature = "tower")]
mod future;
#[cfg(feature = "tower")]
mod layer;
mod per_key;
mod permit;
mod policy;
#[cfg(feature = "tower")]
mod service;
mod state;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

pub use builder::{Builder, Refill};
#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::BudgetLayer;
#[cfg(feature = "tokio")]
pub(crate) use permit::Sent;
pub use permit::Withdrawal;
pub use policy::{Budget, Snapshot};
#[cfg(feature = "tower")]
pub use service::BudgetService;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) use state::fuzz;
