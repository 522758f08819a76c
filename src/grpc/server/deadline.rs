//! The limit of a call by its `grpc-timeout`.

use std::time::Duration;

use http::Request;

use crate::grpc::timeout::timeout;
use crate::timeout::DurationOf;

/// How much earlier than its `grpc-timeout` a call ends. The server of tonic has a timer of the same
/// duration around the service, which answers CANCELLED.
const EARLY: Duration = Duration::from_millis(2);

/// The duration of a call is its `grpc-timeout`. Without one it has no limit.
#[derive(Clone, Copy, Debug)]
pub struct ByGrpcTimeout;

impl<A> DurationOf<Request<A>> for ByGrpcTimeout {
    fn duration(&self, request: &Request<A>) -> Option<Duration> {
        let limit = timeout(request.headers());
        Some(limit.map_or(Duration::MAX, |limit| {
            limit.saturating_sub(EARLY.min(limit / 8))
        }))
    }
}
