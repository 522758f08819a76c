//! The status codes of HTTP, without its types.

use crate::outcome::{FailureKind, Outcome};

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

pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
