//! How each gRPC status counts.

use std::time::Duration;

use http::HeaderMap;

use super::status::{NOT_PROCESSED, is_digits, not_processed};
use crate::outcome::{FailureKind, NEVER, Outcome};

/// The statuses of gRPC, 0 to 16.
const STATUSES: usize = 17;
const UNKNOWN: usize = 2;
const DEADLINE_EXCEEDED: usize = 4;
const RESOURCE_EXHAUSTED: usize = 8;
const ABORTED: usize = 10;
const UNIMPLEMENTED: usize = 12;
const INTERNAL: usize = 13;
const UNAVAILABLE: usize = 14;
const DATA_LOSS: usize = 15;

/// How each gRPC status counts: one row for each of the 17 statuses, which can be replaced.
///
/// | status | counts as | why |
/// |---|---|---|
/// | UNKNOWN, INTERNAL, DATA_LOSS | failure (`Response`) | the server has failed |
/// | UNAVAILABLE | failure (`Response`); with pushback `Throttled` | it is also a connection that failed; only a server that answers pushes back |
/// | ABORTED | failure (`Response`) | a conflict that may be gone at the next attempt |
/// | DEADLINE_EXCEEDED | `Timeout` | |
/// | RESOURCE_EXHAUSTED | `Throttled` | the server has too much, which is no outage |
/// | UNIMPLEMENTED | `Permanent` | it would fail again |
/// | all others, such as NOT_FOUND and CANCELLED | success | the server works; the answer is the caller's affair |
///
/// An undefined status counts as UNKNOWN.
///
/// ```
/// use seawall::classify::{Codes, FailureKind};
///
/// // Status 10 is ABORTED, and 5 is NOT_FOUND. A `tonic::Code` is accepted as well.
/// let codes = Codes::new().counts(10, FailureKind::Permanent).counts(5, FailureKind::Error);
/// let ours = codes.counts(2, None); // UNKNOWN is a success.
/// # let _ = ours;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes([Option<FailureKind>; STATUSES]);

impl Codes {
    /// The table above.
    pub const fn new() -> Self {
        let mut rows = [None; STATUSES];
        rows[UNKNOWN] = Some(FailureKind::Response);
        rows[DEADLINE_EXCEEDED] = Some(FailureKind::Timeout);
        rows[RESOURCE_EXHAUSTED] = Some(FailureKind::Throttled);
        rows[ABORTED] = Some(FailureKind::Response);
        rows[UNIMPLEMENTED] = Some(FailureKind::Permanent);
        rows[INTERNAL] = Some(FailureKind::Response);
        rows[UNAVAILABLE] = Some(FailureKind::Response);
        rows[DATA_LOSS] = Some(FailureKind::Response);
        Self(rows)
    }

    /// Replaces a row: the status counts as a failure of this kind, or with `None` as a success.
    /// A number that is no status changes UNKNOWN, as whose row it is read.
    pub fn counts(mut self, status: impl Into<i32>, kind: impl Into<Option<FailureKind>>) -> Self {
        let status = usize::try_from(status.into()).unwrap_or(UNKNOWN);
        self.0[row(status)] = kind.into();
        self
    }

    /// The outcome of a call with this status and this requested delay.
    pub(crate) fn outcome(&self, status: u16, retry_after: Option<Duration>) -> Outcome {
        let row = row(status.into());
        let kind = match self.0[row] {
            None => return Outcome::Success,
            Some(FailureKind::Response) if row == UNAVAILABLE && retry_after.is_some() => {
                FailureKind::Throttled
            }
            Some(kind) => kind,
        };
        Outcome::Failure { kind, retry_after }
    }

    /// The outcome of a response with this status, in headers, trailers or metadata.
    pub(crate) fn judge(&self, status: u16, headers: &HeaderMap) -> Outcome {
        let outcome = self.outcome(status, pushback(headers));
        match headers.contains_key(NOT_PROCESSED) {
            true => not_processed(outcome),
            false => outcome,
        }
    }
}

/// The delay in `grpc-retry-pushback-ms`, by the retry design (A6): whole milliseconds. Anything else,
/// such as a negative number, means that the client must stop.
fn pushback(headers: &HeaderMap) -> Option<Duration> {
    let mut values = headers.get_all("grpc-retry-pushback-ms").iter();
    let value = values.next()?.to_str().ok().map(str::trim);
    let value = value.filter(|value| values.next().is_none() && is_digits(value));
    let millis = value.and_then(|value| value.parse().ok());
    Some(millis.map_or(NEVER, Duration::from_millis))
}

impl Default for Codes {
    fn default() -> Self {
        Self::new()
    }
}

fn row(status: usize) -> usize {
    match status < STATUSES {
        true => status,
        false => UNKNOWN,
    }
}
