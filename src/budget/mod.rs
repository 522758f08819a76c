//! The attempt budget: how many attempts beyond the first all callers together may make.
//!
//! ```text
//!  a success ───> + ratio ┐
//!                         v
//!                   ┌───────────┐  at least the price   ┌────────────────────┐
//!  an extra ──────> │  balance  │ ────────────────────> │ a retry or a hedge │
//!  attempt          └───────────┘  1; after throttling 5 └────────────────────┘
//!                         │ short: taken from the floor of n a second
//!                         └──────────> spent: the first outcome stands
//! ```
//!
//! Retries help against failures that are few and independent. In an outage they multiply the
//! load on a dependency that is already down. A limit per call does not stop that: three attempts
//! are three times the load. A budget does.
//!
//! # What it does
//!
//! A [retry](crate::retry) or [hedge](crate::hedge) takes each extra attempt from its budget, or
//! from that of a [`BudgetLayer`] above it. A call that succeeds, on any attempt, adds the ratio to the
//! balance: successes pay for extra attempts. The price of an extra attempt depends on the failure
//! before it:
//!
//! | before the extra attempt | price |
//! |---|---|
//! | an error, a failed response, a timeout, a call that was not sent | 1 |
//! | no failure: a hedge | 1 |
//! | [`Throttled`](crate::classify::FailureKind::Throttled): the service is overloaded | 5 |
//!
//! If the balance is below the price, an attempt at the price of 1 is taken from the floor of n a
//! second, which is 0 by default. Otherwise the attempt is not made. The original call is always made.
//! Time is divided into epochs of 4 s. A deposit is kept for its own epoch and the next, and the
//! oldest is spent first, so that little is saved up for an outage: the deposits of 4 to 8 s.
//!
//! So for any number of epochs in a row, with `deposits` of these and of the epoch before them:
//!
//! ```text
//! prices of the extra attempts <= ratio * deposits + burst + floor * seconds
//! ```
//!
//! A second that has begun counts as a whole one. The bound is exact, from any number of threads.
//!
//! Layers do not multiply what they earn: a call inside an attempt of another policy takes from a
//! budget and adds nothing to it. This is decided where the call's future is polled, so it also
//! holds behind a `tower::buffer::Buffer`, whose worker makes the call and gives its future back. A
//! call that is moved to a task of its own is an original call there, unless
//! [`seawall::spawn`](crate::spawn) carries the attempt.
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
//! // At most 2 % of the calls, also while nothing succeeds.
//! let budget = Budget::builder()
//!     .name("search")
//!     .ratio(0.02)
//!     .burst(5)
//!     .floor(1)
//!     .refill(Refill::Calls)
//!     .build()?;
//! # let _ = budget;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! In a loop of your own, call [`withdraw_after`](Budget::withdraw_after) before every attempt
//! after the first, and [`on_success`](Budget::on_success) for a call that has succeeded; with
//! [`Refill::Calls`] call [`on_call`](Budget::on_call) for every call.
//!
//! ```
//! # fn call() -> Result<u32, ()> { Err(()) }
//! use seawall::Budget;
//! use seawall::classify::FailureKind;
//!
//! let budget = Budget::percent(50);
//! let mut answer = call();
//! if answer.is_err() {
//!     if let Some(withdrawal) = budget.withdraw_after(FailureKind::Error) {
//!         withdrawal.spend();
//!         answer = call();
//!     }
//! }
//! if answer.is_ok() {
//!     budget.on_success();
//! }
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | [`ratio`](Builder::ratio) | 0.5 | one of three replicas that answers every call with an error needs 0.46 (row `replica-errors` of the [outage table](crate::guide::numbers)); 0.4 does not mend all calls |
//! | [`refill`](Builder::refill) | by successes | a dead dependency gets only what was saved (`outage-500`), and one that partly works is mended (`errors-30`) |
//! | how long a deposit is kept | 4 to 8 s | where half of the calls fail, 75 % are served; with 2 to 4 s 71 % (`errors-50`). With 5 to 10 s, 76 %, and overload answered by 500 costs 0.44 of the calls instead of 0.42 (`step-1.4-shed-500`) |
//! | price after throttling | 5 | a server that sheds load by 429 or 503 gets at most a tenth more calls (`step-2-shed`, `step-10-shed`); in exchange, fewer errors answered by 503 are mended (`errors-30-503`) |
//! | [`burst`](Builder::burst) | 10, available from the start | a client with few calls can retry at all (`errors-30-low`) |
//! | [`floor`](Builder::floor) | 0 | 1 a second is half as many calls again for a client of 2 a second (`outage-small`) |
//! | [`name`](Builder::name) | `budget@` and the call site | |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! ## Retry throttling of gRPC
//!
//! The retry design of gRPC ([A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md))
//! bounds extra attempts in another way. [`retry_throttling`](Builder::retry_throttling) chooses it,
//! for a client that must follow its service config:
//!
//! | | the budget | retry throttling |
//! |---|---|---|
//! | a success gives | the ratio | the token ratio |
//! | is paid for | an extra attempt: 1, or 5 after throttling | every failure, whether another attempt follows or not: 1 |
//! | extra attempts stop | when the balance is below the price | when half of the tokens are left |
//! | at a steady share of failures | the ratio of the successes is mended: half of them by default | all are mended below a share of ratio / (1 + ratio), 9 % for a ratio of 0.1, and none above it |
//! | a dead dependency gets | the burst | half of the tokens |
//!
//! A failure that is permanent takes no token. Per server means per
//! authority: `ClientConfig::budgets(|budget| budget.retry_throttling(10, 0.1))`.
//!
//! # Sharing
//!
//! Clones of a [`Budget`] are one budget. Give one to all retries and hedges in front of the same
//! dependency, so that together they take one share. A hedge or a retry that was given none uses
//! the budget of the attempt it runs in. Destinations that fail independently have a budget each:
//! see [`BudgetLayer`]; a [`ClientStack`](crate::ClientStack) does that for each authority.
//!
//! # Changing it while calls run
//!
//! [`change`](Budget::change) and [`set_ratio`](Budget::set_ratio) keep the balance.
//! [`RecordOnly`](crate::Mode::RecordOnly) permits every extra attempt, and counts those that it
//! would have suppressed, which have an [event](crate::event::EventKind::WouldSuppress) of their
//! retry or hedge; [`Off`](crate::Mode::Off) permits every one and takes nothing.
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
//! - As a rate limit: it bounds extra attempts by the number of successes, not the calls.
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

#[cfg(feature = "tokio")]
pub(crate) use builder::RATIO;
pub use builder::{Builder, Refill};
#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::BudgetLayer;
#[cfg(feature = "tokio")]
pub(crate) use permit::Charged;
#[cfg(feature = "tower")]
pub(crate) use permit::Deposit;
pub use permit::Withdrawal;
pub use policy::{Budget, Snapshot};
#[cfg(feature = "tower")]
pub use service::BudgetService;
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) use state::fuzz;
