//! Timeout: a bound on how long a call may take, and a deadline for everything below it.
//!
//! ```text
//! call ──┬──────────── the service works ────────────┬──> its response
//!        │ Deadline::remaining() is right in here    │
//!        └── limit ──────────────────────x           │
//!                                        └─ the call is dropped, then: timed out
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards. If the inner service is not ready and the deadline that the caller
//! came with has passed, it is ready and the call is refused.
//!
//! `call` starts the clock, sets a deadline for all that runs below (the inner `call`, and every
//! poll of its future) and calls the inner service at once. The limit reaches to the response
//! head: a body that streams for longer is not cut. If response and timer are ready in the same
//! poll, the response wins. A call whose deadline has passed already is refused and not made.
//!
//! Layers of the crate that stand directly upon one another read the clock once: the reading of
//! the outermost serves all, and is older by what the functions take that they were given (what
//! copies a request, what it costs). Below any other service, and in polls, it is read anew.
//!
//! A call keeps the deadline that it has at `call`: its limit, or an earlier deadline in force
//! there. If a timeout further up enforces the earlier one, that timeout ends the call, and the
//! rejection has its name. A deadline that was only handed on, by
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
//! let reason = Reason::of(&*error).expect("it was cut short");
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
//! // Only told for now, and longer for longer reports.
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
//! [`Timeout::run`] bounds one call. Its clock starts with the first poll, and the deadline is
//! there inside as it is under a layer.
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
//! | knob | default | why |
//! |---|---|---|
//! | limit | required; zero is refused | no number fits all |
//! | reaches to | the response head | a streamed download must not be cut by accident |
//! | [`name`](Builder::name) | `timeout@` and the place | a rejection must say which of several timeouts ended the call |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Timeout`], layers over it and services made by them share limit, mode and
//! counts. Each call has a clock of its own.
//!
//! # Changing it while calls run
//!
//! [`set_limit`](Timeout::set_limit) and [`set_mode`](Timeout::set_mode) hold for calls that
//! start from now on; a running call keeps what it started with.
//! [`RecordOnly`](crate::Mode::RecordOnly) counts the calls that would have been cut and lets
//! them go on; so it sets no deadline for what runs below. Nor does
//! [`Off`](crate::Mode::Off).
//!
//! # Cancel safety
//!
//! Dropping the response future drops the call. The deadline is in force only while the call is
//! polled, and is taken back also when it panics.
//!
//! # Errors
//!
//! [`RejectionKind::TimedOut`](crate::RejectionKind::TimedOut) with the time that the call was given and the time
//! passed, which counts as a failure with the policies above: the call was made, and may have
//! had its effect. It was given less than the limit where an earlier deadline was handed on to
//! it. [`RejectionKind::Expired`](crate::RejectionKind::Expired) when the deadline had passed before: nothing was
//! done, and nothing is counted. Both are a 504 in HTTP and `DEADLINE_EXCEEDED` in gRPC; neither
//! says when to come back.
//!
//! # When not to use it
//!
//! For a bound on a whole body, which comes after the response head. Around blocking code, which
//! cannot be dropped: it goes on to the end. Around what must not be cut in the middle: give
//! that a task of its own, with [`spawn`](crate::spawn), and bound the wait for it.

mod future;
#[cfg(feature = "tower")]
mod layer;
mod policy;
#[cfg(feature = "tower")]
mod service;

#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::{DurationOf, Fixed, PerRequest, TimeoutLayer};
pub use policy::{Builder, Snapshot, Timeout};
#[cfg(feature = "tower")]
pub use service::TimeoutService;
