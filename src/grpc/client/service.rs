use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::body::GrpcBody;
use super::request::GrpcRequestBody;
use crate::config::Mode;
use crate::deadline::Deadline;
use crate::grpc::methods::Methods;
use crate::grpc::timeout::{GRPC_TIMEOUT, timeout};
use crate::macros::debug_fields;
use crate::stack::{Overrides, TotalOf};

/// A gRPC channel under a [`GrpcClientStack`](super::GrpcClientStack), for the clients that tonic
/// generates: see [`Channel`](super::Channel). `W` is the service of the stack.
#[derive(Clone)]
pub struct GrpcClientService<W> {
    inner: W,
    total: TotalOf,
    idempotent: Methods,
}

impl<W> GrpcClientService<W> {
    pub(super) fn new(inner: W, total: TotalOf, idempotent: Methods) -> Self {
        Self {
            inner,
            total,
            idempotent,
        }
    }
}

impl<W, B> Service<Request<Body>> for GrpcClientService<W>
where
    W: Service<Request<GrpcRequestBody>, Response = Response<B>, Error = Status>,
{
    type Response = Response<GrpcBody<B>>;
    type Error = Status;
    type Future = GrpcClientFuture<W::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let idempotent = self.idempotent.contains(request.uri().path());
        let overrides: Option<&Overrides> = request.extensions().get();
        let overrides = overrides.copied().unwrap_or_default();
        let own = timeout(request.headers());
        let own = own.into_iter().chain(overrides.total()).min();
        request.headers_mut().remove(GRPC_TIMEOUT);
        let total = self.total.total();
        let total = (total.mode() == Mode::Enforce).then(|| total.limit());
        let limit = match (own, total) {
            (Some(own), Some(total)) => {
                let limit = self.total.allowed(own);
                if limit > total {
                    // For the total timeout, which reads it there.
                    let extensions = request.extensions_mut();
                    extensions.insert(overrides.total_timeout(limit));
                }
                Some(limit)
            }
            (own, total) => own.or(total),
        };
        let deadline = limit.map(Deadline::after);
        let deadline = Deadline::current().into_iter().chain(deadline).min();
        let request = request.map(|body| GrpcRequestBody::read(body, idempotent, deadline));
        // The total timeout takes an earlier deadline over at `call`, and enforces it.
        let call = match own.and(deadline) {
            Some(deadline) => deadline.enter(|| self.inner.call(request)),
            None => self.inner.call(request),
        };
        GrpcClientFuture { call }
    }
}

debug_fields!([W: fmt::Debug] GrpcClientService<W>, this: inner = this.inner,
    idempotent = this.idempotent);

pin_project! {
    /// The response future of [`GrpcClientService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct GrpcClientFuture<F> {
        #[pin]
        call: F,
    }
}

impl<F, B> Future for GrpcClientFuture<F>
where
    F: Future<Output = Result<Response<B>, Status>>,
{
    type Output = Result<Response<GrpcBody<B>>, Status>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().call.poll(cx);
        polled.map_ok(|response| response.map(GrpcBody::new))
    }
}
