use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_layer::{Identity, Layer};
use tower_service::Service;

use super::{Arrived, CallHeaders};
use crate::http::request::RequestHeaders;
use crate::stack::ServerStack;
use crate::sync::Arc;

/// Continues the call of a caller that sends [`CallHeaders`]: its deadline is in force for everything
/// below, and an extra attempt of its is one here too.
///
/// It is a layer around the layer `L`, made by `.trust_call_headers(..)` on a server stack, to which it
/// dereferences. Alone it stands above a [`TimeoutLayer`](crate::TimeoutLayer), which enforces the
/// deadline:
///
/// ```
/// use std::time::Duration;
/// use seawall::TimeoutLayer;
/// use seawall::http::{CallHeaders, TrustCallHeaders};
/// use tower::ServiceBuilder;
///
/// let layers = ServiceBuilder::new()
///     .layer(TrustCallHeaders::new(CallHeaders::new()))
///     .layer(TimeoutLayer::new(Duration::from_secs(30)));
/// # let _ = layers;
/// ```
///
/// # What a caller can do
///
/// Shorten its own time, and have its call not retried here. It cannot get more time than the stack's
/// own timeout. A request whose time is over when it arrives is rejected before the handler runs,
/// with 504.
///
/// A value that is not a whole number is ignored, as if the header were not there: the stack's own
/// timeout limits the call. A negative time is zero, and of several headers the shortest time
/// counts.
///
/// An extra attempt, which is one above the first, is not retried and not hedged by the client stacks
/// in the handler, and does not wait in the queue of a bulkhead. [`seawall::attempt()`](crate::attempt)
/// returns its number.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct TrustCallHeaders<L = Identity> {
    layer: L,
    headers: CallHeaders,
}

impl TrustCallHeaders {
    /// The layer alone.
    pub fn new(headers: CallHeaders) -> Self {
        Self {
            layer: Identity::new(),
            headers,
        }
    }
}

impl<L> TrustCallHeaders<L> {
    pub(in crate::http) fn around(layer: L, headers: CallHeaders) -> Self {
        Self { layer, headers }
    }
}

impl<R, L, B> ServerStack<R, L, B> {
    /// Takes over the deadline and the attempt of callers that send them: see
    /// [`TrustCallHeaders`](crate::http::TrustCallHeaders). It comes after the other options.
    pub fn trust_call_headers(self, headers: CallHeaders) -> TrustCallHeaders<Self> {
        TrustCallHeaders::around(self, headers)
    }
}

impl<L> Deref for TrustCallHeaders<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.layer
    }
}

impl<S, L: Layer<S>> Layer<S> for TrustCallHeaders<L> {
    type Service = TrustService<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        TrustService {
            inner: self.layer.layer(inner),
            headers: Arc::new(self.headers.clone()),
        }
    }
}

/// A service that continues the calls of other processes; made by [`TrustCallHeaders`].
#[derive(Clone, Debug)]
pub struct TrustService<S> {
    inner: S,
    headers: Arc<CallHeaders>,
}

impl<S, Req> Service<Req> for TrustService<S>
where
    S: Service<Req>,
    Req: RequestHeaders,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TrustFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let arrived = self.headers.read(request.headers());
        let _restore = arrived.map(|arrived| arrived.context().enter());
        TrustFuture {
            future: self.inner.call(request),
            arrived,
        }
    }
}

pin_project! {
    /// The response future of [`TrustService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TrustFuture<F> {
        #[pin]
        future: F,
        arrived: Option<Arrived>,
    }
}

impl<F: Future> Future for TrustFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _restore = this.arrived.map(|arrived| arrived.context().enter());
        this.future.poll(cx)
    }
}
