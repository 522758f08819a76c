#[cfg(feature = "tokio")]
use std::any::Any;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

#[cfg(feature = "tokio")]
use super::drain;
use super::retry_after::{grpc_pushback, retry_after};
#[cfg(feature = "tokio")]
use crate::classify::Drain;
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

fn of_head(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let (kind, retry_after) = match grpc_code(headers) {
        Some(code) => {
            let pushback = grpc_pushback(headers);
            match grpc_failure(code, pushback) {
                Some(kind) => (kind, pushback),
                None => return Outcome::Success,
            }
        }
        None => match http_failure(status) {
            Some(kind) => (kind, retry_after(headers, wall_clock())),
            None => return Outcome::Success,
        },
    };
    Outcome::Failure { kind, retry_after }
}

macro_rules! judged_by_head {
    ($ty:ty $(, $body:ident)?; $drain:expr) => {
        impl$(<$body: 'static>)? Judge for $ty {
            fn judge(&self) -> Outcome {
                of_head(self.status(), self.headers())
            }

            fn mark(&mut self, reason: Reason) {
                self.extensions_mut().insert(reason);
            }

            fn reason(&self) -> Option<&Reason> {
                self.extensions().get()
            }

            #[cfg(feature = "tokio")]
            fn drain(self) -> Option<Drain> {
                $drain(self)
            }
        }
    };
}

/// The body of hyper's clients, which is a connection's. Any other body is dropped: that it is one
/// cannot be seen here.
#[cfg(feature = "tokio")]
fn drain_known<B: 'static>(response: Response<B>) -> Option<Drain> {
    let mut body = Some(response.into_body());
    let body: &mut dyn Any = &mut body;
    #[cfg(feature = "reqwest")]
    if let Some(body) = body.downcast_mut::<Option<reqwest::Body>>() {
        return drain(body.take()?);
    }
    let body: &mut Option<hyper::body::Incoming> = body.downcast_mut()?;
    drain(body.take()?)
}

judged_by_head!(Response<B>, B; drain_known);
#[cfg(feature = "reqwest")]
judged_by_head!(reqwest::Response; |response| {
    drain(Response::<reqwest::Body>::from(response).into_body())
});
