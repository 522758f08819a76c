//! Rate limit: bounds how many calls are made per period.
//!
//! A [`RateLimiter`] is a token bucket. It holds up to *burst* tokens and refills at a *rate*; a
//! call takes one token, or as many as it costs. If the bucket is empty, the call either waits, or
//! is rejected with the exact time to wait.
//!
//! ```text
//!      10 a second, burst 3
//!
//!   tokens
//!     3 ─┐  ┌ three at once
//!     2  │  │                   ╱‾‾‾‾‾‾ full: unused tokens do not add up
//!     1  │  │             ╱‾‾‾‾‾
//!     0  └──┴──✗──┬──┬──┬─╱
//!              │  one every 100 ms
//!              └ rejected: retry after 100 ms
//! ```
//!
//! In any period T at most burst + rate × T calls are admitted. The bound is exact, for any number
//! of threads. The bucket is one atomic word (the generic cell rate algorithm). An admission takes
//! no lock and allocates nothing. With a [large burst](#large-bursts) threads take tokens without
//! contention.
//!
//! # What it does
//!
//! `poll_ready` polls the inner service. If that is not ready and the limiter would reject, it
//! returns ready, and `call` rejects. A layer whose cost depends on the request always waits
//! for the inner service.
//!
//! `call` takes the tokens and calls the inner service at once, or rejects. In a waiting layer a call
//! that finds no tokens drops the service that was readied for it, waits in the queue, readies a
//! fresh clone and calls that. If the wait would be longer than `max_wait` or the deadline,
//! the call is rejected at once. An extra attempt of a [retry](crate::Retry) or a hedge waits like
//! any other call.
//!
//! ## Waiting
//!
//! Waiting calls queue, first come, first served. The call at the head sleeps until its tokens are
//! due and then takes them like any other call. Until then nothing is taken or reserved.
//!
//! - A call that leaves the queue costs nothing: all behind it move up.
//! - A changed quota or mode, and the start and the end of a pause, reach every waiting call at once. A
//!   call whose wait is now too long is rejected.
//! - A call that does not wait, and a [`Reservation`], do not overtake the queue: they are rejected.
//! - A waiting call that is not polled blocks those behind it only until its own wait is over. The next
//!   one proceeds 2 ms later.
//! - A call on a [joint](RateLimiter::all_of) limiter waits for the member whose tokens are due last,
//!   and does not block the queues of the others.
//! - Timers have a resolution of 1 ms. Tokens that fall due during a sleep are granted when it
//!   ends, so a quota of 5,000 a second with a burst of 1 still admits 5,000 a second. The
//!   effective burst of waiting calls is therefore at least the tokens of 2 ms.
//!
//! ## Costs known afterwards
//!
//! [`try_charge`](RateLimiter::try_charge) takes an estimate, and the [`OpenCharge`] is settled to
//! the actual cost: an excess is returned, and a shortfall becomes a debt.
//! [`try_charge_later`](RateLimiter::try_charge_later) admits a call if the tokens are available,
//! and takes them only if the call fails. The limit then holds for the final costs: burst + rate ×
//! T in any period T. If calls that are in flight together owe more, the debt is repaid before the
//! next call.
//!
//! A handler of axum that counts only failed logins, five a minute for each client:
//!
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use std::net::{IpAddr, SocketAddr};
//! use axum::extract::{ConnectInfo, State};
//! use axum::http::StatusCode;
//! use axum::response::{IntoResponse, Response};
//! use seawall::{Keyed, RateLimiter};
//!
//! # async fn is_right(_: &str) -> bool { true }
//! async fn login(
//!     State(failed): State<Keyed<IpAddr, RateLimiter>>,
//!     ConnectInfo(peer): ConnectInfo<SocketAddr>,
//!     password: String,
//! ) -> Response {
//!     let charge = match failed.try_charge_later(&peer.ip(), 1) {
//!         Ok(charge) => charge,
//!         Err(rejection) => return rejection.into_http_response::<axum::body::Body>(),
//!     };
//!     if is_right(&password).await {
//!         charge.refund();
//!         return StatusCode::OK.into_response();
//!     }
//!     StatusCode::UNAUTHORIZED.into_response() // Dropped, the charge counts.
//! }
//! # let _ = login;
//! ```
//!
//! Any number of correct logins are admitted at the same time. So are all wrong ones that are in
//! flight together; a [`Bulkhead`](crate::Bulkhead) per client limits them.
//!
//! ## Large bursts
//!
//! If the burst is at least 128 tokens for each stripe, the bucket leases tokens to stripes, at
//! most 64 at a time. There is a stripe for each core, rounded up to a power of two, at most 16;
//! a thread uses one of them. Most calls then take a token with one addition and without reading
//! the clock. [`Builder::striped`] turns it on or off.
//!
//! - The limit above still holds: leased tokens count against the burst, an admission from a
//!   stripe counts when it is made, and a call is rejected or made to wait only after all stripes
//!   were checked.
//! - The whole burst is available at the start. After an idle time up to a sixteenth of it may be
//!   missing: the part that is kept for the stripes and not leased. [`available`] counts the
//!   same way. Nothing else is rejected early, and the rate is the same.
//! - A cost above fifteen sixteenths of the burst makes the limiter exact permanently, so that such a
//!   cost is admitted too once the tokens are available.
//! - While one thread fetches a lease, another may be rejected because that lease is not there yet. A
//!   lease that is fetched during a change of quota or at the start of a pause is lost.
//! - A stripe takes 128 bytes on most machines. A limiter without stripes needs no memory for them.
//!
//! [`available`]: RateLimiter::available
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
//! println!("retry after {:?}", reason.retry_after());
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
//! With another quota, and waiting:
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
//! // The upstream has answered 429 with `Retry-After: 3`:
//! limiter.pause_for(Duration::from_secs(3));
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | option | default | reason |
//! |---|---|---|
//! | rate | required | no number fits all |
//! | [`burst`](Quota::burst) | the tokens of one period | a limit per second is meant for the whole second |
//! | tokens at the start | the burst | a restart must not reject calls |
//! | a call without a token | is rejected | waiting is a type of layer that you choose, and has a bound |
//! | [`max_wait`](Builder::max_wait) | 1 s, and the deadline in force | long enough to smooth a burst, short enough that the caller still wants the answer |
//! | [`max_pause`](Builder::max_pause) | 60 s | one wrong header must not stop a client for a day |
//! | [`striped`](Builder::striped) | on if the stripes take at most a sixteenth of the burst | without stripes, cores contend for a shared word |
//! | [`name`](Builder::name) | `rate_limit@` and the call site | a rejection must say which limit it was |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`RateLimiter`], layers over it and services made by them are one limit. Rejecting
//! and waiting layers may share it. [`RateLimiter::all_of`] makes one limit of several, such as
//! one per second and one per day.
//!
//! # Changing it while calls run
//!
//! [`set_quota`](RateLimiter::set_quota), [`set_mode`](RateLimiter::set_mode),
//! [`change`](RateLimiter::change), [`pause_for`](RateLimiter::pause_for) and
//! [`resume`](RateLimiter::resume) affect the next call and all waiting ones. A debt is kept.
//! [`RecordOnly`](crate::Mode::RecordOnly) takes tokens and counts the calls that it would have
//! rejected. [`Off`](crate::Mode::Off) admits everything and takes no token.
//!
//! # Cancel safety
//!
//! Dropping a future of `RateLimiter::acquire` (feature `tokio`) removes it from the queue, and no
//! token is taken. Dropping a [`Reservation`] before its instant returns its tokens if no others were
//! taken after them; otherwise it returns nothing, because later calls depend on them. From its
//! instant on they are spent. Dropping a call of a waiting layer returns its token if the call was not
//! made yet. The token of a call that was made is spent, whatever the call's outcome.
//!
//! # Errors
//!
//! [`RejectionKind::RateLimited`](crate::RejectionKind::RateLimited), with the time to wait unless
//! the limiter is stopped; [`RejectionKind::CostAboveBurst`](crate::RejectionKind::CostAboveBurst),
//! which no wait can satisfy; from calls that would wait also
//! [`RejectionKind::Expired`](crate::RejectionKind::Expired). The first is a 429 in HTTP and
//! `RESOURCE_EXHAUSTED` in gRPC, the second a 413 and `INVALID_ARGUMENT`, which clients do
//! not retry. `Retry-After` is in whole seconds, rounded up.
//!
//! # When not to use it
//!
//! - To protect a service from more work than it can do at once: a slow service is overloaded at any
//!   rate. Limit the calls in flight with a [`Bulkhead`](crate::Bulkhead) instead.
//! - To share one limit between processes: each process has its own bucket.

#[cfg(feature = "tokio")]
mod acquire;
mod ask;
mod builder;
#[cfg(feature = "tower")]
mod cost;
mod denied;
mod joint;
#[cfg(feature = "tower")]
mod layer;
mod limit;
#[cfg(all(test, seawall_loom))]
mod loom;
mod per_key;
mod permit;
mod policy;
mod queue;
mod quota;
mod reservation;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
pub(crate) mod table;
#[cfg(any(test, fuzzing))]
mod testing;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
mod waiter;

#[cfg(feature = "tokio")]
pub use acquire::Acquire;
pub use builder::Builder;
#[cfg(feature = "tower")]
pub use cost::{One, PerRequest};
#[cfg(feature = "tower")]
pub use layer::{RateLimitLayer, Rejects, Waits};
pub(crate) use limit::Ask;
#[cfg(feature = "serde")]
pub(crate) use per_key::Tiered;
pub use permit::OpenCharge;
pub use policy::{RateLimiter, Snapshot};
pub use quota::Quota;
pub use reservation::Reservation;
#[cfg(feature = "tower")]
pub use service::{RateLimitService, WaitingFuture, WaitingService};
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) use state::fuzz;
pub(crate) use state::{Bucket, Charge, Shortfall};
