//! Success, failure, or neither.

use std::fmt;
use std::time::Duration;

/// What a call says about the health of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The service did its work, even if the answer is negative, such as a 404.
    Success,
    /// The service failed.
    Failure {
        /// The kind of failure.
        kind: FailureKind,
        /// The delay that the service requested before the next call. A retry waits at least this
        /// long. [`Duration::MAX`] means that no retry and no hedge follows. A circuit
        /// breaker does not use the delay.
        retry_after: Option<Duration>,
    },
    /// The call says nothing about the service's health.
    Ignore,
}

impl Outcome {
    /// A failure of this kind that requests no delay.
    pub const fn failure(kind: FailureKind) -> Self {
        Self::Failure {
            kind,
            retry_after: None,
        }
    }

    /// Whether the service has done nothing, so that every request may be sent again: nothing
    /// reached it, or it said when to come back instead.
    #[cfg(feature = "tokio")]
    pub(crate) fn had_no_effect(&self) -> bool {
        match self {
            Self::Failure { kind, retry_after } => match kind {
                FailureKind::Unsent => true,
                FailureKind::Throttled => retry_after.is_some_and(|delay| delay != ASSUMED),
                _ => false,
            },
            _ => false,
        }
    }
}

/// The delay of a failure after which no retry and no hedge follows. It is later than every
/// deadline and above every cap.
pub(crate) const NEVER: Duration = Duration::MAX;

/// The delay of a throttled failure whose own delay is lost, if it had one. It differs from every
/// delay in milliseconds: it is not one that the service has requested.
#[cfg(any(feature = "reqwest", feature = "tokio"))]
pub(crate) const ASSUMED: Duration = Duration::from_nanos(1_000_000_001);

crate::macros::serialize_label!(FailureKind);

impl FailureKind {
    /// Each at the index that its number is.
    pub(crate) const ALL: [Self; 9] = [
        Self::Error,
        Self::Response,
        Self::Throttled,
        Self::Unsent,
        Self::Timeout,
        Self::RequestTimeout,
        Self::Permanent,
        Self::Panic,
        Self::Slow,
    ];

    /// A short text that never changes; the [table](crate::event#labels) has all.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Response => "response",
            Self::Throttled => "throttled",
            Self::Unsent => "unsent",
            Self::Timeout => "timeout",
            Self::RequestTimeout => "request_timeout",
            Self::Permanent => "permanent",
            Self::Panic => "panic",
            Self::Slow => "slow",
        }
    }
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The call returned an error.
    Error,
    /// The call returned a response that is a failure.
    Response,
    /// The service requests fewer calls (429, 503, `RESOURCE_EXHAUSTED`, `UNAVAILABLE` with
    /// pushback).
    Throttled,
    /// Nothing of the call reached the service: the connection was refused, or the server said
    /// that it did not process the request. Sending it again is safe for every method.
    Unsent,
    /// The call did not complete in time. It may have had its effect.
    Timeout,
    /// The service did not get the whole request in time (408): the caller sent it too slowly, or
    /// the way to the service is slow. A retry treats it as a timeout, and a circuit breaker ignores
    /// it.
    RequestTimeout,
    /// The call failed and would fail again.
    Permanent,
    /// The call panicked.
    Panic,
    /// The call succeeded, but took longer than the policy's threshold; or a hedge dropped it,
    /// because another attempt won after this one took longer than the hedge's delay.
    Slow,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "an error",
            Self::Response => "a failing response",
            Self::Throttled => "throttling",
            Self::Unsent => "a call that was not sent",
            Self::Timeout => "a timeout",
            Self::RequestTimeout => "a request that took too long",
            Self::Permanent => "a permanent failure",
            Self::Panic => "a panic",
            Self::Slow => "a slow call",
        })
    }
}
