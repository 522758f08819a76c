use std::convert::Infallible;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};

use crate::rejection::{Reason, Rejection, RejectionKind};
use crate::service::{Format, Reject, Respond};

/// The gRPC status codes that a refusal maps to.
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNAVAILABLE: u16 = 14;

impl Reason {
    /// The status that says it: 429, 503 or 504; 400 for a call without a key.
    pub fn status(&self) -> StatusCode {
        match self.kind() {
            RejectionKind::RateLimited | RejectionKind::CostAboveBurst { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            RejectionKind::TimedOut { .. } | RejectionKind::Expired => StatusCode::GATEWAY_TIMEOUT,
            RejectionKind::NoKey => StatusCode::BAD_REQUEST,
            RejectionKind::CircuitOpen
            | RejectionKind::HalfOpenFull
            | RejectionKind::Recovering
            | RejectionKind::BulkheadFull { .. }
            | RejectionKind::QueueTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn grpc_status(&self) -> u16 {
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
            StatusCode::GATEWAY_TIMEOUT => DEADLINE_EXCEEDED,
            StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
            _ => UNAVAILABLE,
        }
    }
}

impl Rejection {
    /// The response that says it, with an empty body: what a layer answers on a service that
    /// never fails. The [`Reason`] is among its extensions.
    pub fn into_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        if let Some(wait) = self.retry_after() {
            let seconds = HeaderValue::from(whole_seconds(wait));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(self.into_reason());
        response
    }

    /// The trailers-only gRPC response that says it: `RESOURCE_EXHAUSTED`, `UNAVAILABLE` or
    /// `DEADLINE_EXCEEDED`, with the time to come back as pushback. The message does not name the
    /// policy, which is nobody's business outside. The [`Reason`] is among its extensions.
    pub fn into_grpc_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(self.grpc_status()));
        if let Ok(message) = HeaderValue::try_from(percent_encoded(&self.kind().to_string())) {
            headers.insert("grpc-message", message);
        }
        if let Some(wait) = self.retry_after() {
            let millis = wait.as_nanos().div_ceil(1_000_000);
            let millis = u64::try_from(millis).unwrap_or(u64::MAX);
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from(millis));
        }
        response.extensions_mut().insert(self.into_reason());
        response
    }
}

/// Whole seconds, rounded up: to come back a little late is right, a little early is refused.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// What the gRPC protocol asks of a status message in a header: printable ASCII as it is, but
/// for the percent sign.
fn percent_encoded(message: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

/// The format of refusals as responses: plain HTTP, or gRPC for a gRPC request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsResponse {
    grpc: bool,
}

impl AsResponse {
    fn to(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        Self {
            grpc: kind.is_some_and(is_grpc),
        }
    }
}

/// `application/grpc`, alone or with a format or parameters; not `application/grpc-web`.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some((kind, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

impl<B: Default, Err> Format<Response<B>, Err> for AsResponse {
    fn reject(self, rejection: Rejection) -> Result<Response<B>, Err> {
        Ok(match self.grpc {
            true => rejection.into_grpc_response(),
            false => rejection.into_response(),
        })
    }
}

impl<A, B: Default> Reject<http::Request<A>, Response<B>> for Infallible {
    type Format = AsResponse;

    fn format(request: &http::Request<A>) -> AsResponse {
        AsResponse::to(request.headers())
    }
}

/// A responder for `.respond_as(..)`: refusals as trailers-only gRPC responses whatever the
/// service's error type is, so that a client such as tonic turns them into a status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

impl<A, B: Default, Err> Respond<http::Request<A>, Response<B>, Err> for Grpc {
    type Format = AsResponse;

    fn format(&self, _: &http::Request<A>) -> AsResponse {
        AsResponse { grpc: true }
    }
}
