use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::classify::status::NOT_PROCESSED;
use crate::rejection::{Reason, Rejection, RejectionKind};
use crate::rng::Jitter;

/// When to come back to a server that cannot say it, before jitter: long enough to let a burst
/// pass, and shorter than a user waits.
pub(super) const BUSY: Duration = Duration::from_secs(1);

/// So that the calls that were rejected at once do not come back at once.
const SPREAD: Duration = Duration::from_secs(1);

// The gRPC status codes of rejections.
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

impl Reason {
    /// The HTTP status of the rejection: 429, 503 or 504; 408 for a request body that took too long; 413 for a cost that is never available, and
    /// 400 for a call without a key, which are not sent again; 500 for a request without a peer
    /// address.
    pub fn status(&self) -> StatusCode {
        match self.kind() {
            RejectionKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            RejectionKind::CostAboveBurst { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            RejectionKind::RequestTimedOut { .. } => StatusCode::REQUEST_TIMEOUT,
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
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => DEADLINE_EXCEEDED,
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => INVALID_ARGUMENT,
            StatusCode::INTERNAL_SERVER_ERROR => INTERNAL,
            _ => UNAVAILABLE,
        }
    }
}

/// When the client may try again.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Before jitter.
    least: Duration,
    jitter: Duration,
}

impl Wait {
    /// The delay of the policy; `busy` with jitter for a 429 or 503 whose policy knows none.
    fn of(rejection: &Rejection, busy: Option<Duration>) -> Option<Self> {
        if let Some(least) = rejection.retry_after() {
            let jitter = Duration::ZERO;
            return Some(Self { least, jitter });
        }
        let throttled = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        let least = busy.filter(|_| throttled.contains(&rejection.status()))?;
        let jitter = SPREAD.mul_f64(Jitter::from_entropy().fraction());
        Some(Self { least, jitter })
    }

    /// Whole seconds. The policy's delay is rounded up, because a retry that is a little early
    /// would be rejected. With jitter it is rounded to the nearest, so that both ends are as
    /// frequent.
    fn seconds(self) -> u64 {
        let half = Duration::from_millis(500).min(self.jitter);
        let spread = self.least.saturating_add(self.jitter).saturating_add(half);
        whole_seconds(self.least).max(spread.as_secs())
    }

    fn millis(self) -> u64 {
        let wait = self.least.saturating_add(self.jitter);
        u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl Rejection {
    /// Turns the rejection into a response with an empty body, as the layers do for a service that
    /// never fails: with its [status](Reason::status), and with `Retry-After` if that is 429 or 503.
    /// A delay that the policy does not know is one or two seconds, at random. The [`Reason`] is
    /// one of its extensions.
    ///
    /// A response to a call that was not made has the header `x-not-processed`, by which a client
    /// of this library distinguishes it from a failure. `Rejections` has other bodies and delays.
    pub fn into_http_response<B: Default>(self) -> Response<B> {
        self.into_http_response_after(Some(BUSY))
            .map(|()| B::default())
    }

    /// The same without a body, and with another delay before jitter.
    pub(super) fn into_http_response_after(self, busy: Option<Duration>) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if let Some(wait) = Wait::of(&self, busy) {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.seconds()));
        }
        self.mark_and_keep(&mut response);
        response
    }

    /// Turns the rejection into a trailers-only gRPC response: `RESOURCE_EXHAUSTED`, `UNAVAILABLE`,
    /// `DEADLINE_EXCEEDED` or `INVALID_ARGUMENT`, with the delay as pushback; between one and two
    /// seconds at random where the policy knows none and the call may be sent again. The message is
    /// the [public text](RejectionKind::public_text). The [`Reason`] is one of its extensions.
    pub fn into_grpc_response<B: Default>(self) -> Response<B> {
        self.into_grpc_response_after(Some(BUSY))
            .map(|()| B::default())
    }

    /// The same without a body, and with another delay before jitter.
    pub(super) fn into_grpc_response_after(self, busy: Option<Duration>) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(self.grpc_status()));
        // It needs no percent-encoding.
        let message = HeaderValue::from_static(self.kind().public_text());
        headers.insert("grpc-message", message);
        if let Some(wait) = Wait::of(&self, busy) {
            let pushback = HeaderValue::from(wait.millis());
            headers.insert("grpc-retry-pushback-ms", pushback);
        }
        self.mark_and_keep(&mut response);
        response
    }

    /// The `grpc-retry-pushback-ms` of [`into_grpc_response`](Self::into_grpc_response).
    #[cfg(feature = "tonic")]
    pub(crate) fn grpc_pushback(&self) -> Option<u64> {
        Wait::of(self, Some(BUSY)).map(Wait::millis)
    }

    /// Marks the response for the client, and keeps the reason for the layers above.
    fn mark_and_keep(self, response: &mut Response<()>) {
        if self.call_not_made() {
            let headers = response.headers_mut();
            headers.insert(NOT_PROCESSED, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self.into_reason());
    }
}

/// Whole seconds, rounded up.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0))
}
