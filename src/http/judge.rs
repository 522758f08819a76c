#[cfg(feature = "tokio")]
use std::any::Any;

use http::{HeaderMap, Response, StatusCode};

#[cfg(feature = "tokio")]
use super::drain;
#[cfg(all(feature = "tonic", feature = "tower"))]
use super::format::speaks_grpc;
use super::retry_after::retry_after;
#[cfg(all(feature = "tonic", feature = "tower"))]
use super::trailers::UNKNOWN;
use super::trailers::{is_of_grpc, of_grpc};
#[cfg(feature = "tokio")]
use crate::classify::Drain;
#[cfg(all(feature = "tonic", feature = "tower"))]
use crate::classify::FailureKind;
use crate::classify::status::{NOT_PROCESSED, http_failure, not_processed};
use crate::classify::{Codes, Judge, Outcome};
use crate::rejection::Reason;
use crate::time::wall_clock;

fn of_http(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let Some(kind) = http_failure(status.as_u16()) else {
        return Outcome::Success;
    };
    let retry_after = retry_after(headers, wall_clock());
    let failure = Outcome::Failure { kind, retry_after };
    match headers.contains_key(NOT_PROCESSED) {
        true => not_processed(failure),
        false => failure,
    }
}

/// A `grpc-status` is believed in a response of gRPC only: elsewhere it is a header like any other,
/// which a proxy may have passed on.
fn of_head(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let grpc = of_grpc(headers, &Codes::new()).filter(|_| is_of_grpc(headers));
    grpc.unwrap_or_else(|| of_http(status, headers))
}

/// The outcome of a gRPC call as far as the head of its response states it: a success if the status
/// follows in the trailers.
///
/// A head without a status that is no gRPC was answered by something on the way, such as a proxy.
#[cfg(all(feature = "tonic", feature = "tower"))]
pub(crate) fn of_grpc_head(head: StatusCode, headers: &HeaderMap, codes: &Codes) -> Outcome {
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    if let Some(outcome) = of_grpc(headers, codes) {
        return outcome;
    }
    match of_http(head, headers) {
        failure @ Outcome::Failure { .. } => failure,
        // <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
        _ => match head.as_u16() {
            200 if speaks_grpc(headers) => Outcome::Success,
            400 => codes.outcome(INTERNAL, None),
            401 | 403 => Outcome::Success,
            404 => codes.outcome(UNIMPLEMENTED, None),
            // The status is missing.
            200 => Outcome::failure(FailureKind::Response),
            _ => codes.outcome(UNKNOWN, None),
        },
    }
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

/// The bodies of hyper's and reqwest's clients, which are a connection's, also in a body of ours.
/// Any other body is dropped: that it is one cannot be seen here.
#[cfg(feature = "tokio")]
fn drain_known<B: 'static>(response: Response<B>) -> Option<Drain> {
    let body: &mut dyn Any = &mut Some(response.into_body());
    let rest = drain_own::<hyper::body::Incoming>(body);
    #[cfg(feature = "reqwest")]
    let rest = rest.or_else(|| drain_own::<reqwest::Body>(body));
    rest
}

/// Drains `body` if it is a `B`, or a body of ours around one.
#[cfg(feature = "tokio")]
fn drain_own<B>(body: &mut dyn Any) -> Option<Drain>
where
    B: http_body::Body<
            Data = hyper::body::Bytes,
            Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        > + Send
        + 'static,
{
    #[cfg(feature = "tower")]
    if let Some(body) = body.downcast_mut::<Option<super::Body<B>>>() {
        return drain(body.take()?);
    }
    drain(body.downcast_mut::<Option<B>>()?.take()?)
}

judged_by_head!(Response<B>, B; drain_known);
#[cfg(feature = "reqwest")]
judged_by_head!(reqwest::Response; |response| {
    drain(Response::<reqwest::Body>::from(response).into_body())
});

impl Judge for StatusCode {
    fn judge(&self) -> Outcome {
        of_head(*self, &HeaderMap::new())
    }
}
