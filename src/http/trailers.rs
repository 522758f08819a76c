//! The content type and the status of gRPC, in headers or trailers.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::classify::{Codes, Outcome};

/// The start of every content type of gRPC.
pub(super) const GRPC: &[u8] = b"application/grpc";

// A name that is a string is parsed for every response.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The status of a call whose own cannot be read.
pub(super) const UNKNOWN: u16 = 2;

/// The status. One that cannot be read is UNKNOWN.
fn status(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get(&GRPC_STATUS)?.to_str().ok();
    Some(
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(UNKNOWN),
    )
}

/// The outcome that the gRPC status in these headers or trailers states. None if there is none.
pub(crate) fn of_grpc(headers: &HeaderMap, codes: &Codes) -> Option<Outcome> {
    Some(codes.judge(status(headers)?, headers))
}

/// Whether these are the headers of gRPC, or of a kind of it such as gRPC-Web.
pub(super) fn is_of_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.get(..GRPC.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(GRPC))
}
