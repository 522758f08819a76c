//! Rejections as responses of a layer.

use std::convert::Infallible;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response};

use super::trailers::GRPC;
use crate::rejection::{Reason, Rejection};
use crate::service::{Format, Native, Respond};

/// The format of rejections as responses with an empty body: plain HTTP, or gRPC for a gRPC
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsResponse {
    grpc: bool,
}

/// Whether these are the headers of a gRPC message.
pub(crate) fn speaks_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(is_grpc)
}

/// Whether this is a gRPC request, which is a POST. A GET with such a header is none: a cache would
/// keep the 200 of a trailers-only answer for its other clients.
pub(super) fn is_grpc_request<A>(request: &Request<A>) -> bool {
    request.method() == Method::POST && speaks_grpc(request.headers())
}

/// `application/grpc`, alone or with a format or parameters; not `application/grpc-web`.
fn is_grpc(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

impl<B: Default, Err> Format<Response<B>, Err> for AsResponse {
    fn reject(self, rejection: Rejection) -> Result<Response<B>, Err> {
        Ok(match self.grpc {
            true => rejection.into_grpc_response(),
            false => rejection.into_http_response(),
        })
    }

    fn reason<'o>(&self, outcome: Result<&'o Response<B>, &'o Err>) -> Option<&'o Reason> {
        reason_of(outcome)
    }
}

/// The reason of a rejection that is a response.
pub(super) fn reason_of<'o, B, Err>(
    outcome: Result<&'o Response<B>, &'o Err>,
) -> Option<&'o Reason> {
    outcome.ok()?.extensions().get()
}

impl<A, B: Default> Respond<Request<A>, Response<B>, Infallible> for Native {
    type Format = AsResponse;

    fn format(&self, request: &Request<A>) -> AsResponse {
        AsResponse {
            grpc: is_grpc_request(request),
        }
    }
}

/// A responder for `.respond_as(..)`: rejections are trailers-only gRPC responses, whatever the
/// service's error type is. A client such as tonic turns them into a status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

impl<A, B: Default, Err> Respond<Request<A>, Response<B>, Err> for Grpc {
    type Format = AsResponse;

    fn format(&self, _: &Request<A>) -> AsResponse {
        AsResponse { grpc: true }
    }
}
