use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use super::retry_after::{grpc_pushback, retry_after};
use crate::classify::{Judge, Kind, Outcome};
use crate::rejection::Reason;

/// What a status says: 5xx is a failure, and so are 408 and 429; any other 4xx is the caller's
/// own affair and a sign that the service works. 501 and 505 fail however often they are asked.
fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    let kind = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Kind::Timeout,
        StatusCode::TOO_MANY_REQUESTS => Kind::Throttled,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Kind::Permanent,
        status if status.is_server_error() => Kind::Response,
        _ => return Outcome::Success,
    };
    Outcome::Failure(kind, retry_after)
}

/// What the status of a trailers-only gRPC response says. A status in real trailers comes after
/// the response head and is not seen here.
fn of_grpc_status(headers: &HeaderMap) -> Option<Outcome> {
    let code: u16 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let kind = match code {
        // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS, and a code that there is not: it is UNKNOWN
        2 | 13 | 14 | 15 | 17.. => Kind::Response,
        4 => Kind::Timeout,
        8 => Kind::Throttled,
        12 => Kind::Permanent,
        _ => return Some(Outcome::Success),
    };
    Some(Outcome::Failure(kind, grpc_pushback(headers)))
}

fn of_head(status: StatusCode, headers: &HeaderMap) -> Outcome {
    if let Some(outcome) = of_grpc_status(headers) {
        return outcome;
    }
    match of_status(status, None) {
        Outcome::Failure(kind, _) => {
            Outcome::Failure(kind, retry_after(headers, crate::time::wall_clock()))
        }
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

    fn refusal(&self) -> Option<&Reason> {
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

    fn refusal(&self) -> Option<&Reason> {
        self.extensions().get()
    }
}
