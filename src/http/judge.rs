use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use super::retry_after::{grpc_pushback, retry_after};
use crate::classify::{FailureKind, Judge, Outcome};
use crate::rejection::Reason;
use crate::time::wall_clock;

/// 5xx is a failure, and so are 408 and 429. A 503 is throttling, with `Retry-After` or without: it is
/// how a server sheds load. Any other 4xx is the caller's mistake, and the service
/// works. 501 and 505 would fail again.
fn http_failure(status: StatusCode) -> Option<FailureKind> {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Some(FailureKind::Timeout),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some(FailureKind::Throttled)
        }
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
            Some(FailureKind::Permanent)
        }
        status if status.is_server_error() => Some(FailureKind::Response),
        _ => None,
    }
}

fn grpc_failure(code: u16, pushback: Option<Duration>) -> Option<FailureKind> {
    match code {
        // UNAVAILABLE is also a connection that failed. Only a server that answers pushes back.
        14 if pushback.is_some() => Some(FailureKind::Throttled),
        // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS. An undefined code is UNKNOWN.
        2 | 13 | 14 | 15 | 17.. => Some(FailureKind::Response),
        4 => Some(FailureKind::Timeout),
        8 => Some(FailureKind::Throttled),
        12 => Some(FailureKind::Permanent),
        _ => None,
    }
}

/// The status of a trailers-only gRPC response. A status in real trailers comes after the response
/// head and is not seen here.
fn grpc_code(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The outcome that the gRPC status in these headers or trailers states. None if there is none.
pub(super) fn of_grpc(headers: &HeaderMap) -> Option<Outcome> {
    let code = grpc_code(headers)?;
    let retry_after = grpc_pushback(headers);
    let kind = grpc_failure(code, retry_after);
    let failure = kind.map(|kind| Outcome::Failure { kind, retry_after });
    Some(failure.unwrap_or(Outcome::Success))
}

fn of_http(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let Some(kind) = http_failure(status) else {
        return Outcome::Success;
    };
    let retry_after = retry_after(headers, wall_clock());
    Outcome::Failure { kind, retry_after }
}

fn of_head(status: StatusCode, headers: &HeaderMap) -> Outcome {
    of_grpc(headers).unwrap_or_else(|| of_http(status, headers))
}

macro_rules! judged_by_head {
    ($ty:ty $(, $body:ident)?) => {
        impl$(<$body>)? Judge for $ty {
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
    };
}

judged_by_head!(Response<B>, B);
#[cfg(feature = "reqwest")]
judged_by_head!(reqwest::Response);
