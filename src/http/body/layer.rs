use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::limits::{ChunksBy, EveryChunk, Limits};
use super::response::Body;
use crate::macros::setters;
use crate::sync::Arc;
use crate::timeout::Timeout;

/// Longer than a call of most services, and shorter than a stream.
const JUDGE_WITHIN: Duration = Duration::from_secs(10);

/// Makes the bodies of a service's responses the library's [`Body`], and limits them.
///
/// It stands below the layers whose calls last until the end of the body:
///
/// ```
/// use std::time::Duration;
/// use http_body_util::Full;
/// use seawall::http::BodyLayer;
/// use seawall::{Bulkhead, BulkheadLayer};
/// use tower::{BoxError, ServiceBuilder, service_fn};
///
/// let bulkhead = Bulkhead::new(64);
/// let service = ServiceBuilder::new()
///     .layer(BulkheadLayer::new(&bulkhead).until_body_end())
///     .layer(BodyLayer::new().idle(Duration::from_secs(30)))
///     .service(service_fn(|_: http::Request<()>| async {
///         Ok::<_, BoxError>(http::Response::new(Full::new(bytes::Bytes::from("hello"))))
///     }));
/// # let _ = service;
/// ```
///
/// Without a limit of its own, it only lets the layers above hold their permits in the body.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct BodyLayer<P = EveryChunk> {
    limits: Limits<P>,
}

impl Default for BodyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl BodyLayer {
    /// A layer without limits.
    pub fn new() -> Self {
        Self {
            limits: Limits {
                first_chunk: None,
                idle: None,
                judge_within: JUDGE_WITHIN,
                progress: EveryChunk,
            },
        }
    }
}

impl<P> BodyLayer<P> {
    setters! {
        /// Limits how long a reader waits for the first chunk, from the first wait for it. The default
        /// is the limit of [`idle`](Self::idle).
        #[track_caller]
        first_chunk(limit: impl Into<Timeout>) => limits.first_chunk = Some(limit.into());

        /// Limits how long a reader waits for the next chunk. The time in which the reader does not
        /// read does not count. The default is no limit.
        #[track_caller]
        idle(limit: impl Into<Timeout>) => limits.idle = Some(limit.into());

        /// Sets how long a circuit breaker waits for the end of a body, from the first wait for a
        /// frame. The outcome of a call whose body takes longer is that of its head. The default is
        /// 10 s: a stream that lasts for hours must not hold a probe for hours.
        judge_within(limit: Duration) => limits.judge_within = limit;
    }

    /// Says which chunks are progress. The default is every chunk that is not empty. With
    /// server-sent events, comments that only keep the connection alive should be none, so that
    /// they do not hide a stall:
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::http::BodyLayer;
    ///
    /// let layer = BodyLayer::new()
    ///     .idle(Duration::from_secs(30))
    ///     .progress(|chunk: &bytes::Bytes| !chunk.starts_with(b":"));
    /// # let _ = layer;
    /// ```
    pub fn progress<F>(self, is_progress: F) -> BodyLayer<ChunksBy<F>> {
        let limits = self.limits;
        BodyLayer {
            limits: Limits {
                first_chunk: limits.first_chunk,
                idle: limits.idle,
                judge_within: limits.judge_within,
                progress: ChunksBy(is_progress),
            },
        }
    }
}

impl<S, P: Clone> Layer<S> for BodyLayer<P> {
    type Service = BodyService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let limits = Arc::new(self.limits.clone());
        BodyService { inner, limits }
    }
}

/// A service whose responses have a [`Body`]; made by [`BodyLayer`].
#[derive(Debug)]
pub struct BodyService<S, P = EveryChunk> {
    inner: S,
    limits: Arc<Limits<P>>,
}

impl<S: Clone, P> Clone for BodyService<S, P> {
    // By hand: `P` is shared.
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limits: Arc::clone(&self.limits),
        }
    }
}

impl<S, Req, B, P> Service<Req> for BodyService<S, P>
where
    S: Service<Req, Response = Response<B>>,
    B: HttpBody,
{
    type Response = Response<Body<B, P>>;
    type Error = S::Error;
    type Future = BodyFuture<S::Future, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        BodyFuture {
            call: self.inner.call(request),
            limits: Some(Arc::clone(&self.limits)),
        }
    }
}

pin_project! {
    /// The response future of [`BodyService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct BodyFuture<F, P> {
        #[pin]
        call: F,
        // None once the call has returned.
        limits: Option<Arc<Limits<P>>>,
    }
}

impl<F, P, B, E> Future for BodyFuture<F, P>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody,
{
    type Output = Result<Response<Body<B, P>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.call.poll(cx))?;
        let limits = this.limits.take().expect("polled after it was ready");
        Poll::Ready(Ok(response.map(|body| Body::new(body, limits))))
    }
}
