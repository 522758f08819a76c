//! Scatter-gather: one question to several services, and what to do with the answers.
//!
//! ```text
//!                        ┌─> a ──> answer
//!  first, quorum, all ───┼─> b ──> answer      the calls run at once, in the task of the caller
//!                        └─> c ──> ..          what is left is dropped before the result returns
//! ```
//!
//! # What it does
//!
//! | function | returns | without it |
//! |---|---|---|
//! | [`first`] | the first success; the next call starts after a delay, or at once after a failure | the error of the first call |
//! | [`quorum`](quorum()) | the first k successes; all calls start at once | what came of the calls, as soon as k is out of reach or at the deadline |
//! | [`all`] | what came of each call; all calls start at once | the same, with what is missing after a limit or at the deadline |
//!
//! The calls are futures of one type, such as those of one `async fn`; a tower service makes one
//! with `service.clone().oneshot(request)`. Nothing is spawned: the calls are polled in the task of
//! the caller, and see its [deadline](crate::Deadline) and its [budget](crate::budget). Each wake-up
//! polls the calls that have not ended, so it is for tens of calls, not for thousands.
//!
//! Put the policies of a service around its own call: a breaker per service in each call, one
//! timeout around the whole.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use seawall::{CircuitBreaker, Error, gather};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! async fn price(shop: &CircuitBreaker) -> Result<u32, Error<std::io::Error>> {
//!     shop.run(|| async { Ok(42) }).await
//! }
//! let shops = ["north", "south"].map(CircuitBreaker::new);
//! shops[0].force_open();
//! let prices = gather::all(Duration::from_millis(300), shops.iter().map(price)).await;
//! assert_eq!(prices.responses().min(), Some(&42));
//! assert_eq!(prices.errors().count(), 1);
//! # }
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | delay, number and budget of [`first`] | those of the [hedge](crate::hedge#defaults) | every call beyond the first is load that one answer did not need |
//! | limit of [`all`] | required | an answer that is late for one service must not be late for all |
//! | limit of [`quorum`](quorum()) | the deadline in force | a write to a majority has the time that its caller has |
//!
//! # Cancel safety
//!
//! Dropping the future drops all calls, with what they hold.
//!
//! # Errors
//!
//! See each function. [`NoQuorum`] keeps what came of the calls.
//!
//! # When not to use it
//!
//! - For the same question to one service twice: that is a [hedge](crate::hedge).
//! - For calls with effects, with [`first`]: more than one may have its effect.
//! - To spread calls over the endpoints of one service: that is a balancer.

mod branches;
mod calls;
mod outcomes;

pub use calls::{all, first, first_with, quorum, quorum_with};
pub use outcomes::{Gathered, NoQuorum};
