//! Several policies around a closure that makes a new call for each attempt.
//!
//! ```text
//! run ─> fallback ─> timeout ─> retry ─> hedge ─> breaker ─> bulkhead ─> limiter ─> attempt timeout ─> call
//!                    the whole call      for each attempt from here on
//! ```
//!
//! # What it does
//!
//! The order is fixed, whatever the order in which the policies are given:
//!
//! - The **fallback** is outermost, so it also answers the end of the timeout, in its own time.
//! - The **timeout** covers queues, backoffs and every attempt.
//! - **Retry** is around **hedge**: a hedge adds an attempt to one attempt, and both use one budget.
//! - The **breaker** is inside both, so it sees every attempt, and while it is open an attempt costs
//!   nothing. It does not count rejections by the policies below it.
//! - The **bulkhead** is inside the breaker, so a rejected attempt takes no permit. A permit is held
//!   for one attempt, not during a backoff.
//! - The **limiter** is last before the call, so only attempts that are sent take a token.
//! - The **attempt timeout** is innermost, so it does not include time in queues, and every policy
//!   above sees the timeout.
//!
//! Nothing has to be `Clone`, because every attempt is a new call. For `reqwest` this is usually the
//! most convenient form.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::time::Duration;
//! use seawall::{Backoff, CircuitBreaker, Pipeline, Retry};
//!
//! let search = CircuitBreaker::new("search");
//! let pipeline = Pipeline::new()
//!     .timeout(Duration::from_secs(5))
//!     .retry(Retry::new(Backoff::exponential(Duration::from_millis(50))))
//!     .breaker(&search)
//!     .attempt_timeout(Duration::from_millis(800));
//!
//! let found = pipeline.run(|attempt| async move { Ok::<_, std::io::Error>(attempt) }).await;
//! assert_eq!(found.unwrap(), 1);
//! # }
//! ```
//!
//! # Customised
//!
//! ```
//! use std::time::Duration;
//! use seawall::classify::ErrorsOnly;
//! use seawall::{Budget, Bulkhead, CircuitBreaker, Hedge, Pipeline, RateLimiter, Retry};
//!
//! let (near, far) = (CircuitBreaker::new("near"), CircuitBreaker::new("far"));
//! let budget = Budget::percent(5);
//! let pipeline = Pipeline::new()
//!     .retry(Retry::builder().max_attempts(2).budget(&budget).build()?)
//!     .hedge(Hedge::fixed(Duration::from_millis(80)))
//!     // The first attempt goes to one host, all others to another.
//!     .breaker_by(move |attempt| if attempt == 1 { near.clone() } else { far.clone() })
//!     .bulkhead(Bulkhead::builder(64).queue(16).build()?)
//!     .waiting_limiter(RateLimiter::per_second(100))
//!     .attempt_timeout(Duration::from_millis(300))
//!     .classify(ErrorsOnly); // For responses that are neither data nor of HTTP.
//! # let _ = pipeline;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Defaults
//!
//! | setting | default | why |
//! |---|---|---|
//! | every policy | none: `Pipeline::new()` makes the call once | the code that builds a pipeline shows everything in it |
//! | bulkhead | attempts wait if the bulkhead has a queue | a queue is configured for waiting |
//! | limiter | rejects; [`waiting_limiter`](Pipeline::waiting_limiter) waits | waiting is chosen, together with its bound |
//! | [`classify`](Pipeline::classify) | [`Direct`](crate::classify::Direct): data is a success, a response says so itself, an error is known by its source chain | the first line that compiles is right |
//!
//! # Sharing
//!
//! A pipeline is a list of handles. Clones share every policy in it, and so do pipelines made of
//! the same policies.
//!
//! # Changing it while calls run
//!
//! Change or switch off the policies themselves.
//!
//! # Cancel safety
//!
//! Dropping the future of `run` drops the attempts in flight. Permits, queue positions, budget and
//! tokens are released as each policy describes.
//!
//! # Errors
//!
//! The error of the call, or the rejection by the policy that rejected it or cut it short; neither
//! if the fallback has answered.
//!
//! # When not to use it
//!
//! For calls that must be made at most once, leave out retry and hedge. Around a tower service use
//! the layers.

mod action;
mod list;
mod piped;
mod run;
#[cfg(all(test, feature = "test-util", not(seawall_loom)))]
mod tests;

pub use action::NoFallback;
pub use list::Pipeline;
