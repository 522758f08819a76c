//! Rate limit: how many calls are made in how long.
//!
//! A [`RateLimiter`] is a token bucket. It holds up to *burst* tokens and gets them at the
//! *rate*; a call takes one, or as many as it costs. A bucket that is empty refuses, and says to
//! the nanosecond when to come back, or lets the caller wait for its turn.
//!
//! ```text
//!      10 a second, burst 3
//!
//!   tokens
//!     3 ─┐  ┌ three at once
//!     2  │  │                   ╱‾‾‾‾‾‾ full: what is not used is not saved
//!     1  │  │             ╱‾‾‾‾‾
//!     0  └──┴──✗──┬──┬──┬─╱
//!              │  every 100 ms one
//!              └ refused: come back in 100 ms
//! ```
//!
//! Over any time T at most burst + rate × T calls are made, exactly, from any number of threads:
//! the bucket is one atomic word (the generic cell rate algorithm), and an admission takes no
//! lock and allocates nothing. From a [large burst](#large-bursts) threads take tokens without
//! meeting.
//!
//! # What it does
//!
//! `poll_ready` forwards. If the inner service is not ready and the limiter would refuse, it is
//! ready and the call is refused; a layer whose cost depends on the request only forwards.
//!
//! `call` takes the tokens and calls the inner service at once, or refuses. A waiting layer
//! reserves an instant in `call`, lets go of the service that was readied for it, sleeps until
//! then on one timer, readies a fresh clone and calls that. A wait that is longer than its bound
//! or than the deadline is refused at once and takes nothing; so is any wait of an attempt above
//! the first of a [retry](crate::Retry) or a hedge.
//!
//! ## Waiting
//!
//! First come, first served: who waits reserves the next free instant, and sleeps on one timer
//! until then. Whoever sleeps when a [pause](RateLimiter::pause_for) begins reserves anew when
//! the time has come.
//!
//! ## Large bursts
//!
//! Where the burst is large, at least 128 tokens for each stripe, the bucket hands out tokens
//! ahead of need, as leases of at most 64, to stripes of which each thread uses one; there is a
//! stripe to a core, rounded up to a power of two, and at most 16. A call then mostly takes a
//! token with one addition and reads no clock. [`Builder::striped`] forces it either way.
//!
//! - The limit holds as stated above. What the stripes may hold counts against the burst, an
//!   admission from a stripe counts at the time at which it is made, and before anybody is
//!   refused or made to wait all stripes are looked into.
//! - At the start the whole burst is there. After a rest up to a sixteenth of it may not be: what
//!   the stripes may hold and do not; [`available`](RateLimiter::available) says so too. Nothing
//!   else is refused early, and the rate is the same.
//! - A cost that is more than the burst less that sixteenth makes the limiter exact, once and for
//!   good. So such a cost is admitted too, in its time.
//! - While one thread is fetching a lease, another may be refused for want of it. A change of
//!   quota or a pause that falls together with the fetching of a lease loses that lease.
//! - Each stripe takes a cache line, or two: 128 bytes on most machines. A limiter without
//!   stripes takes nothing for them.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::{RateLimitLayer, RateLimiter, Reason};
//! use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let limiter = RateLimiter::per_minute(2);
//! let mut service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new(&limiter))
//!     .service(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
//! for n in 0..2 {
//!     service.ready().await?.call(n).await?;
//! }
//! let error = service.ready().await?.call(2).await.unwrap_err();
//! let reason = Reason::of(&*error).expect("two a minute");
//! println!("come back in {:?}", reason.retry_after());
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::{Quota, RateLimitLayer, RateLimiter};
//!
//! struct Query { rows: u32 }
//!
//! let limiter = RateLimiter::builder(Quota::per_second(100).burst(500))
//!     .name("rows")
//!     .build()?;
//! let layer = RateLimitLayer::waiting(&limiter)
//!     .max_wait(Duration::from_millis(250))
//!     .cost(|query: &Query| query.rows);
//! // Later, while calls run:
//! limiter.set_quota(Quota::per_second(50))?;
//! # let _ = layer;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! ```
//! use seawall::RateLimiter;
//!
//! let limiter = RateLimiter::per_second(100);
//! if limiter.allow() {
//!     // make the call
//! }
//! ```
//!
//! With a quota of another shape, and waiting:
//!
//! ```
//! use std::time::Duration;
//! use seawall::{Quota, RateLimiter};
//!
//! # fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter = RateLimiter::builder(Quota::new(30, Duration::from_secs(10)).burst(5))
//!     .name("geocoder")
//!     .max_wait(Duration::from_millis(500))
//!     .build()?;
//! limiter.acquire_blocking()?; // or `limiter.acquire().await?`
//! // An upstream said when to come back:
//! limiter.pause_for(Duration::from_secs(3));
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | rate | required | no number fits all |
//! | [`burst`](Quota::burst) | what one period gives | a limit per second is understood to hold for the second |
//! | at the start | full | a restart must not refuse |
//! | without a token | refuses | waiting is asked for, by the layer's type, with its bound |
//! | [`max_wait`](Builder::max_wait) | 1 s, and the deadline in force | smooths a burst, and the caller still wants the answer |
//! | [`max_pause`](Builder::max_pause) | 60 s | one wrong header must not stop a client for a day |
//! | [`striped`](Builder::striped) | where stripes take at most a sixteenth of the burst | cores that share one word wait for each other |
//! | [`name`](Builder::name) | `rate_limit@` and the place | a rejection must say which limit it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`RateLimiter`], layers over it and services made by them are one limit; those
//! that refuse and those that wait may share it. [`RateLimiter::all_of`] asks several limits as
//! one, such as one per second and one per day.
//!
//! # Changing it while calls run
//!
//! [`set_quota`](RateLimiter::set_quota), [`set_mode`](RateLimiter::set_mode),
//! [`pause_for`](RateLimiter::pause_for) and [`resume`](RateLimiter::resume) take effect with the
//! next call. Nothing that is owed is forgotten, and nobody who waits is called back.
//! [`RecordOnly`](crate::Mode::RecordOnly) takes tokens and counts what it would have refused,
//! [`Off`](crate::Mode::Off) admits all and takes none.
//!
//! # Cancel safety
//!
//! A dropped [`Reservation`], and a dropped future of `RateLimiter::acquire` (feature `tokio`),
//! gives its tokens back whole if no other was reserved after it, and else not at all: what
//! later ones were promised rests on it. A token whose call was made is spent, whatever became
//! of the call.
//!
//! # Errors
//!
//! [`RejectionKind::RateLimited`](crate::RejectionKind::RateLimited), with how long to wait unless the limiter is
//! stopped; [`RejectionKind::CostAboveBurst`](crate::RejectionKind::CostAboveBurst), which no waiting helps; where
//! the caller would wait, also [`RejectionKind::Expired`](crate::RejectionKind::Expired). The first two are a 429 in
//! HTTP and `RESOURCE_EXHAUSTED` in gRPC. `Retry-After` is in whole seconds, rounded up.
//!
//! # When not to use it
//!
//! To protect a service from more work than it can do at once: that is a limit on how many
//! calls are in flight, since a slow service is overrun at any rate. To share one limit between
//! processes: this one knows only its own.

#[cfg(feature = "tokio")]
mod acquire;
mod ask;
mod builder;
#[cfg(feature = "tower")]
mod cost;
mod joint;
#[cfg(feature = "tower")]
mod layer;
mod limit;
mod per_key;
mod policy;
mod quota;
mod reservation;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
pub(crate) mod table;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

#[cfg(feature = "tokio")]
pub use acquire::Acquire;
pub(crate) use ask::Ask;
pub use builder::Builder;
#[cfg(feature = "tower")]
pub use cost::{Cost, One, PerRequest};
#[cfg(feature = "tower")]
pub use layer::{RateLimitLayer, Refusing, Waits};
pub use policy::{RateLimiter, Snapshot};
pub use quota::Quota;
pub use reservation::Reservation;
#[cfg(feature = "tower")]
pub use service::{RateLimitService, WaitingFuture, WaitingService};
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) use state::fuzz;
pub(crate) use state::{Bucket, Charge, Shortfall};
