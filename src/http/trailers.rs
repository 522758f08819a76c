//! The gRPC status in headers or trailers.

use http::{HeaderMap, HeaderName};

use super::retry_after::grpc_pushback;
use crate::classify::Outcome;
use crate::classify::status::grpc_failure;

// A name that is a string is parsed for every response.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

fn grpc_code(headers: &HeaderMap) -> Option<u16> {
    headers.get(&GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// The outcome that the gRPC status in these headers or trailers states. None if there is none.
pub(super) fn of_grpc(headers: &HeaderMap) -> Option<Outcome> {
    let code = grpc_code(headers)?;
    let retry_after = grpc_pushback(headers);
    let kind = grpc_failure(code, retry_after);
    let failure = kind.map(|kind| Outcome::Failure { kind, retry_after });
    Some(failure.unwrap_or(Outcome::Success))
}
