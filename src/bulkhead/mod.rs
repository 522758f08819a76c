//! Bulkhead: a limit on how many calls run at once.
//!
//! ```text
//!                limit: 4
//!             ┌───────────┐
//!  call ────> │ ● ● ● ○   │ ──────────> service
//!     │       └───────────┘
//!     │             ^ a call ends, and the next one is admitted
//!     │  full       │
//!     ├─ BulkheadLayer::new     rejects at once
//!     └─ BulkheadLayer::queued  ● ● ● ○ ○ ○   waits; rejects if the queue is full,
//!                               queue: 6      after max_wait, or at the deadline
//! ```
//!
//! # What it does
//!
//! `poll_ready` forwards and reserves nothing: an idle clone holds no permit. If the inner service
//! is not ready and the bulkhead would reject, the layer is ready and rejects the call.
//!
//! `call` takes a permit and calls the inner service at once, or rejects. In a queued layer a call
//! that finds no permit drops the service that was readied for it, waits in the queue, readies a
//! fresh clone and calls that. No call overtakes the queue.
//!
//! The permit is held until the response head arrives, or the call is dropped or panics. It is
//! released before the caller sees the outcome. While calls wait, it is handed to a waiter, and is
//! never free in between. The number of calls in flight never exceeds the limit, from any number
//! of threads, except that calls already in flight go on after the limit was lowered.
//!
//! An extra attempt of a retry or a hedge never waits: it is admitted or rejected at once.
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
//! reports.set_limit(32)?;
//! println!("{:?}", reports.snapshot());
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`try_acquire`](Bulkhead::try_acquire) takes a permit or is rejected, `acquire` (feature
//! `tokio`) waits for one and [`acquire_blocking`](Bulkhead::acquire_blocking) blocks the thread
//! for one. `run` and `run_blocking` make one call if a permit is free; `run_queued` makes one
//! that waits for it.
//!
//! ```
//! use seawall::Bulkhead;
//!
//! let reports = Bulkhead::new(1);
//! let permit = reports.try_acquire()?;
//! assert!(reports.try_acquire().is_err());
//! permit.release();
//! let pages = reports.run_blocking(|| Ok::<_, std::io::Error>(12));
//! assert_eq!(pages.unwrap(), 12);
//! # Ok::<_, seawall::Rejection>(())
//! ```
//!
//! # Defaults
//!
//! | option | default | why |
//! |---|---|---|
//! | limit | required | no number fits all; start from throughput times latency |
//! | [`queue`](Builder::queue) | 0 | a caller can act on a rejection at once |
//! | a call without a permit | is rejected | waiting is part of the layer's type |
//! | [`max_wait`](Builder::max_wait) | 100 ms, and the deadline in force | longer serves callers that have given up |
//! | [`order`](Builder::order) | first in, first out | last in, first out is for lasting overload |
//! | [`name`](Builder::name) | `bulkhead@` and the call site | a rejection must say which limit it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`Bulkhead`], layers over it and services made by them share one limit and one
//! queue. Layers that reject and layers that queue may share it. If the bulkhead has a queue that the
//! layer does not use, or the layer may wait and the bulkhead has no queue, a rejection
//! [says so](crate::Reason::hint).
//!
//! # Changing it while calls run
//!
//! [`set_limit`](Bulkhead::set_limit) blocks no caller. A raised limit admits waiters, a lowered
//! one leaves calls in flight alone, and zero closes. [`change`](Bulkhead::change) changes the rest
//! too: the length of the queue and the longest wait hold for calls that start later, the order at
//! once. In [`RecordOnly`](crate::Mode::RecordOnly) calls are admitted above the limit, and the
//! ones that it would have rejected are counted. Calls that begin in [`Off`](crate::Mode::Off) are
//! not counted in flight. Both modes admit the waiters.
//!
//! # Cancel safety
//!
//! A call that is dropped while it waits leaves the queue. If it was handed a permit at that
//! moment, the next waiter gets it. A call that is dropped in flight, or panics, frees its permit
//! at once or hands it over.
//!
//! If a waiter is handed a permit and is not polled before its own wait ends, it loses the permit to
//! another waiter or to a new call that may wait. The other waiter gets it before its own wait ends.
//! So two waiters in one task, of which only one is polled, block each other for at most one wait.
//!
//! # Errors
//!
//! [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull) and
//! [`RejectionKind::QueueTimeout`](crate::RejectionKind::QueueTimeout), both with the limit, the
//! calls in flight and the waiters; [`RejectionKind::Expired`](crate::RejectionKind::Expired) for a
//! call that would have to wait when its deadline has passed. The first two are a 503 in HTTP and
//! `UNAVAILABLE` in gRPC, the last a 504. None has a delay to retry after, because the end of a
//! call in flight cannot be predicted.
//!
//! # When not to use it
//!
//! - To bound how many calls are made in a period: that is a [rate limit](crate::rate_limit).
//! - With a long queue instead of a limit that fits: every caller waits and none succeeds.
//! - To share a limit between processes: this one is within a process.

#[cfg(feature = "tokio")]
mod acquire;
#[cfg(feature = "tower")]
mod layer;
mod per_key;
mod permit;
mod policy;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod waiter;

#[cfg(feature = "tokio")]
pub use acquire::Acquire;
#[cfg(feature = "tower")]
pub use layer::{BulkheadLayer, Queues, Rejects};
pub use permit::Permit;
#[cfg(all(feature = "http", feature = "tower"))]
pub use permit::SharedPermit;
pub use policy::{Builder, Bulkhead, Snapshot};
#[cfg(feature = "tower")]
pub use service::{BulkheadService, HeldCall, QueuedFuture, QueuedService};
pub use state::Order;
