use std::task::{Context, Poll};

use http::Request;
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ReplayBody;
use crate::http::BodyError;

/// A body of this size fits into memory many times, and few requests that are worth a second
/// attempt are larger.
pub(in crate::http) const LIMIT: usize = 64 * 1024;

/// Makes request bodies that can be sent again, for a retry or hedge further down. The HTTP client
/// stack has it already.
///
/// The caller's body need not be `Clone`: that of axum, of hyper's server or of reqwest, a boxed one
/// or a stream. The service below gets a [`ReplayBody`]. A client that is generic over its body,
/// such as hyper-util's, takes that as it is; for another, `.map_request(|request| request.map(Body::new))`
/// below the stack makes one.
///
/// ```
/// use axum::body::Body;
/// use seawall::http::ReplayLayer;
/// use seawall::{Backoff, Error, Retry, RetryLayer};
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tower::ServiceBuilder;
///
/// let retry = Retry::new(Backoff::exponential(std::time::Duration::from_millis(50)));
/// let client = ServiceBuilder::new()
///     .layer(ReplayLayer::new())
///     .layer(RetryLayer::new(retry))
///     .map_err(Error::service)
///     .service(Client::builder(TokioExecutor::new()).build_http());
/// # fn is<S: tower::Service<http::Request<Body>>>(_: S) {}
/// # is(client);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct ReplayLayer {
    limit: usize,
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayLayer {
    /// Records up to 64 KiB of a body.
    pub fn new() -> Self {
        Self { limit: LIMIT }
    }

    /// Records up to this number of bytes of a body, and the rest of the chunk that reaches it. A
    /// body that is larger is sent once. With 0, so is every body that is not empty.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = ReplayService<S>;

    fn layer(&self, inner: S) -> ReplayService<S> {
        let limit = self.limit;
        ReplayService { inner, limit }
    }
}

/// A service that makes request bodies that can be sent again; made by [`ReplayLayer`].
#[derive(Clone, Debug)]
pub struct ReplayService<S> {
    pub(crate) inner: S,
    limit: usize,
}

impl<S, B> Service<Request<B>> for ReplayService<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: HttpBody + Unpin,
    B::Error: Into<BodyError>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> S::Future {
        let limit = self.limit;
        let request = request.map(|body| ReplayBody::new(body, limit));
        self.inner.call(request)
    }
}

/// The service of one attempt, whose timeout starts when the request body has been sent.
#[derive(Clone, Debug)]
pub struct Attempted<S>(pub(crate) S);

impl<S, B> Service<Request<ReplayBody<B>>> for Attempted<S>
where
    S: Service<Request<ReplayBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReplayBody<B>>) -> S::Future {
        if let Some(upload) = request.body().upload() {
            upload.announce();
        }
        self.0.call(request)
    }
}
