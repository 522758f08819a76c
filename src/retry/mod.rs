//! Retry: repeats a failed call after a backoff, within a budget.
//!
//! ```text
//!          ┌─────────┐ success, rejection, permanent failure
//!  call ──>│ attempt │ ────────────────────────────────────────────> its outcome
//!          └─────────┘
//!            ^     │ failure
//!            │     v
//!            │   attempts left? may be sent again? before the deadline? in the budget?
//!            │     │ yes                          └─ no ────────────> the failure
//!            │     v
//!            └── backoff: holds a budget permit and the request, no service
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards. `call` copies the request, and calls the inner service at once. After a
//! failed attempt the retry waits for the backoff and makes the next attempt with a clone of the
//! template service, which is polled until it is ready immediately before its call.
//!
//! During the backoff the retry holds no service and no response: the next attempt may need the
//! connection. HTTP/1 closes a connection whose body was not read, so the retry first reads up to
//! 64 KiB of a failed response, for at most 10 ms of the backoff. It can read the bodies of hyper
//! and reqwest, and other bodies if [`Judge::drain`](crate::classify::Judge::drain) is implemented.
//!
//! A backoff that would end after the [deadline](crate::Deadline) does not start: the failure is
//! returned at once. The same holds when the [budget](crate::budget) is spent, and when the
//! failure has a delay (`Retry-After`) longer than [`retry_after_cap`](Builder::retry_after_cap). A
//! delay that cannot be parsed, and a negative `grpc-retry-pushback-ms`, count as longer than every
//! cap.
//!
//! The retry does not repeat:
//!
//! - rejections by this crate, and outcomes that are [`Ignore`](crate::Outcome::Ignore) or
//!   [`Permanent`](crate::classify::FailureKind::Permanent);
//! - requests that cannot be copied.
//!
//! The outcome of an attempt decides which requests are sent again:
//!
//! | outcome | sent again |
//! |---|---|
//! | [`Unsent`](crate::classify::FailureKind::Unsent): no part of the request reached the service | every request |
//! | [`Throttled`](crate::classify::FailureKind::Throttled) with a delay: the service did no work, and said when to try again | every request |
//! | any other failure, including a timeout and a 408: it may have taken effect | [`Idempotent`](crate::attempts::Idempotent) requests, or those of [`only`](RetryLayer::only) |
//!
//! An `http::Request` is idempotent by its method or its `Idempotency-Key`. If a retry is
//! due but not made, an event with the [reason](crate::event::Suppression) is emitted.
//!
//! If the backoff ends after the deadline, or the service becomes ready only then, no call is made:
//! the last error is returned, and the budget is refunded. If the last failure was a response, it
//! has been dropped: there is no outcome to return, and the outer timeout ends the call.
//!
//! The layers below an attempt read its number with [`attempt`](crate::attempt()). A second or
//! later attempt never queues in a bulkhead. In a limiter that waits, it waits like any other call,
//! within its deadline. Retries do not multiply: inside such an attempt, a nested retry makes only
//! one attempt.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Backoff, Budget, Retry, RetryLayer};
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
//!     .service(service_fn(|n: u32| async move {
//!         match seawall::attempt() {
//!             Some(1) => Err(BoxError::from("busy")),
//!             _ => Ok(n),
//!         }
//!     }));
//! assert_eq!(service.oneshot(7).await?, 7);
//! assert_eq!(retry.snapshot().retried, 1);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Backoff, Retry, RetryLayer};
//!
//! struct Query { text: String, writes: bool }
//!
//! let retry = Retry::builder()
//!     .name("search")
//!     .backoff(Backoff::decorrelated(Duration::from_millis(20)))
//!     .max_attempts(4)
//!     .max_elapsed(Duration::from_secs(3))
//!     .on_event(|event| println!("{event:?}"))
//!     .build()?;
//! let layer = RetryLayer::new(&retry)
//!     .only(|query: &Query| !query.writes)
//!     .resend(|query: &Query| Some(Query { text: query.text.clone(), writes: false }));
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`Retry::run`] gives the closure the number of the attempt, and the closure makes a new call
//! for each attempt: nothing has to be `Clone`. The closure must be safe to call more than once.
//! [`Retry::run_mut`] takes an async closure that borrows mutably what it captures.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::time::Duration;
//! use seawall::{Backoff, Retry};
//!
//! let retry = Retry::new(Backoff::exponential(Duration::from_millis(1)));
//! let answer = retry.run(|attempt| async move {
//!     if attempt == 1 { Err(std::io::Error::other("busy")) } else { Ok("done") }
//! });
//! assert_eq!(answer.await.unwrap(), "done");
//! # }
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | [`max_attempts`](Builder::max_attempts) | 3, including the first | three tries serve 97 % where 30 % of the calls fail (row `errors-30` of the [outage table](crate::guide::numbers)), and one try serves 70 %. A fault that outlasts three tries is not a short one |
//! | [`backoff`](Builder::backoff) | 50 ms, doubling to 2 s, full jitter | callers that failed together must not come back together. Three attempts outlast a restart of 120 ms (`restart-120ms`), but not one of 2 s (`restart-2s`) |
//! | [`throttled_base`](Builder::throttled_base) | 1 s | an overloaded service needs time. Chosen by reasoning: no row decides it |
//! | [`retry_after_cap`](Builder::retry_after_cap) | 30 s; the wait is at least the `Retry-After`, with jitter on top | the dependency knows best, within reason. No row decides it |
//! | [`budget`](Builder::budget) | a budget of its own: half of the successes, burst 10 | successes pay for extra attempts (`replica-errors`), and a dead dependency gets only the extra attempts that were saved (`outage-500`; [`budget`](crate::budget#defaults)) |
//! | [`max_elapsed`](Builder::max_elapsed) | none | a timeout above bounds the attempts too |
//! | [`nested`](Builder::nested) | off | three attempts of three are nine |
//! | [`only`](RetryLayer::only), if the attempt may have taken effect | idempotent requests | an order must not be placed twice |
//! | [`name`](Builder::name) | `retry@` and the call site | its events must say which retry it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Retry`], layers over it and services made by them are one retry with one
//! budget. Share a [`Budget`](crate::Budget) between the retries and hedges of a stack. A hedge
//! inside an attempt uses the budget of the retry, and so does a nested
//! retry that was not given a budget.
//!
//! # Changing it while calls run
//!
//! [`change`](Retry::change) and [`set_mode`](Retry::set_mode) apply to calls that start from now
//! on. [`RecordOnly`](crate::Mode::RecordOnly) makes one attempt, and emits an event for the next one
//! that it would have made. [`Off`](crate::Mode::Off) only forwards.
//!
//! # Cancel safety
//!
//! Dropping the response future drops the attempt under way. What was taken from the budget is
//! refunded, unless the attempt was made.
//!
//! # Errors
//!
//! None of its own: it returns what the service returned for the last attempt that was made. If a
//! layer below rejects a second or later attempt, or the service does not become ready for it, the
//! error of the previous attempt is returned. If the previous attempt failed with a response instead of an
//! error, the rejection is returned: that response was dropped before the backoff, because it may hold
//! the connection that the next attempt needs.
//!
//! # When not to use it
//!
//! - Around calls that must not happen twice.
//! - Around a client that retries by itself: the attempts multiply.
//! - Without a budget, against a dependency that is slow because it is busy.
//!
//! A retry belongs outside the breaker and the timeout of one attempt, and inside the timeout of the
//! whole call.

mod builder;
#[cfg(feature = "tower")]
mod future;
#[cfg(feature = "tower")]
mod layer;
mod permit;
mod policy;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

pub use builder::Builder;
#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::RetryLayer;
pub use policy::{Retry, Snapshot};
#[cfg(feature = "tower")]
pub use service::RetryService;
