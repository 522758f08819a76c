//! Hedge: an extra attempt for calls that take longer than most.
//!
//! ```text
//! call ──┬─ attempt 1 ──────────────────────────────x dropped
//!        │                                          │
//!        └── delay ──┬─ attempt 2 ──────> success ──┴──> the caller
//!                    │
//!                    └─ if the budget has one left, the request may be sent twice,
//!                       and the deadline is later than this
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards.
//!
//! `call` calls the inner service at once. If there is no answer after the delay, the hedge makes
//! another attempt: with a clone of the template service, which is polled until it is ready, and
//! with a copy of the request. The first success is returned, after all other attempts have been
//! dropped.
//!
//! A failure does not win while another attempt is in flight. An attempt that still waits for its
//! service to be ready is not in flight. What starts after a failure depends on its kind:
//!
//! | outcome | next attempt |
//! |---|---|
//! | failure | at once |
//! | throttled, or with a `Retry-After` | after the delay of the hedge |
//! | rejection by a layer below, `Ignore` | after the delay of the hedge |
//! | permanent, or a delay of [`Duration::MAX`](std::time::Duration::MAX) | none |
//!
//! If no attempt succeeds, the outcome of the first is returned.
//!
//! Each attempt reads its number with [`attempt`](crate::attempt()). An extra attempt never queues
//! in a bulkhead. In a limiter that waits, it waits like any other call, within its deadline.
//!
//! ## Which calls are hedged
//!
//! A call has extra attempts only if
//!
//! - its request may be sent twice, by [`Idempotent`](crate::attempts::Idempotent) or
//!   [`HedgeLayer::only`], and can be copied, by [`Resend`](crate::attempts::Resend) or
//!   [`HedgeLayer::resend`];
//! - the delay is known, and ends before the deadline;
//! - it is not inside an extra attempt of another policy: only first attempts hedge;
//! - the budget has one left when it is due. A spent budget suppresses the extra attempt and
//!   nothing else.
//!
//! ## The delay
//!
//! The delay is [fixed](Hedge::fixed), or a [quantile](Builder::quantile) of recent latencies, or
//! what [`HedgeLayer::delay_from`] returns. It counts from the start of the attempt before.
//!
//! The quantile is that of the last 25 to 30 s of attempts of such requests, computed again every
//! 100 ms. It is never below the true quantile of what was recorded, and above it by at most a
//! sixteenth, or 66 µs where that is more. An attempt that loses, fails or is cancelled
//! would have taken longer than it did, and is counted as longer. So a hedge that wins does not make
//! the service look faster than it is. Rejections are not counted.
//!
//! ## Where the extra attempt goes
//!
//! To a clone of the service below, and so through the same connection pool; or to another service,
//! by [`HedgeLayer::with`]: a client with a pool of its own, or another endpoint.
//!
//! | | what a hedge costs | through the same pool |
//! |---|---|---|
//! | HTTP/1 | one more connection while both attempts run. The loser's connection is closed when it is dropped, because its response has not arrived, and the next call opens a new one | the extra attempt has a connection of its own |
//! | HTTP/2 | one stream, and a reset (`RST_STREAM`) when the loser is dropped. Servers limit the resets of a connection (since CVE-2023-44487), and close one with too many | both attempts share one connection: if that is stuck, by a lost packet or a dead peer, so is the extra attempt |
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Hedge, HedgeLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let hedge = Hedge::fixed(Duration::from_millis(5));
//! let service = ServiceBuilder::new()
//!     .layer(HedgeLayer::new(&hedge))
//!     .service(service_fn(|key: u32| async move {
//!         // The first attempt is stuck.
//!         if seawall::attempt() == Some(1) {
//!             std::future::pending::<()>().await;
//!         }
//!         Ok::<_, BoxError>(key)
//!     }));
//!
//! assert_eq!(service.oneshot(7).await?, 7);
//! assert_eq!(hedge.snapshot().won, 1);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Budget, Hedge, HedgeLayer, Mode};
//!
//! #[derive(Clone)]
//! struct Query { read_only: bool, rows: u32 }
//! seawall::resend!(Query);
//!
//! // Only recorded for now: at most one extra attempt in 20 calls.
//! let budget = Budget::percent(5);
//! let hedge = Hedge::builder()
//!     .name("search")
//!     .quantile(0.98)
//!     .budget(&budget)
//!     .mode(Mode::RecordOnly)
//!     .build()?;
//! let layer = HedgeLayer::new(&hedge)
//!     .only(|query: &Query| query.read_only)
//!     .delay_from(|query: &Query, _attempt: u32| {
//!         (query.rows > 1_000).then_some(Duration::from_secs(1))
//!     });
//! // Later, while calls run:
//! hedge.set_mode(Mode::Enforce);
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`Hedge::run`] gives the closure the number of the attempt, and the closure makes a new call
//! for each attempt: nothing has to be `Clone`, and all of them may run at once. The closure must
//! be safe to call more than once.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::time::Duration;
//! use seawall::Hedge;
//!
//! let hedge = Hedge::fixed(Duration::from_millis(5));
//! let answer = hedge.run(|attempt| async move {
//!     if attempt == 1 {
//!         std::future::pending::<()>().await;
//!     }
//!     Ok::<_, std::io::Error>(attempt)
//! });
//! assert_eq!(answer.await.unwrap(), 2);
//! # }
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | [`quantile`](Builder::quantile) | 0.95 | 5 % more load at most, for the slowest 5 % |
//! | [`window`](Builder::window) | 30 s | follows a change within seconds, by hundreds of calls |
//! | [`min_samples`](Builder::min_samples) | 100 | 5 of them are above the quantile; before that nothing is hedged |
//! | [`min_delay`](Builder::min_delay) | 1 ms | the resolution of the timers |
//! | tracked range | up to 10 s | above it nothing is hedged: that is an outage, not a tail |
//! | [`max_extra`](Builder::max_extra) | 1 | the second attempt saves most, a third little |
//! | [`budget`](Builder::budget) | that of the attempt it runs in, else 10 % of the successes of its own | a service that is slow for all calls must not get twice the load |
//! | [`only`](HedgeLayer::only) | idempotent requests | an order must not be placed twice |
//! | [`name`](Builder::name) | `hedge@` and the call site | its events must say which hedge it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Hedge`], layers over it and services made by them share latencies, budget and
//! counts: use one hedge for each service that is called.
//!
//! # Changing it while calls run
//!
//! [`change`](Hedge::change), [`set_delay`](Hedge::set_delay),
//! [`set_quantile`](Hedge::set_quantile) and [`set_mode`](Hedge::set_mode) apply to calls that
//! start from now on. [`RecordOnly`](crate::Mode::RecordOnly) makes no extra attempt, and emits
//! an event when it would start one. The budget is checked and not charged, so there may be more
//! events than there would be attempts. [`Off`](crate::Mode::Off) only forwards.
//!
//! # Cancel safety
//!
//! Dropping the response future drops all attempts. What an extra attempt has taken from the budget
//! is refunded if the attempt was not made.
//!
//! # Errors
//!
//! None of its own: it rejects nothing. If no attempt succeeds, it returns the outcome of the
//! first. A template service that fails to become ready is a failed attempt.
//!
//! # When not to use it
//!
//! - For what must not be done twice.
//! - Where one backend is slow for all calls: a second call to it is slow as well.
//! - Instead of a retry: a hedge waits for no recovery.
//! - Under a balancer that sends the second call to the same backend as the first.

#[cfg(feature = "tokio")]
mod builder;
#[cfg(feature = "tower")]
mod delay;
#[cfg(feature = "tower")]
mod extra_service;
#[cfg(feature = "tower")]
mod future;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tokio")]
mod per_key;
#[cfg(feature = "tokio")]
mod permit;
#[cfg(feature = "tokio")]
mod policy;
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
mod quantile;
#[cfg(feature = "tokio")]
mod run;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "tokio")]
mod state;
#[cfg(all(test, feature = "tower", feature = "test-util", not(seawall_loom)))]
mod tests;

#[cfg(feature = "tokio")]
pub use builder::Builder;
#[cfg(feature = "tower")]
pub use delay::{Own, PerRequest};
#[cfg(feature = "tower")]
pub use extra_service::{Other, Same};
#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::HedgeLayer;
#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use permit::Latency;
#[cfg(feature = "tokio")]
pub use policy::{Hedge, Snapshot};
#[cfg(feature = "tower")]
pub use service::HedgeService;
#[cfg(feature = "tokio")]
pub(crate) use state::MOST_EXTRA;
