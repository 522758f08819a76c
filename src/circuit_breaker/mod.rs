//! Circuit breaker: fails calls at once while a dependency is known to be down.
//!
//! ```text
//!              a rule holds                    its wait is over, and a call comes
//!  ┌────────┐ ─────────────> ┌────────┐ ──────────────────────────────> ┌───────────┐
//!  │ closed │                │  open  │                                 │ half-open │
//!  │ counts │                │ refuses│ <────────────────────────────── │ probes    │
//!  └────────┘                └────────┘    a probe fails, or none comes └───────────┘
//!       ^                                  back: for longer each time         │
//!       └─────────────────────────────────────────────────────────────────────┘
//!                     enough probes succeed (by way of `Recovering`, if asked for)
//! ```
//!
//! # What it does
//!
//! Closed, it counts outcomes, and opens as soon as one of its [rules](Trip) holds. Open, it
//! refuses every call without touching the service, and says when the next probe is due.
//! Half-open, it lets a few probes through; they decide whether it closes. It has no task: what
//! time brings happens with the next call that comes.
//!
//! `poll_ready` forwards. If the inner service is not ready and the breaker would refuse, it is
//! ready and the call is refused. `call` asks the breaker for a permit and calls the inner
//! service at once. The outcome is [classified](crate::classify) and ends the permit; the
//! library's own refusals from layers below say nothing of the service and are ignored, but an
//! elapsed timeout is a failure.
//!
//! Every permit carries the generation of the state it was given in. What ends late, in another
//! state, changes nothing.
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
//! under the breaker and judge its outcome; [`run_with`](CircuitBreaker::run_with) takes a
//! classifier. In two steps, for code that has no closure to give:
//!
//! ```
//! use seawall::CircuitBreaker;
//!
//! # fn call() -> Result<u32, std::io::Error> { Ok(7) }
//! # fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = CircuitBreaker::new("payments");
//! let permit = breaker.try_acquire()?;
//! let outcome = call(); // No `?` here: it would drop the permit, which is ignored.
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
//! | knob | default | why |
//! |---|---|---|
//! | rules | 5 failures in a row that last at least 1 s and lie within 60 s; or at least 90 % of at least 50 calls over 10 s in 10 buckets | five in a row alone opens every 11 s at 10,000 calls a second of which 10 % fail; a run that lasts 1 s does not, and still sees a total outage within 1.2 s. A rate of 50 % turns a partial outage into a full one: of calls of which half fail, a client with retries and that rule gets 28 % served, a plain client 50 % |
//! | slow calls | no rule | what is slow is yours to say |
//! | [`open_for`](Builder::open_for) | 250 ms, doubling to 1 s, equal jitter: half to all of it | the first probe comes within a second of the dependency's recovery; with 1 s doubling to 5 s a dependency that is down for 2 s and up for 2 s is used for half of the time it is up, in the worst of 20 runs for a fiftieth |
//! | [`retry_after_cap`](Builder::retry_after_cap) | 60 s | the dependency knows best, within reason |
//! | [`probes`](Builder::probes) | 1, which closes | what is partly well should be used: at 30 % errors one probe closes with a chance of 0.7, three that must all succeed of 0.34; and a client that calls every 55 s is closed by its first good call |
//! | [`half_open_for`](Builder::half_open_for) | 2 hours, then open | it must not end before a healthy call does: with 10 s, calls of 12 s are served at 7 %, and one call every 5 s finds it open a third of the time, for ever. A probe that hangs holds the breaker, so put a timeout below it; the client stack has one |
//! | [`ramp`](Builder::ramp) | off | for what is run over by its whole load at once, such as a cold cache |
//! | [`on_drop`](Builder::on_drop) | a failure once the deadline has passed, else ignored | timeouts above it open it; callers who hang up do not |
//! | [`fair_time`](Builder::fair_time) | off | half of the attempt's timeout is a good value, which the breaker does not know |
//! | name | required | it stands for a dependency, not for a place in the code |
//! | [`mode`](Builder::mode) | enforced | |
//!
//! # Sharing
//!
//! Clones of a [`CircuitBreaker`], layers over it and services made by them are one breaker.
//! Make one for each dependency, not one for each route.
//!
//! # Changing it while calls run
//!
//! [`change`](CircuitBreaker::change) gets a builder as the breaker is configured now; the state
//! stays, and so do the counts of each rule whose window is the same.
//! [`force_open`](CircuitBreaker::force_open) holds until [`release`](CircuitBreaker::release);
//! [`reset`](CircuitBreaker::reset) closes and forgets. In
//! [`RecordOnly`](crate::Mode::RecordOnly) it moves as ever, and what it would have refused is
//! let through unseen by its rules; [`Off`](crate::Mode::Off) admits all and records nothing.
//! [`snapshot`](CircuitBreaker::snapshot) says what it has seen and what tripped it last, and a
//! listener is told of every move.
//!
//! # Cancel safety
//!
//! Dropping the response future ends its permit, see [`OnDrop`]: a probe's slot is free at once.
//! A panic in the call is a failure. An outcome that has come in is never lost, unless
//! its classifier panics.
//!
//! # Errors
//!
//! [`RejectionKind::CircuitOpen`](crate::RejectionKind::CircuitOpen), with the time to the next probe unless it is
//! forced open;
//! [`RejectionKind::HalfOpenFull`](crate::RejectionKind::HalfOpenFull) while it is half-open;
//! [`RejectionKind::Recovering`](crate::RejectionKind::Recovering) on a ramp. All are a 503 in HTTP and `UNAVAILABLE`
//! in gRPC. A call that was admitted ends with the service's own outcome.
//!
//! # When not to use it
//!
//! Around several dependencies at once: the ill one takes the others with it. Around something
//! that never fails by being busy or away, such as a computation. To bound how long callers
//! wait: that takes a timeout, below the breaker so that it sees what times out.

mod future;
#[cfg(feature = "tower")]
mod gate;
#[cfg(feature = "tower")]
mod layer;
mod per_key;
mod policy;
mod rules;
mod run;
#[cfg(feature = "tower")]
mod service;
mod state;
mod trip;
mod window;

#[cfg(feature = "tower")]
pub use future::ResponseFuture;
#[cfg(feature = "tower")]
pub use layer::{CircuitBreakerLayer, Gated, Refusing};
pub use policy::{Builder, CircuitBreaker, Permit, Probes, RuleCounts, Snapshot, Trouble};
pub use rules::{GiveUp, OnDrop, Tripped};
#[cfg(feature = "tower")]
pub use service::{CircuitBreakerService, GatedService};
#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) use state::fuzz;
pub use state::{Cause, State, Transition};
pub use trip::{Counts, Trip, Window};
