//! One attempt: the headers that it is sent with, and its outcome.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::request::GrpcRequestBody;
use super::response::GrpcResponseBody;
use crate::classify::Codes;
use crate::context;
use crate::deadline::Deadline;
use crate::grpc::timeout::{GRPC_TIMEOUT, value};
use crate::http::BodyError;

/// How much longer than this side the server may take by its `grpc-timeout`, so that the timeout of
/// this side ends the call and has its name. Longer than a timer is late on a busy machine.
const SLACK: Duration = Duration::from_millis(50);

const PREVIOUS: &str = "grpc-previous-rpc-attempts";

/// A gRPC channel that makes one attempt of a call: it is the innermost service under a
/// [`GrpcClientStack`](super::GrpcClientStack).
#[derive(Clone, Debug)]
pub struct AttemptService<S> {
    inner: S,
    codes: Codes,
}

impl<S> AttemptService<S> {
    pub(super) fn new(inner: S, codes: Codes) -> Self {
        Self { inner, codes }
    }
}

impl<S, B> Service<Request<GrpcRequestBody>> for AttemptService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BodyError>,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Response = Response<GrpcResponseBody<B>>;
    type Error = Status;
    type Future = AttemptFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| Status::from_error(error.into()))
    }

    fn call(&mut self, mut request: Request<GrpcRequestBody>) -> Self::Future {
        let body = request.body();
        let idempotent = body.is_idempotent();
        // The response of a unary call is read within the attempt, a stream within the whole call.
        let left = match idempotent {
            true => Deadline::remaining(),
            false => body.deadline.map(|deadline| deadline.left()),
        };
        set_headers(request.headers_mut(), left);
        AttemptFuture {
            call: self.inner.call(request.map(Body::new)),
            response: None,
            idempotent,
            codes: self.codes,
        }
    }
}

fn set_headers(headers: &mut HeaderMap, left: Option<Duration>) {
    if let Some(left) = left {
        headers.insert(GRPC_TIMEOUT, value(left.saturating_add(SLACK)));
    }
    let previous = context::attempt().map_or(0, |attempt| attempt - 1);
    // Metadata that a handler passes on may have that of its own caller.
    match previous {
        0 => drop(headers.remove(PREVIOUS)),
        _ => drop(headers.insert(PREVIOUS, HeaderValue::from(previous))),
    }
}

pin_project! {
    /// The response future of [`AttemptService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct AttemptFuture<F, B> {
        #[pin]
        call: F,
        // A unary response, while it is read.
        response: Option<Response<GrpcResponseBody<B>>>,
        idempotent: bool,
        codes: Codes,
    }
}

impl<F, B, E> Future for AttemptFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BodyError>,
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Output = Result<Response<GrpcResponseBody<B>>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.response.is_none() {
            let response = ready!(this.call.poll(cx));
            let response = response.map_err(|error| Status::from_error(error.into()))?;
            let mut response = GrpcResponseBody::of(response);
            if *this.codes != Codes::new() {
                response.extensions_mut().insert(*this.codes);
            }
            if !*this.idempotent {
                return Poll::Ready(Ok(response));
            }
            *this.response = Some(response);
        }
        if let Some(response) = this.response {
            ready!(GrpcResponseBody::poll_whole(response, cx)).map_err(Status::from_error)?;
        }
        let response = this.response.take();
        Poll::Ready(Ok(response.expect("polled after it was ready")))
    }
}
