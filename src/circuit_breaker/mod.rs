//! Circuit breaker: rejects calls at once while a dependency is down.
//!
//! ```text
//!              a rule holds                  the wait is over, and a call comes
//!  ┌────────┐ ────────────> ┌─────────┐ ──────────────────────────────> ┌───────────┐
//!  │ closed │               │  open   │                                 │ half-open │
//!  │ counts │               │ rejects │ <────────────────────────────── │ probes    │
//!  └────────┘               └─────────┘    too many probes fail or hang └───────────┘
//!       ^                                                                     │
//!       └─────────────────────────────────────────────────────────────────────┘
//!                 enough probes succeed (with a ramp, `Recovering` first)
//! ```
//!
//! # What it does
//!
//! While closed, the breaker counts outcomes, and opens as soon as one of its [rules](Trip) holds.
//! While open, it rejects every call without touching the service, and says when the next probe is
//! due. While half-open, it admits a few calls as probes, whose outcomes decide whether it closes.
//! The half-open state has no time limit, but a probe that hangs is given up. After every recovery
//! that fails, the breaker stays open for longer. It has no task of its own: the next call makes a
//! transition that is due.
//!
//! `poll_ready` forwards, unless the breaker would reject. In that case it returns ready without
//! polling the inner service, and `call` rejects. With a breaker per key, `poll_ready` always
//! forwards, because the key comes with the request. `call` gets a permit and calls the inner
//! service at once. The outcome is [classified](crate::classify) and settles the permit. Rejections
//! by the library's layers below say nothing about the service and are ignored, but an elapsed
//! timeout is a failure.
//!
//! Every permit carries the generation of the state in which it was given. An outcome that arrives
//! in a later generation changes nothing.
//!
//! # Example
//!
#![cfg_attr(feature = "tower", doc = "```")]
#![cfg_attr(not(feature = "tower"), doc = "```ignore")]
//! use seawall::{CircuitBreaker, CircuitBreakerLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let breaker = CircuitBreaker::new("payments");
//! let service = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new(&breaker))
//!     .service(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
//! assert_eq!(service.oneshot(7).await?, 7);
//! # Ok(()) }
//! ```
//!
//! # Customised
//!
//! ```
//! use std::time::Duration;
//! use seawall::circuit_breaker::{CircuitBreaker, Trip, Window};
//! use seawall::{Backoff, Jitter};
//!
//! let secs = Duration::from_secs;
//! let breaker = CircuitBreaker::builder("search")
//!     .trip_on(Trip::failure_rate(0.3).over(Window::time(secs(30))).min_calls(50))
//!     .trip_on(Trip::slow_rate(0.8, secs(2)).over(Window::count(100)))
//!     .open_for(Backoff::exponential(secs(2)).max(secs(30)).jitter(Jitter::Equal))
//!     .probes(5)
//!     .close_after(4)
//!     .ramp(secs(20), 0.2)
//!     .on_event(|event| println!("{event:?}"))
//!     .build()?;
//! # let _ = breaker;
//! # Ok::<_, seawall::ConfigError>(())
//! ```
//!
//! # Without a service
//!
//! [`run`](CircuitBreaker::run) and [`run_blocking`](CircuitBreaker::run_blocking) make one call
//! under the breaker and judge its outcome. [`run_with`](CircuitBreaker::run_with) takes a
//! classifier. In two steps, for code that cannot pass a closure:
//!
//! ```
//! use seawall::CircuitBreaker;
//!
//! # fn call() -> Result<u32, std::io::Error> { Ok(7) }
//! # fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = CircuitBreaker::new("payments");
//! let permit = breaker.try_acquire()?;
//! let outcome = call(); // No `?` here: it would drop the permit, and the call would be ignored.
//! match &outcome {
//!     Ok(_) => permit.success(),
//!     Err(_) => permit.failure(),
//! }
//! # outcome?;
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | setting | default | why |
//! |---|---|---|
//! | rules | 5 failures in a row that span at least 1 s and lie within 60 s; or a failure rate over 10 s in 10 buckets, from 20 calls, that is above 90 % with [confidence](Trip::confidence_z) (z = 3.1), which takes 87 calls if all fail | without a minimum time, five in a row opens the breaker every 11 s at 10,000 calls a second of which 10 % fail. With the minimum of 1 s it does not open then, and still detects a total outage within 1.2 s. With 700 ms, the worst of 60 seeds serves 33 % instead of 37 % of the calls to a dependency that alternates between down and up (`flap-2s`). A rate of 50 % turns a partial outage into a full one: if half of the calls fail, a client with that rule, retries and a budget of a tenth of the calls serves 27 %, and a plain client 50 % (row `errors-50` of the [outage table](crate::guide::numbers)). In a small sample, 90 % can fail by chance: with confidence, the rule does not open for a service that fails 70 % (`errors-70`) |
//! | slow calls | no rule | no threshold fits all |
//! | [`open_for`](Builder::open_for) | 250 ms, doubling to 1 s, with equal jitter: a random time between half of it and all of it. A backoff without a cap of its own grows up to 8 times its base | the first probe comes within a second of the dependency's recovery. With 1 s doubling to 5 s, a dependency that is down for 2 s and up for 2 s is used for half of the time it is up. In the worst of 20 runs it is used for a fiftieth (`flap-2s`). After a total outage the client serves as before within 0.8 s (`outage-500`) |
//! | [`retry_after_cap`](Builder::retry_after_cap) | 60 s, for a failure that is not throttled | the dependency knows best, within reason. Chosen by reasoning: no row decides it |
//! | [`probes`](Builder::probes) | 1, whose success closes the breaker | a dependency that works in part should be used: at 30 % errors one probe closes the breaker with a probability of 0.7, and three that must all succeed with 0.34. If a client calls every 55 s, its first success closes the breaker (`poll-55s`) |
//! | [`max_probe_time`](Builder::max_probe_time) | 30 s; in the client stack the attempt's timeout plus a second. A timeout that is set by its [handle](crate::ClientStack::attempt_timeout) does not change it | the half-open state has no time limit of its own: with one of 10 s, only 7 % of calls that take 12 s are served (`long-12s`), and a client that calls every 5 s is rejected a third of the time (`poll-5s`). Only a probe that hangs is given up |
//! | [`ramp`](Builder::ramp) | off | for a dependency that full load would overload at once, for example with a cold cache |
//! | [`on_drop`](Builder::on_drop) | a failure once the deadline has passed, or if a hedge drops the call after more than its delay; else ignored | timeouts above the breaker can open it, and so can an endpoint behind hedges that never answers. Callers that cancel cannot open it, and neither can a service whose calls are hedged in 5 % of the cases. Chosen by reasoning: no row decides it |
//! | [`throttled`](Builder::throttled) | ignored by rates, which do not count it as a call either; counted as a failure by the rules for failures in a row and for a number of failures, and as a failed probe | a server that answers 429 or 503 works. A rate that counts these answers opens for a server under ten times its capacity, which then serves less than it can (`step-2-shed`, `step-10-shed`). The exception is a server whose rejections are expensive: at ten times its capacity it serves 5 % of the calls, and would serve 9 % if its 503s counted in the rate. If nothing succeeds for 5 s, five times as long as for other failures, the run trips the breaker. So if a host throttles one tenant, its breaker stays closed while another tenant is served at least once in 5 s. The price is 0.26 instead of 0.06 attempts per call in an outage answered by 503 (`outage-503-ra`). For tenants with fewer calls, use a [breaker per tenant](crate::keyed) |
//! | [`fair_time`](Builder::fair_time) | off | half of the attempt's timeout is a good value, but the breaker does not know that timeout |
//! | name | required | it names a dependency, not a call site |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`CircuitBreaker`], layers over it and services made by them are one breaker. Make
//! one for each dependency, not one for each route.
//!
//! # Changing it while calls run
//!
//! [`change`](CircuitBreaker::change) gets a builder with the current configuration. The state
//! stays, and so do the counts of each rule whose window is the same.
//! [`force_open`](CircuitBreaker::force_open) holds until [`release`](CircuitBreaker::release);
//! [`reset`](CircuitBreaker::reset) closes and clears the counts. In [`RecordOnly`](crate::Mode::RecordOnly)
//! mode its states change as usual; a call that would have been rejected is admitted, and its
//! outcome is not counted. [`Off`](crate::Mode::Off) admits all calls and records nothing.
//! [`snapshot`](CircuitBreaker::snapshot) shows what it has counted and what tripped it last, and a
//! listener receives every transition.
//!
//! # Cancel safety
//!
//! Dropping the response future settles its permit as [`OnDrop`] says; a probe's permit is free at
//! once. A panic in the call is a failure. A completed outcome is never lost, unless its classifier
//! panics.
//!
//! # Errors
//!
//! [`RejectionKind::CircuitOpen`](crate::RejectionKind::CircuitOpen), with the time to the next
//! probe unless it is forced open; [`RejectionKind::HalfOpenFull`](crate::RejectionKind::HalfOpenFull)
//! while its probes are in flight, with the time until they are given up; [`RejectionKind::Recovering`](crate::RejectionKind::Recovering)
//! on a ramp. All are a 503 in HTTP and `UNAVAILABLE` in gRPC. An admitted call ends with the
//! service's own outcome.
//!
//! # When not to use it
//!
//! - Around several dependencies at once: if one fails, calls to the others are rejected too.
//! - Around work that depends on no server, such as a computation.
//! - To bound how long callers wait. Use a timeout below the breaker for that, so that
//!   the breaker counts what times out.

mod builder;
mod call;
mod config;
mod counts;
mod ending;
#[cfg(feature = "tower")]
mod gate;
#[cfg(feature = "tower")]
mod gates;
#[cfg(feature = "tower")]
mod layer;
mod per_key;
mod permit;
mod policy;
mod rules;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
mod streak;
#[cfg(all(test, feature = "test-util", not(seawall_loom)))]
mod tests;
mod trip;
mod window;

pub use builder::Builder;
pub use config::{OnDrop, Throttled};
pub use counts::{Counts, RuleCounts};
#[cfg(feature = "tower")]
pub use gates::Gates;
#[cfg(feature = "tower")]
pub use layer::{CircuitBreakerLayer, Gated, Rejecting};
pub use permit::Permit;
pub use policy::{CircuitBreaker, LastTrip, Probes, Snapshot};
pub use rules::Tripped;
#[cfg(feature = "tower")]
pub use service::{CircuitBreakerService, GatedService, JudgedCall};
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) use state::fuzz;
pub use state::{Cause, State, Transition};
pub use trip::{Trip, Window};
