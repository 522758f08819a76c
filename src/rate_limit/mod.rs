//! Rate limit: at most so many calls in a time, and a burst after a rest.
//!
//! ```text
//!             refills at the rate, up to the burst
//!                  │
//!           ┌──────v──────┐  a token is there   ┌─────────┐
//!  call ──> │ ● ● ● ● ○ ○ │ ──────────────────> │ service │
//!           └─────────────┘                     └─────────┘
//!                  │ none is there
//!                  ├─ RateLimitLayer::new      refused, and told when to come back
//!                  └─ RateLimitLayer::waiting  waits for its token, first come, first served
//! ```
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
//! In every window of length T at most burst + rate × T calls are admitted, exactly, from any
//! number of threads.
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
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | rate | required | no number fits all |
//! | [`burst`](Quota::burst) | what one period gives | |
//! | at the start | full | a restart must not refuse |
//! | without a token | refused | waiting is asked for, by the layer's type |
//! | [`max_wait`](Builder::max_wait) | 1 s | smooths a burst, and the caller still wants the answer |
//! | [`max_pause`](Builder::max_pause) | 60 s | one word of an upstream's must not stop it for a day |
//!
//! # Sharing
//!
//! Clones of a [`RateLimiter`], layers over it and services made by them are one limit.
//! [`RateLimiter::all`] asks several limits as one: all admit, or none is charged.
//!
//! # Cancel safety
//!
//! A call that is dropped while it waits gives its tokens back, unless a later one has already
//! been promised an instant that rests on them. A token whose call was made is spent.
//!
//! # Errors
//!
//! [`Why::RateLimited`](crate::Why::RateLimited), with the time to come back, to the nanosecond;
//! [`Why::CostAboveBurst`](crate::Why::CostAboveBurst) for what can never be admitted;
//! [`Why::Expired`](crate::Why::Expired) for a wait whose deadline has passed.
//!
//! # When not to use it
//!
//! To bound how many calls run at once: a rate does not know how long they take. To share a
//! limit between processes: this one lives in one.

#[cfg(feature = "tower")]
mod future;
#[cfg(feature = "tower")]
mod layer;
mod policy;
mod quota;
#[cfg(feature = "tower")]
mod service;
mod state;

#[cfg(feature = "tower")]
pub use future::{ResponseFuture, WaitingFuture};
#[cfg(feature = "tower")]
pub use layer::{Cost, One, PerRequest, RateLimitLayer, Refusing, Waits};
#[cfg(feature = "tokio")]
pub use policy::Acquire;
pub use policy::{Builder, RateLimiter, Reservation, Snapshot};
pub use quota::Quota;
#[cfg(feature = "tower")]
pub use service::{RateLimitService, WaitingService};
pub(crate) use state::{Bucket, Charge};
