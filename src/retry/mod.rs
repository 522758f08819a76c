//! Retry: makes a call again that failed, after a pause, and within a budget.
//!
//! ```text
//!          ┌─────────┐ success, refusal, permanent
//!  call ──>│ attempt │ ────────────────────────────────────────────> its outcome
//!          └─────────┘
//!            ^     │ failure
//!            │     v
//!            │   attempts left? may it be sent again? before the deadline? in the budget?
//!            │     │ yes                          └─ no ────────────> the failure
//!            │     v
//!            └── backoff: holds nothing but leave for the attempt
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards. `call` copies the request if it may be sent again, and calls the inner
//! service at once. A failed attempt is followed by a backoff and by another on a fresh clone of
//! the service, which is readied immediately before its call. Nothing is held meanwhile: no
//! service, and no response, whose connection the next attempt may need.
//!
//! A wait whose end would be after the [deadline](crate::Deadline) is not begun: the failure is
//! returned now, while somebody still wants it. So it is when the [budget](crate::budget) is
//! spent, and when the failure asks for a longer delay (`Retry-After`) than
//! [`retry_after_cap`](Builder::retry_after_cap). A delay that the response gives and that cannot
//! be read, and a negative `grpc-retry-pushback-ms`, are longer than any cap.
//!
//! Not retried: the library's own refusals and what is classified as
//! [`Ignore`](crate::Outcome::Ignore) or [`Permanent`](crate::classify::FailureKind::Permanent); and
//! requests that may not be sent twice, which an `http::Request` says by its method or an
//! `Idempotency-Key`. A call that timed out is retried like any other failure: it may have had
//! its effect.
//!
//! Attempts below see their number ([`attempt`](crate::attempt())), and those above the first do
//! not wait: a rate limit below admits them at once or refuses them. Retries do not multiply:
//! below such an attempt another retry makes one.
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
//! for each: nothing has to be `Clone`. Whether the call may be made twice is then yours to
//! know.
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
//! | knob | default | why |
//! |---|---|---|
//! | [`max_attempts`](Builder::max_attempts) | 3, the first counted | what the third does not mend is no blip |
//! | [`backoff`](Builder::backoff) | 50 ms, doubling to 2 s, full jitter | callers who failed together must not come back together |
//! | [`throttled_base`](Builder::throttled_base) | 1 s | who asks for fewer calls is not asked again in 50 ms |
//! | [`retry_after_cap`](Builder::retry_after_cap) | 30 s, a floor with jitter on top | the dependency knows best, within reason |
//! | [`budget`](Builder::budget) | its own: 10 % of calls, burst 10, floor 1 a second | an outage makes 1.1 times the load, not three |
//! | [`max_elapsed`](Builder::max_elapsed) | none | a timeout above bounds the attempts too |
//! | [`nested`](Builder::nested) | off | three attempts of three are nine |
//! | [`only`](RetryLayer::only) | what the request says of itself | an order must not be placed twice |
//! | [`name`](Builder::name) | `retry@` and the place | its events must say which retry it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Retry`], layers over it and services made by them are one retry with one
//! budget. Share a [`Budget`](crate::Budget) between the retries and hedges of a stack; a hedge
//! inside an attempt draws on the retry's by itself, and so does a retry that was given none.
//!
//! # Changing it while calls run
//!
//! [`change`](Retry::change) and [`set_mode`](Retry::set_mode) hold for calls that start from
//! now on. [`RecordOnly`](crate::Mode::RecordOnly) makes one attempt and tells of the next as
//! one that it would have made; [`Off`](crate::Mode::Off) only forwards.
//!
//! # Cancel safety
//!
//! Dropping the response future drops the attempt under way. What was taken of the budget goes
//! back unless the attempt was made.
//!
//! # Errors
//!
//! None of its own: what is returned is the service's, that of the last attempt which was made.
//! When an attempt above the first is refused below, or its service fails to get ready, the
//! last error before it is returned. A failed response cannot be: it is dropped before the
//! backoff, since it may hold the connection that the next attempt needs; what is returned then
//! is the refusal.
//!
//! # When not to use it
//!
//! For what must not happen twice. Around a retry of somebody else's, such as a client with its
//! own: attempts multiply. Against a dependency that is slow because it is busy, without a
//! budget. Put it outside of the breaker and of the timeout of one attempt, and inside the
//! timeout of the whole.

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
