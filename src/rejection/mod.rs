//! What the library itself has to say, and how it enters a service's outcome.
//!
//! A layer never changes the types of the service under it. What it refuses becomes a value of
//! the service's own error or response type:
//!
//! - an error type that is a [`Carrier`] carries the [`Rejection`] as an error: `Box<dyn Error>`,
//!   [`std::io::Error`], [`Error<E>`](crate::Error), and your own enum by one line of
//!   [`carrier!`](crate::carrier);
//! - a service that never fails (`Infallible`) and answers with an `http::Response` gets a 429,
//!   503 or 504, or for gRPC a trailers-only response (feature `http`);
//! - `.respond(f)` on a layer makes anything else (see below).
//!
//! The rejection is found again with [`Reason::of`] (one step) or [`Reason::find`] (anywhere in
//! the chain).
//!
//! # Answers of your own
//!
//! `.respond(f)` takes a closure `|rejection: Rejection| -> Result<Response, Error>` that is
//! `Copy`: it travels in the response future, so it can hold a reference to a static, but no
//! `Arc`. With the feature `http`, status and `Retry-After` can be kept and only the body made:
//!
#![cfg_attr(all(feature = "http", feature = "tower"), doc = "```")]
#![cfg_attr(not(all(feature = "http", feature = "tower")), doc = "```ignore")]
//! use axum::{Router, body::Body, routing::get};
//! use seawall::{RateLimitLayer, RateLimiter, Rejection};
//!
//! let limit = RateLimitLayer::new(RateLimiter::per_second(10)).respond(|rejection: Rejection| {
//!     let json = format!("{{\"error\":\"{}\"}}", rejection.kind());
//!     Ok(rejection.into_response::<()>().map(|()| Body::from(json)))
//! });
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(limit);
//! ```
//!
//! A layer that judges outcomes (the circuit breaker, retry and hedging) has to tell refusals
//! from failures, so there the error must be one of those above, or `Infallible`, also with a
//! `.respond(..)`: a bare `reqwest::Error` or `hyper::Error` needs
//! `.map_err(seawall::Error::service)` at the bottom.
//!
//! # When the compiler says that `oneshot` or `ready` exists, but..
//!
//! Then a layer does not fit what is under it, and the compiler keeps the reason to itself. Wrap
//! the stack in [`check`], or call `ServiceExt::oneshot(service, request)` as a function, and it
//! tells. The usual reasons:
//!
//! | the stack | needs |
//! |---|---|
//! | over an error of another crate | `.map_err(seawall::Error::service)` at the bottom |
//! | over an enum of yours | [`carrier!`](crate::carrier) |
//! | with a breaker, retry or hedge over a response of yours | [`judge!`](crate::judge), or `.classify(ErrorsOnly)` |
//! | with retry or hedge over a request of yours | [`resend!`](crate::resend) |
//! | with a waiting or queued layer, retry or hedge | a service that is `Clone` |
//! | with a closure for `.respond`, `.cost`, `.classify`, `.only` | a type for its argument: `\|request: &Request<Body>\|` |

mod carrier;
mod error;
mod fault;

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::classify::{FailureKind, Outcome};
use crate::config::Name;

pub use carrier::{Carrier, Recognize};
pub use error::Error;
pub use fault::{ByError, ByReport, Fault, Nested, Opaque};

/// Why a call was refused or cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// A rate limit has no token left, or its wait would be too long.
    RateLimited,
    /// The call costs more than the limit ever holds: it is impossible, not early.
    CostAboveBurst {
        /// What the call costs.
        cost: u32,
        /// The most that can be there at once.
        burst: u32,
    },
    /// The circuit breaker is open, or forced open.
    CircuitOpen,
    /// The circuit breaker is half-open and all its probes are out.
    HalfOpenFull,
    /// The circuit breaker has closed of late and admits only a share of the calls.
    Recovering,
    /// The call did not come back in time. It may have had its effect.
    TimedOut {
        /// How long it was given.
        limit: Duration,
        /// How long it took until it was cut.
        elapsed: Duration,
    },
    /// The deadline had passed before the call was made.
    Expired,
    /// The call has no key, and a policy per key refuses such calls.
    NoKey,
    /// The bulkhead had no place left, and no place in its queue for who would wait. With a
    /// limit of 0 it is closed.
    BulkheadFull {
        /// How many calls it admits at once.
        limit: u32,
        /// How many were in flight.
        in_flight: u32,
        /// How many were queueing.
        queued: u32,
    },
    /// The call queued for a place in the bulkhead for as long as it might, in vain.
    QueueTimeout {
        /// How many calls the bulkhead admits at once.
        limit: u32,
        /// How many were in flight.
        in_flight: u32,
        /// How many were queueing, this one included.
        queued: u32,
        /// How long this one was.
        waited: Duration,
    },
}

/// All that is known of a refusal: why, by which policy, and when to come back.
///
/// It is the [`source`](StdError::source) of every [`Rejection`], and that is how a rejection is
/// told from any other error: an error is the library's own exactly if its source is a `Reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    kind: RejectionKind,
    policy: Name,
    retry_after: Option<Duration>,
}

impl Reason {
    /// Why the call was refused.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The name of the policy that refused it.
    pub fn policy(&self) -> &Name {
        &self.policy
    }

    /// From the refusal on, how long until the policy may admit such a call, to the nanosecond;
    /// none if that is not known or is never.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// How a refusal counts with the policies above: as nothing, but for a call that was made
    /// and cut short, which is a failure like any other.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.kind {
            RejectionKind::TimedOut { .. } => Outcome::Failure {
                kind: FailureKind::Timeout,
                retry_after: None,
            },
            _ => Outcome::Ignore,
        }
    }

    /// Whether the call was not made.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self.kind, RejectionKind::TimedOut { .. })
    }

    /// The reason, if `error` is itself a rejection, in whatever type carries it: through
    /// boxes, [`std::io::Error`] and transparent variants, but not below a foreign error, which
    /// is that service's failure and not the library's.
    pub fn of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        if let Some(reason) = error.downcast_ref() {
            return Some(reason);
        }
        error.source()?.downcast_ref()
    }

    /// The first reason in the chain of sources of `error`: also one that another service has
    /// wrapped in an error of its own.
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(reason) = error.downcast_ref() {
                return Some(reason);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited => f.write_str("the rate limit is exceeded"),
            Self::CostAboveBurst { cost, burst } => {
                write!(f, "a cost of {cost} is above the burst of {burst}")
            }
            Self::CircuitOpen => f.write_str("the circuit breaker is open"),
            Self::HalfOpenFull => {
                f.write_str("the circuit breaker is half-open and all its probes are out")
            }
            Self::Recovering => f.write_str(
                "the circuit breaker has closed of late and admits a share of the calls",
            ),
            Self::TimedOut { limit, elapsed } => {
                write!(f, "timed out after {elapsed:?}, given {limit:?}")
            }
            Self::Expired => f.write_str("the deadline had passed before the call was made"),
            Self::NoKey => f.write_str("the call has no key"),
            Self::BulkheadFull { limit: 0, .. } => f.write_str("the bulkhead is closed"),
            Self::BulkheadFull {
                limit,
                in_flight,
                queued,
            } => write!(
                f,
                "the bulkhead of {limit} is full: {in_flight} in flight, {queued} queueing"
            ),
            Self::QueueTimeout {
                limit,
                in_flight,
                queued,
                waited,
            } => write!(
                f,
                "waited too long for the bulkhead of {limit}: {waited:?} with {in_flight} in \
                 flight, {queued} queueing"
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.policy, self.kind)?;
        match self.retry_after {
            Some(wait) => write!(f, ", come back in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl StdError for Reason {}

/// A refusal by one of the library's policies.
///
/// Reads like the [`Reason`] it holds.
///
/// ```
/// use std::time::Duration;
/// use seawall::{Reason, Rejection, RejectionKind};
///
/// let rejection = Rejection::new(RejectionKind::RateLimited, "per caller")
///     .with_retry_after(Duration::from_millis(20));
/// let boxed: Box<dyn std::error::Error> = rejection.into();
/// let reason = Reason::of(&*boxed).expect("it is a rejection");
/// assert_eq!(reason.policy().as_str(), "per caller");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection(Reason);

impl Rejection {
    /// A rejection as the policy named `policy` would make it; for tests and for policies of
    /// your own.
    pub fn new(kind: RejectionKind, policy: impl Into<Name>) -> Self {
        Self(Reason {
            kind,
            policy: policy.into(),
            retry_after: None,
        })
    }

    /// Says when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.0.retry_after = wait.into();
        self
    }

    /// All that is known of the refusal.
    pub fn reason(&self) -> &Reason {
        &self.0
    }

    /// All that is known of the refusal.
    pub fn into_reason(self) -> Reason {
        self.0
    }
}

impl Deref for Rejection {
    type Target = Reason;

    fn deref(&self) -> &Reason {
        &self.0
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.0.kind)
            .field("policy", &self.0.policy)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for Rejection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
