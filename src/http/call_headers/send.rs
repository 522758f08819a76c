use std::ops::Deref;
use std::task::{Context, Poll};

use tower_layer::{Identity, Layer};
use tower_service::Service;

use super::CallHeaders;
use crate::http::request::RequestHeaders;
use crate::stack::ClientStack;
use crate::sync::Arc;

/// Sends the state of the call in [`CallHeaders`], for a server that
/// [trusts](super::TrustCallHeaders) them: how much time is left of the deadline in force, less the
/// slack, and the number of an extra attempt.
///
/// It is made by `.send_call_headers(..)` on a client stack, to which it dereferences: then it stands
/// under the stack's layers, so that each attempt sends its own time. Alone it stands under every
/// timeout and retry:
///
/// ```
/// use std::time::Duration;
/// use seawall::TimeoutLayer;
/// use seawall::http::{CallHeaders, SendCallHeaders};
/// use tower::ServiceBuilder;
///
/// let layers = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(Duration::from_millis(800)))
///     .layer(SendCallHeaders::new(CallHeaders::new()));
/// # let _ = layers;
/// ```
///
/// A call without a deadline sends no time, and a first attempt no number. Headers of these names that
/// the request already has, such as those of a caller whose request a proxy forwards, are replaced or
/// removed. A call with no more time left than the slack sends 0, and is rejected by the server.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct SendCallHeaders<L = Identity> {
    layer: L,
    headers: CallHeaders,
}

impl SendCallHeaders {
    /// The layer alone.
    pub fn new(headers: CallHeaders) -> Self {
        Self {
            layer: Identity::new(),
            headers,
        }
    }
}

impl<R, C, L, O, K, B> ClientStack<R, C, L, O, K, B> {
    /// Sends the deadline and the number of the attempt with each request: see
    /// [`SendCallHeaders`](crate::http::SendCallHeaders). It comes after the other options.
    pub fn send_call_headers(self, headers: CallHeaders) -> SendCallHeaders<Self> {
        let layer = self;
        SendCallHeaders { layer, headers }
    }
}

impl<L> Deref for SendCallHeaders<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.layer
    }
}

impl<S, L: Layer<SendService<S>>> Layer<S> for SendCallHeaders<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        let headers = Arc::new(self.headers.clone());
        self.layer.layer(SendService { inner, headers })
    }
}

/// A service that sends the state of its calls; made by [`SendCallHeaders`].
#[derive(Clone, Debug)]
pub struct SendService<S> {
    inner: S,
    headers: Arc<CallHeaders>,
}

impl<S, Req> Service<Req> for SendService<S>
where
    S: Service<Req>,
    Req: RequestHeaders,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        self.headers.write(request.headers_mut());
        self.inner.call(request)
    }
}
