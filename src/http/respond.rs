use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::rejection::{Reason, Rejection, RejectionKind};

// The gRPC status codes of rejections.
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

impl Reason {
    /// The HTTP status of the rejection: 429, 503 or 504; 413 for a cost that is never available, and
    /// 400 for a call without a key, which are not sent again; 500 for a request without a peer
    /// address.
    pub fn status(&self) -> StatusCode {
        match self.kind() {
            RejectionKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            RejectionKind::CostAboveBurst { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            RejectionKind::TimedOut { .. } | RejectionKind::Expired => StatusCode::GATEWAY_TIMEOUT,
            RejectionKind::NoKey => StatusCode::BAD_REQUEST,
            RejectionKind::NoPeerAddress => StatusCode::INTERNAL_SERVER_ERROR,
            RejectionKind::CircuitOpen
            | RejectionKind::HalfOpenFull
            | RejectionKind::Recovering
            | RejectionKind::BulkheadFull { .. }
            | RejectionKind::QueueTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The gRPC status of the rejection.
    pub(crate) fn grpc_status(&self) -> u16 {
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
            StatusCode::GATEWAY_TIMEOUT => DEADLINE_EXCEEDED,
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => INVALID_ARGUMENT,
            StatusCode::INTERNAL_SERVER_ERROR => INTERNAL,
            _ => UNAVAILABLE,
        }
    }
}

impl Rejection {
    /// Turns the rejection into a response with an empty body, as the layers do for a service that
    /// never fails. The [`Reason`] is one of its extensions.
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

    /// Turns the rejection into a trailers-only gRPC response: `RESOURCE_EXHAUSTED`, `UNAVAILABLE`,
    /// `DEADLINE_EXCEEDED` or `INVALID_ARGUMENT`, with the delay as pushback. The message is the
    /// [public text](RejectionKind::public_text). The [`Reason`] is one of its extensions.
    pub fn into_grpc_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(self.grpc_status()));
        // It needs no percent-encoding.
        let message = HeaderValue::from_static(self.kind().public_text());
        headers.insert("grpc-message", message);
        if let Some(wait) = self.retry_after() {
            let millis = HeaderValue::from(whole_millis(wait));
            headers.insert("grpc-retry-pushback-ms", millis);
        }
        response.extensions_mut().insert(self.into_reason());
        response
    }
}

/// The value of `grpc-retry-pushback-ms`, rounded up.
pub(crate) fn whole_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whole seconds, rounded up: a retry that is a little early would be rejected.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
}
