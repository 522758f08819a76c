//! Fallback: another answer for a call that failed or was rejected.
//!
//! ```text
//!  call ──> fallback ──> timeout ──> retry ──> breaker ──> service
//!              │  ^                                           │
//!              │  └──────── a failure, or a rejection ────────┘
//!              └──> a value, a closure or another service
//!                   limit: 64 at once, timeout: 1 s
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards, and `call` calls the inner service at once. A success, and an outcome that
//! is neither success nor failure, is returned as it is. After a failure, or a rejection by a policy
//! below, the [action](Action) answers: a [`value`], a [`call`](call()) of a closure, or another
//! `service` (feature `tower`). If the answer fails too, takes longer than the timeout, or cannot be
//! requested, the first failure is returned. It is kept until then, with its response.
//!
//! A call that is dropped has no fallback, and neither has one that panics. Nothing is called once
//! the caller's deadline has passed: put the fallback outside of the timeout whose end it is to
//! answer.
//!
//! The limit keeps a slow fallback from taking the process down: when everything fails, all calls
//! arrive at the fallback, and those above the limit get their own failure at once.
//!
//! Over HTTP a call is judged here by its head, also in an HTTP stack. A response whose body breaks
//! off has started and is not replaced: its reader gets the error. To answer such a call too, read
//! the body inside of it, by [`Fallback::run`] around a closure that sends the request and reads the
//! response, or in the service below the layer.
//!
//! Rejections that show a mistake in the program or the request are not answered: a missing key, a
//! missing peer address, and a cost above the burst.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::fallback::{Fallback, FallbackLayer, value};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let service = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(Fallback::new(), value(Vec::new())))
//!     .service(service_fn(|_: u32| async { Err::<Vec<u32>, BoxError>("down".into()) }));
//! assert!(service.oneshot(7).await?.is_empty());
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::fallback::{Fallback, FallbackLayer, call};
//! # use tower::BoxError;
//!
//! let fallback = Fallback::builder()
//!     .name("cached prices")
//!     .limit(16)
//!     .timeout(Duration::from_millis(50))
//!     .on_event(|event| println!("{event:?}"))
//!     .build()?;
//! let layer = FallbackLayer::new(&fallback, call(|cause| async move {
//!     Ok::<_, BoxError>(format!("cached, because of {cause:?}"))
//! }));
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`Fallback::run`] makes one call. A [`Pipeline`](crate::Pipeline) takes a fallback as its
//! outermost policy.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use seawall::CircuitBreaker;
//! use seawall::fallback::{Fallback, value};
//!
//! let payments = CircuitBreaker::new("payments");
//! payments.force_open();
//! let fallback = Fallback::new();
//! let answer = fallback.run(value(0), || payments.run(|| async { Ok::<_, std::io::Error>(42) }));
//! assert_eq!(answer.await.unwrap(), 0);
//! # }
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | [`limit`](Builder::limit) | 64 calls of the fallback at once | calls that end in 10 ms are 6,400 a second; a fallback that hangs holds 64 calls and no more. Chosen by reasoning: no row of the [outage table](crate::guide::numbers) decides it |
//! | [`timeout`](Builder::timeout) | 1 s | the caller has waited for the call already, and a fallback is a near and cheap answer |
//! | [`failures`](Builder::failures) | every kind | the classifier says what a failure is |
//! | [`rejections`](Builder::rejections) | answered | a caller of an open breaker needs an answer as much as one of a dead service |
//! | a request for another service | is sent if it is idempotent, or if the call had no effect | an order must not be placed twice |
//! | [`name`](Builder::name) | `fallback@` and the call site | its events must say which fallback it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Fallback`], layers over it and services made by them share one limit. What they
//! answer with belongs to the layer.
//!
//! # Changing it while calls run
//!
//! [`change`](Fallback::change) applies to failures from now on, [`set_mode`](Fallback::set_mode) to
//! calls that start from now on. [`RecordOnly`](crate::Mode::RecordOnly) returns the failure, and
//! emits the fallback as one that it would have called; [`Off`](crate::Mode::Off) only forwards.
//!
//! # Cancel safety
//!
//! Dropping the response future drops the call, or the call of the fallback and its permit. After a
//! drop nothing is called.
//!
//! # Errors
//!
//! None of its own: it returns what the service returned, or the answer.
//!
//! # When not to use it
//!
//! - For a fallback that is as likely to fail as the call, such as the same database by another
//!   path: it adds load to an outage.
//! - Where a caller can act on the failure better than on a false answer. A balance of 0 is not
//!   "unknown".
//! - For a second attempt at the same service: that is a [retry](crate::retry), with a budget.

mod action;
mod builder;
mod call;
#[cfg(feature = "tower")]
mod layer;
mod permit;
mod policy;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
#[cfg(feature = "tower")]
mod through;

pub use action::{Action, Call, Keep, Value, call, value};
pub use builder::Builder;
pub use call::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::FallbackLayer;
pub use policy::{Fallback, Snapshot};
#[cfg(feature = "tower")]
pub use service::FallbackService;
pub use state::Cause;
#[cfg(feature = "tower")]
pub use through::{Sent, Through, service};
