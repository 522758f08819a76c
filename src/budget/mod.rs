//! The attempt budget: how many attempts beyond the first all callers together may make.
//!
//! ```text
//!  an original call ──> + ratio ┐
//!                               v
//!                         ┌───────────┐   1 is there    ┌──────────────────────┐
//!  an extra attempt ────> │  balance  │ ──────────────> │ a retry or a hedge   │
//!                         └───────────┘                 └──────────────────────┘
//!                               │ short: a floor of so many a second is asked
//!                               └──────────> spent: the first outcome stands
//! ```
//!
//! Retries help against failures that are few and independent. In an outage they multiply the
//! load on what is already down, and a limit per call does not stop that: three attempts are
//! three times the load. A budget does.
//!
//! # What it does
//!
//! [Retry](crate::retry) and [hedge](crate::hedge) are given it, and ask it; a budget for each host
//! they find by `BudgetLayer` above them. An original call
//! adds the ratio to the balance, an extra attempt takes 1 of it. Where less than 1 is left a
//! floor of so many a second is asked, and if that has none either the extra attempt is not
//! made; the original call always is. When an epoch of 10 s is over, what is left is cut to the
//! burst: nobody saves up for an outage.
//!
//! So extra attempts are at most the ratio of the calls of this epoch and the last, and the
//! burst, and the floor for every second, exactly, from any number of threads.
//!
//! Layers do not multiply what they earn: what is inside an attempt of somebody further up draws
//! on a budget and adds nothing to it.
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
//!     .layer(HedgeLayer::new(Hedge::fixed(Duration::from_millis(50)))) // By itself, the retry's.
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
//! In a loop of your own: tell it of every original call, and ask it before any other.
//!
//! ```
//! # fn call() -> Result<u32, ()> { Err(()) }
//! let budget = seawall::Budget::percent(10);
//! budget.on_call();
//! let mut answer = call();
//! if answer.is_err() {
//!     if let Some(leave) = budget.withdraw() {
//!         leave.spend();
//!         answer = call();
//!     }
//! }
//! # let _ = answer;
//! ```
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | [`ratio`](Builder::ratio) | 10 % of calls | an outage makes 1.1 times the load a layer, not three |
//! | [`burst`](Builder::burst) | 10, there from the start | a service with little traffic may retry at all |
//! | [`floor`](Builder::floor) | 1 a second | the same; 10 a second on 1,000 replicas would be a storm |
//! | [`refill`](Builder::refill) | by every original call | by successes an outage leaves nothing but burst and floor, also for what still works |
//! | [`name`](Builder::name) | `budget@` and the place | |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Budget`] are one. Give one to all retries and hedges in front of the same
//! dependency, so that they cannot each take their share; a hedge inside an attempt, and a retry
//! that was given none, use that of the attempt.
//!
//! # Changing it while calls run
//!
//! [`set_ratio`](Budget::set_ratio), [`set_burst`](Budget::set_burst) and
//! [`set_floor`](Budget::set_floor) keep the balance. [`RecordOnly`](crate::Mode::RecordOnly)
//! gives leave always, and counts where it would not have; [`Off`](crate::Mode::Off) gives leave
//! always, and takes nothing for it.
//!
//! # Cancel safety
//!
//! A [`Withdrawal`] that is dropped goes back: in its own epoch and, as far as it would have
//! stayed, in the next. So does that of an attempt which a policy below refused, because it was
//! not made.
//!
//! # Errors
//!
//! None: a spent budget suppresses the extra attempt, and the outcome that was there stands.
//! [`snapshot`](Budget::snapshot) counts how many were suppressed.
//!
//! # When not to use it
//!
//! As a rate limit: it bounds extra attempts by the calls there are, not the calls. For what
//! has to be done in the end however long it takes: that is a queue with workers, not a retry
//! within a request.

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
