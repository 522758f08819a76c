use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use super::retry_after::{grpc_pushback, retry_after};
use crate::classify::{FailureKind, Judge, Outcome};
use crate::rejection::Reason;

/// What a status says: 5xx is a failure, and so are 408 and 429; any other 4xx is the caller's
/// own affair and a sign that the service works. 501 and 505 fail however often they are asked.
fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    let kind = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => FailureKind::Timeout,
        StatusCode::TOO_MANY_REQUESTS => FailureKind::Throttled,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
            FailureKind::Permanent
        }
        status if status.is_server_error() => FailureKind::Response,
        _ => return Outcome::Success,
    };
    Outcome::Failure { kind, retry_after }
}

/// What the status of a trailers-only gRPC response says. A status in real trailers comes after
/// the response head and is not seen here.
fn of_grpc_status(headers: &HeaderMap) -> Option<Outcome> {
    let code: u16 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let kind = match code {
        // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS, and a code that there is not: it is UNKNOWN
        2 | 13 | 14 | 15 | 17.. => FailureKind::Response,
        4 => FailureKind::Timeout,
        8 => FailureKind::Throttled,
        12 => FailureKind::Permanent,
        _ => return Some(Outcome::Success),
    };
    Some(Outcome::Failure {
        kind,
        retry_after: grpc_pushback(headers),
    })
}

fn of_head(status: StatusCode, headers: &HeaderMap) -> Outcome {
    if let Some(outcome) = of_grpc_status(headers) {
        return outcome;
    }
    match of_status(status, None) {
        Outcome::Failure { kind, .. } => Outcome::Failure {
            kind,
            retry_after: retry_after(headers, crate::time::wall_clock()),
        },
        outcome => outcome,
    }
}

impl<B> Judge for Response<B> {
    fn judge(&self) -> Outcome {
        of_head(self.status(), self.headers())
    }

    fn mark(&mut self, reason: Reason) {
        self.extensions_mut().insert(reason);
    }

    fn reason(&self) -> Option<&Reason> {
        self.extensions().get()
    }
}

#[cfg(feature = "reqwest")]
impl Judge for reqwest::Response {
    fn judge(&self) -> Outcome {
        of_head(self.status(), self.headers())
    }

    fn mark(&mut self, reason: Reason) {
        self.extensions_mut().insert(reason);
    }

    fn reason(&self) -> Option<&Reason> {
        self.extensions().get()
    }
}
