use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::time::Duration;

use crate::config::Name;
use crate::outcome::{FailureKind, Outcome};
use crate::sync::Arc;

/// Why a call was rejected or cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The rate limit has no token left, or the wait for one would be too long.
    RateLimited,
    /// The call costs more than the rate limit can ever hold. A later call of this cost is
    /// rejected too.
    CostAboveBurst {
        /// The cost of the call.
        cost: u32,
        /// The most tokens that the limit holds.
        burst: u32,
    },
    /// The circuit breaker is open, or forced open.
    CircuitOpen,
    /// The circuit breaker is half-open, and all its probe permits are in use.
    HalfOpenFull,
    /// The circuit breaker has closed and still admits only a share of the calls.
    Recovering,
    /// The call did not complete in time. It may have had its effect.
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The time from the call to the timeout.
        elapsed: Duration,
    },
    /// The body of the request did not arrive in time. The service may have read a part of it.
    RequestTimedOut {
        /// The limit.
        limit: Duration,
        /// The time that the service waited.
        elapsed: Duration,
    },
    /// The deadline had passed before the call was made.
    Expired,
    /// The call has no key, and the keyed policy rejects such calls.
    NoKey,
    /// The host gives the request no peer address, so the client is unknown. The program has to be
    /// changed, not the call.
    NoPeerAddress,
    /// The bulkhead has no permit left, and no queue position. With a limit of 0 it is closed.
    BulkheadFull {
        /// The most calls in flight.
        limit: u32,
        /// The calls in flight.
        in_flight: u32,
        /// The calls in the queue.
        queued: u32,
    },
    /// The call waited in the bulkhead's queue for the longest time allowed.
    QueueTimeout {
        /// The most calls in flight.
        limit: u32,
        /// The calls in flight.
        in_flight: u32,
        /// The calls in the queue, including this one.
        queued: u32,
        /// How long this call waited.
        waited: Duration,
    },
}

impl RejectionKind {
    /// By [`index`](Self::index).
    pub(crate) const LABELS: [&'static str; 12] = [
        "rate_limited",
        "cost_above_burst",
        "circuit_open",
        "half_open_full",
        "recovering",
        "timed_out",
        "request_timed_out",
        "expired",
        "no_key",
        "no_peer_address",
        "bulkhead_full",
        "queue_timeout",
    ];
    pub(crate) const TIMED_OUT: usize = 5;
    pub(crate) const REQUEST_TIMED_OUT: usize = 6;

    /// The number of the kind, whatever else it contains.
    pub(crate) const fn index(&self) -> usize {
        match self {
            Self::RateLimited => 0,
            Self::CostAboveBurst { .. } => 1,
            Self::CircuitOpen => 2,
            Self::HalfOpenFull => 3,
            Self::Recovering => 4,
            Self::TimedOut { .. } => Self::TIMED_OUT,
            Self::RequestTimedOut { .. } => Self::REQUEST_TIMED_OUT,
            Self::Expired => 7,
            Self::NoKey => 8,
            Self::NoPeerAddress => 9,
            Self::BulkheadFull { .. } => 10,
            Self::QueueTimeout { .. } => 11,
        }
    }

    /// A short text that never changes; the [table](crate::event#labels) has all.
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// The text that may leave the process, in the body of a response or as `grpc-message`: it names no limit, no
    /// count and no duration. The text by `Display` is for logs.
    pub fn public_text(&self) -> &'static str {
        match self {
            Self::RateLimited => "rate limit exceeded",
            Self::CostAboveBurst { .. } => "request is too large for the rate limit",
            Self::CircuitOpen
            | Self::HalfOpenFull
            | Self::Recovering
            | Self::BulkheadFull { .. }
            | Self::QueueTimeout { .. } => "service is temporarily unavailable",
            Self::TimedOut { .. } | Self::Expired => "deadline exceeded",
            Self::RequestTimedOut { .. } => "request timeout",
            Self::NoKey => "request has no key",
            // The mistake is not the caller's.
            Self::NoPeerAddress => "internal error",
        }
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited => f.write_str("rate limit exceeded"),
            Self::CostAboveBurst { cost, burst } => {
                write!(f, "cost of {cost} is above the burst of {burst}")
            }
            Self::CircuitOpen => f.write_str("circuit breaker is open"),
            Self::HalfOpenFull => {
                f.write_str("circuit breaker is half-open and all its probes are in flight")
            }
            Self::Recovering => {
                f.write_str("circuit breaker is recovering and admits only a share of the calls")
            }
            Self::TimedOut { limit, elapsed } => {
                write!(f, "timed out after {elapsed:?} (limit {limit:?})")
            }
            Self::RequestTimedOut { limit, elapsed } => {
                write!(
                    f,
                    "request body timed out after {elapsed:?} (limit {limit:?})"
                )
            }
            Self::Expired => f.write_str("deadline passed before the call was made"),
            Self::NoKey => f.write_str("call has no key"),
            Self::NoPeerAddress => f.write_str("request has no peer address"),
            Self::BulkheadFull { limit: 0, .. } => f.write_str("bulkhead is closed"),
            Self::BulkheadFull {
                limit,
                in_flight,
                queued,
            } => write!(
                f,
                "bulkhead is full (limit {limit}, {in_flight} in flight, {queued} queued)"
            ),
            Self::QueueTimeout {
                limit,
                in_flight,
                queued,
                waited,
            } => write!(
                f,
                "queued for {waited:?} without a permit (limit {limit}, {in_flight} in flight, \
                 {queued} queued)"
            ),
        }
    }
}

/// The details of a rejection: why, by which policy, and when to try again.
///
/// It is the [`source`](StdError::source) of every [`Rejection`]. An error is a rejection by this
/// library exactly if its source is a `Reason`.
///
/// A report prints an error and its sources. The rejection says what is in the reason, so the
/// reason only says whether the call was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match self.call_not_made() { true => "call was not made", false => "call was cut short" })]
pub struct Reason {
    kind: RejectionKind,
    policy: Name,
    retry_after: Option<Duration>,
    hint: Option<&'static str>,
}

impl Reason {
    /// Why the call was rejected.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The name of the policy that rejected it.
    pub fn policy(&self) -> &Name {
        &self.policy
    }

    /// How long after the rejection the policy may admit such a call, exact to the nanosecond.
    /// `None` if that is unknown, or never.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What in the program makes such rejections more frequent than its configuration says, if
    /// there is anything. For logs.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// How the policies above count this rejection: as nothing, except for a call that was made
    /// and timed out, which is a failure.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.kind {
            RejectionKind::TimedOut { .. } => Outcome::Failure {
                kind: FailureKind::Timeout,
                retry_after: None,
            },
            _ => Outcome::Ignore,
        }
    }

    /// Whether the call was rejected before it was made.
    pub(crate) fn call_not_made(&self) -> bool {
        !matches!(
            self.kind,
            RejectionKind::TimedOut { .. } | RejectionKind::RequestTimedOut { .. }
        )
    }

    /// The reason, if `error` is itself a rejection. This looks through boxes, [`std::io::Error`]
    /// and transparent variants. A rejection below any other error is a failure of that service,
    /// and is not returned: use [`find`](Self::find) for it.
    pub fn of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        if let Some(reason) = error.downcast_ref() {
            return Some(reason);
        }
        error.source()?.downcast_ref()
    }

    /// The first reason in the source chain of `error`, also below the errors of other services.
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }
}

/// The error and its sources. The error inside of an [`io::Error`] or of an `Arc` is one of them,
/// which their `source()` leaves out.
pub(crate) fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        inside(error).or_else(|| error.source())
    })
}

/// The text of an error and those of the errors that caused it, as one line.
pub(crate) fn with_causes(error: &(dyn StdError + '_)) -> String {
    let causes = error.source().into_iter().flat_map(chain);
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Some errors print their cause themselves, or only wrap it.
        match text.ends_with(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        }
    })
}

/// The error that this one only wraps.
fn inside<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error.get_ref()?);
    }
    // As in `redis::RedisError`.
    if let Some(error) = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        return Some(&**error);
    }
    let error = error.downcast_ref::<Arc<io::Error>>()?;
    Some(&**error)
}

/// A rejection by one of the library's policies.
///
/// It dereferences to its [`Reason`]. Its text is what rejected the call, why, and when to try again.
///
/// ```
/// use std::time::Duration;
/// use seawall::{Reason, Rejection, RejectionKind};
///
/// let rejection = Rejection::new(RejectionKind::RateLimited, "per caller")
///     .with_retry_after(Duration::from_millis(20));
/// assert_eq!(rejection.to_string(), "per caller: rate limit exceeded; retry after 20ms");
///
/// let boxed: Box<dyn std::error::Error> = rejection.into();
/// let reason = Reason::of(&*boxed).expect("it is a rejection");
/// assert_eq!(reason.policy().as_str(), "per caller");
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct Rejection(#[source] Reason);

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.policy, self.kind)?;
        if let Some(hint) = self.hint {
            write!(f, "; {hint}")?;
        }
        match self.retry_after {
            Some(wait) => write!(f, "; retry after {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Rejection {
    /// Makes a rejection by the policy named `policy`: for tests, and for policies of your own.
    pub fn new(kind: RejectionKind, policy: impl Into<Name>) -> Self {
        Self(Reason {
            kind,
            policy: policy.into(),
            retry_after: None,
            hint: None,
        })
    }

    /// Sets how long after the rejection to try again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.0.retry_after = wait.into();
        self
    }

    pub(crate) fn with_hint(mut self, hint: Option<&'static str>) -> Self {
        self.0.hint = hint;
        self
    }

    /// The details.
    pub fn reason(&self) -> &Reason {
        &self.0
    }

    /// Returns the details.
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
            .field("hint", &self.0.hint)
            .finish()
    }
}
