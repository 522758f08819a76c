//! The status codes of HTTP and the pushback of gRPC, without the types of either.

use std::time::Duration;

use crate::outcome::{FailureKind, NEVER, Outcome};

/// The header of a response to a call that a server of this library has rejected before it was
/// made. The status alone does not say so: a 504 may also be a call that took too long.
pub(crate) const NOT_PROCESSED: &str = "x-not-processed";

/// The outcome of a response with that header. A rejected call says nothing about the service, as in
/// one process, except for 500: the server rejects every call like it until its program is changed.
pub(crate) fn not_processed(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failure {
            kind: FailureKind::Timeout,
            ..
        } => Outcome::Ignore,
        Outcome::Failure {
            kind: FailureKind::Response,
            ..
        } => Outcome::failure(FailureKind::Permanent),
        other => other,
    }
}

/// 5xx is a failure, and so are 408 and 429. A 503 is throttling, with `Retry-After` or without: it
/// is how a server sheds load. A 408 is a request that came too slowly: another attempt may mend it,
/// and it is no failure of the service. Any other 4xx is the caller's mistake, and the service works. 501
/// and 505 would fail again.
pub(crate) fn http_failure(status: u16) -> Option<FailureKind> {
    match status {
        408 => Some(FailureKind::RequestTimeout),
        504 => Some(FailureKind::Timeout),
        429 | 503 => Some(FailureKind::Throttled),
        501 | 505 => Some(FailureKind::Permanent),
        500..=599 => Some(FailureKind::Response),
        _ => None,
    }
}

/// The delay in the values of `grpc-retry-pushback-ms`, by the retry design (A6): whole
/// milliseconds. Anything else, such as a negative number, means that the client must stop. A value
/// that is no text is `None`.
pub(crate) fn pushback<'v>(mut values: impl Iterator<Item = Option<&'v str>>) -> Option<Duration> {
    let value = values.next()?.map(str::trim);
    let value = value.filter(|value| values.next().is_none() && is_digits(value));
    let millis = value.and_then(|value| value.parse().ok());
    Some(millis.map_or(NEVER, Duration::from_millis))
}

pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
