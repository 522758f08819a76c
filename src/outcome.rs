//! What a call came to.

use std::time::Duration;

/// What an outcome says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The service did its work, also where the answer is "no".
    Success,
    /// The service failed, and the delay after which it asked to be called again, if it did.
    /// [`Duration::MAX`] asks never to be called again for this request: no retry and no hedge
    /// follows. A circuit breaker counts the failure by its kind, and takes no delay from it.
    Failure {
        /// What sort of failure it was.
        kind: FailureKind,
        /// How long to wait before the next call, as the service asked; `Duration::MAX` asks for
        /// no further attempt.
        retry_after: Option<Duration>,
    },
    /// It says nothing of the service's health.
    Ignore,
}

/// The delay of a failure after which no retry and no hedge follows: later than any deadline, so
/// that no cap admits it.
pub(crate) const NEVER: Duration = Duration::MAX;

/// What sort of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The call returned an error.
    Error,
    /// The call returned a response that says the service failed.
    Response,
    /// The service asks for fewer calls (429, `RESOURCE_EXHAUSTED`).
    Throttled,
    /// The call did not come back in time; it may have had its effect.
    Timeout,
    /// The call failed and will fail again however often it is made.
    Permanent,
    /// The call panicked.
    Panic,
    /// The call came back well, but slower than the policy's threshold.
    Slow,
}
