//! Bulkhead: at most so many calls at once.
//!
//! ```text
//!                limit: 4
//!             ┌───────────┐
//!  call ────> │ ● ● ● ○   │ ──────────> service
//!     │       └───────────┘
//!     │             ^ a call ends, and the next one goes
//!     │  full       │
//!     ├─ BulkheadLayer::new     refused at once
//!     └─ BulkheadLayer::queued  ● ● ● ○ ○ ○   waits; refused if the queue is full,
//!                               queue: 6      or after max_wait, or at the deadline
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards, and reserves nothing: idle clones hold no place. If the inner service
//! is not ready and the bulkhead would refuse, it is ready and the call is refused.
//!
//! `call` takes a place and calls the inner service at once, or refuses. A queued layer takes a
//! place in the queue in `call` if there is no other, lets go of the service that was readied for
//! it, waits, readies a fresh clone and calls that. Nobody overtakes those who queue.
//!
//! The place is held until the response head is there, or the call is dropped or panics, and is
//! free before the caller sees the outcome. While somebody queues it is handed over and never
//! free in between. How many are in flight never exceeds the limit, from any number of threads;
//! only after it was lowered those already in flight may.
//!
//! An extra attempt of a retry or a hedge never queues: it is admitted at once or refused.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::{Bulkhead, BulkheadLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let reports = Bulkhead::new(64);
//! let service = ServiceBuilder::new()
//!     .layer(BulkheadLayer::new(&reports))
//!     .service(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
//! assert_eq!(service.oneshot(7).await?, 7);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Bulkhead, BulkheadLayer};
//!
//! let reports = Bulkhead::builder(64)
//!     .name("reports")
//!     .queue(128)
//!     .max_wait(Duration::from_millis(50))
//!     .lifo()
//!     .build()?;
//! let layer = BulkheadLayer::queued(&reports);
//! // Later, while calls run:
//! reports.set_limit(32);
//! println!("{:?}", reports.snapshot());
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`try_acquire`](Bulkhead::try_acquire) takes a place or is refused, `acquire` (feature
//! `tokio`) queues for one and [`acquire_blocking`](Bulkhead::acquire_blocking) blocks for one;
//! `run` and `run_blocking` make one call in a place that is free, `run_queued` one that queues
//! for it.
//!
//! ```
//! use seawall::Bulkhead;
//!
//! let reports = Bulkhead::new(1);
//! let permit = reports.try_acquire()?; // The place is held until the permit goes.
//! assert!(reports.try_acquire().is_err());
//! permit.release();
//! let pages = reports.run_blocking(|| Ok::<_, std::io::Error>(12));
//! assert_eq!(pages.unwrap(), 12);
//! # Ok::<_, seawall::Rejection>(())
//! ```
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | limit | required | no number fits all; throughput times latency is a beginning |
//! | [`queue`](Builder::queue) | 0 | to be refused at once is what a caller can act on |
//! | without a place | refused | waiting is asked for, by the layer's type |
//! | [`max_wait`](Builder::max_wait) | 100 ms, and the deadline in force | longer serves callers who have given up |
//! | [`order`](Builder::order) | first come, first served | the other is for lasting overload |
//! | [`name`](Builder::name) | `bulkhead@` and the place | a rejection must say which limit it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Bulkhead`], layers over it and services made by them are one limit, and one
//! queue. Those that refuse and those that queue may share it.
//!
//! # Changing it while calls run
//!
//! [`set_limit`](Bulkhead::set_limit) blocks nobody: raised, as many of those who queue go
//! ahead; lowered, what is in flight goes on; zero closes. The length of the queue and its
//! longest wait change for who comes from now on, its order at once. In
//! [`RecordOnly`](crate::Mode::RecordOnly) calls are let ahead above the limit and counted as
//! what it would have refused; what begins while it is [`Off`](crate::Mode::Off) is not in its
//! count. In both, those who queue go ahead.
//!
//! # Cancel safety
//!
//! A call that is dropped while it queues leaves the queue; if it was handed a place in that
//! moment the next one gets it. Dropped in flight its place is free at once, or handed over. So
//! after a panic in the inner service.
//!
//! # Errors
//!
//! [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull) and
//! [`RejectionKind::QueueTimeout`](crate::RejectionKind::QueueTimeout), both with the limit, how many were in
//! flight and how many queued; [`RejectionKind::Expired`](crate::RejectionKind::Expired) for a call that would have
//! to queue when its deadline has passed. The first two are a 503 in HTTP and `UNAVAILABLE` in
//! gRPC, the last a 504. None says when to come back: nobody knows when a call in flight will
//! end.
//!
//! # When not to use it
//!
//! To bound how many calls are made in a time: that is a
//! [rate limit](crate::rate_limit). With a long queue in place of a limit that fits: it makes
//! every caller wait and none succeed. To share a limit between processes: this one lives in
//! one.

mod future;
#[cfg(feature = "tower")]
mod layer;
mod per_key;
mod policy;
#[cfg(feature = "tower")]
mod service;
mod state;

#[cfg(feature = "tower")]
pub use future::{QueuedFuture, ResponseFuture};
#[cfg(feature = "tower")]
pub use layer::{BulkheadLayer, Queues, Refusing};
#[cfg(feature = "tokio")]
pub use policy::Acquire;
pub use policy::{Builder, Bulkhead, Permit, Snapshot};
#[cfg(feature = "tower")]
pub use service::{BulkheadService, QueuedService};
pub use state::Order;
