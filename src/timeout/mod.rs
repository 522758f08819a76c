//! Timeout: a bound on how long a call may take, and a deadline for everything below it.
//!
//! ```text
//! call ──┬──────────── the service works ────────────┬──> its response
//!        │ Deadline::remaining() is right here       │
//!        └── limit ──────────────────────x           │
//!                                        └─ the call is dropped, then rejected
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards. If the inner service is not ready and the caller's deadline has passed,
//! the layer is ready and rejects the call.
//!
//! `call` starts the clock, sets a deadline for everything that runs below (the inner `call`, and
//! every poll of its future) and calls the inner service at once. The limit reaches to the response
//! head: a body that streams for longer is not cut, unless the layer lasts
//! [until its end](crate::TimeoutLayer::until_body_end) (feature `http`). If response and timer are ready in the same
//! poll, the response wins. A call whose deadline has already passed is rejected and not made.
//!
//! Directly nested layers of this crate read the clock once. The reading of the outermost one serves
//! all of them, and is older by the time that their closures take, for example
//! to copy a request. Below any other service, and in polls, the clock is read again.
//!
//! A call keeps the deadline that it has at `call`: its limit, or an earlier deadline in force
//! there. If a timeout further up enforces the earlier one, that timeout ends the call, and the
//! rejection has its name. A deadline that was only inherited, by
//! [`Deadline::scope`](crate::Deadline::scope) or [`spawn`](crate::spawn), is enforced by the first
//! timeout below it.
//!
//! A pending call always has a timer for its own limit. So a call that outlives a shorter timeout
//! which polled it, for example in a `FuturesUnordered`, ends by its own limit at the latest, even
//! if nothing else polls it. A shorter timeout that polls a call by reference does not shorten it.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Reason, TimeoutLayer, RejectionKind};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_millis(10)))
//!     .service(service_fn(|()| std::future::pending::<Result<(), BoxError>>()));
//!
//! let error = service.oneshot(()).await.unwrap_err();
//! let reason = Reason::of(&*error).expect("it timed out");
//! assert!(matches!(reason.kind(), RejectionKind::TimedOut { .. }));
//! # }
//! ```
//!
//! # Customised
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Mode, Timeout, TimeoutLayer};
//!
//! struct Report { pages: u32 }
//!
//! // Only recorded for now, and longer for longer reports.
//! let timeout = Timeout::builder(Duration::from_secs(1))
//!     .name("reports")
//!     .mode(Mode::RecordOnly)
//!     .build()?;
//! let layer = TimeoutLayer::new(&timeout)
//!     .duration_from(|report: &Report| Some(Duration::from_millis(100) * report.pages));
//! // Later, while calls run:
//! timeout.set_mode(Mode::Enforce);
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`Timeout::run`] bounds one call. Its clock starts with the first poll, and code inside sees the
//! deadline as it does under a layer.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::time::Duration;
//! use seawall::{Deadline, Timeout};
//!
//! let timeout = Timeout::new(Duration::from_secs(5));
//! let left = timeout.run(|| async { Ok::<_, std::io::Error>(Deadline::remaining()) }).await;
//! assert!(left.unwrap().is_some());
//! # }
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | limit | required; zero is rejected | no number fits all |
//! | covers | the time to the response head | a streamed download must not be cut by accident |
//! | [`name`](Builder::name) | `timeout@` and the call site | a rejection must say which of several timeouts ended the call |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Timeout`], layers over it and services made by them share limit, mode and counts.
//! Each call has its own clock.
//!
//! # Changing it while calls run
//!
//! [`set_limit`](Timeout::set_limit) and [`set_mode`](Timeout::set_mode) hold for calls that start
//! from now on; a running call keeps what it started with.
//! [`RecordOnly`](crate::Mode::RecordOnly) counts the calls that would have timed out and lets them
//! go on, so it sets no deadline for what runs below. Neither does [`Off`](crate::Mode::Off).
//!
//! # Cancel safety
//!
//! Dropping the response future drops the call. The deadline is in force only while the call is
//! polled, and is restored also when it panics.
//!
//! # Errors
//!
//! [`RejectionKind::TimedOut`](crate::RejectionKind::TimedOut) with the time that the call had and
//! the time that has passed. For the policies above it is a failure, because the call was made and
//! may have taken effect. The call had less than the limit if it inherited an earlier deadline.
//! [`RejectionKind::Expired`](crate::RejectionKind::Expired) if the deadline had passed before: the
//! call was not made, and no policy counts it. Both are a 504 in HTTP and `DEADLINE_EXCEEDED` in
//! gRPC, and neither has a delay to retry after.
//!
//! # When not to use it
//!
//! - Around blocking code, which cannot be dropped: it runs to its end.
//! - Around work that must not stop in the middle: give it its own task, with
//!   [`spawn`](crate::spawn), and bound the wait for that.

mod call;
#[cfg(feature = "tower")]
mod layer;
mod policy;
mod run;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "tower")]
mod waiter;

pub use call::Timed;
pub(crate) use call::{Started, TimedCall};
#[cfg(feature = "tower")]
pub use layer::TimeoutLayer;
pub use policy::{Builder, Snapshot, Timeout};
#[cfg(feature = "tower")]
pub(crate) use service::DurationOf;
#[cfg(feature = "tower")]
pub use service::{Fixed, PerRequest, TimeoutService};
