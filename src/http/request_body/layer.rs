use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::EXPECT;
use http::{Request, Response, Version};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{RequestBody, RequestLimits};
use crate::classify::Drain;
use crate::context::Left;
use crate::http::body::{EveryChunk, Limits};
use crate::http::drain;
use crate::macros::{debug_fields, setters};
use crate::rejection::Reason;
use crate::service::{Format, Guard, Native};
use crate::sync::Arc;
use crate::timeout::Timeout;

/// Limits how long the request bodies of a server may take, and keeps the connection of a rejected
/// request. It stands outside of the layers that reject. The HTTP server stack has it already.
///
/// A body that takes too long ends in an error. If the service then fails, as a handler does that
/// cannot read its request, the answer is 408 instead.
///
/// Up to 64 KiB of the body of a rejected request are read before the answer, for at most 10 ms:
/// HTTP/1 closes a connection on which a request was not read. Nothing is read if the request
/// `expect`s 100-continue, because the caller has not sent its body then.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::post};
/// use seawall::http::RequestBodyLayer;
/// use seawall::{Bulkhead, BulkheadLayer};
/// use tower::ServiceBuilder;
///
/// let bulkhead = Bulkhead::new(64);
/// let layers = ServiceBuilder::new()
///     .layer(RequestBodyLayer::new().idle(Duration::from_secs(30)).total(Duration::from_secs(300)))
///     .layer(BulkheadLayer::new(&bulkhead));
/// let app: Router = Router::new().route("/", post(|body: String| async { body })).layer(layers);
/// # let _ = app;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct RequestBodyLayer<R = Native> {
    limits: RequestLimits,
    responder: R,
}

impl Default for RequestBodyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestBodyLayer {
    /// A layer without limits.
    pub fn new() -> Self {
        Self {
            limits: RequestLimits {
                chunks: Limits {
                    first_chunk: None,
                    idle: None,
                    judge_within: Duration::ZERO,
                    progress: EveryChunk,
                },
                total: None,
            },
            responder: Native,
        }
    }
}

impl<R> RequestBodyLayer<R> {
    setters! {
        /// Limits how long the service waits for the next chunk of a request. The time in which it does
        /// not read does not count. The default is no limit.
        #[track_caller]
        idle(limit: impl Into<Timeout>) => limits.chunks.idle = Some(limit.into());

        /// Limits how long a request body takes, from the call to its end, if the service waits for it.
        /// The default is no limit.
        #[track_caller]
        total(limit: impl Into<Timeout>) => limits.total = Some(limit.into());
    }

    /// Answers a request whose body took too long by a [`Respond`](crate::service::Respond).
    pub fn respond_as<R2>(self, responder: R2) -> RequestBodyLayer<R2> {
        RequestBodyLayer {
            limits: self.limits,
            responder,
        }
    }
}

impl<S, R: Clone> Layer<S> for RequestBodyLayer<R> {
    type Service = RequestBodyService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestBodyService {
            inner,
            limits: Arc::new(self.limits.clone()),
            responder: self.responder.clone(),
        }
    }
}

/// A service that gets a [`RequestBody`]; made by [`RequestBodyLayer`].
#[derive(Clone)]
pub struct RequestBodyService<S, R = Native> {
    inner: S,
    limits: Arc<RequestLimits>,
    responder: R,
}

impl<S, R, A, B> Service<Request<A>> for RequestBodyService<S, R>
where
    S: Guard<Request<RequestBody<A>>, R, Response = Response<B>>,
    A: HttpBody + Send + Unpin + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = RequestBodyFuture<S::Future, S::Format, Response<B>, S::Error>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_empty = request.body().is_end_stream();
        let drain = (!is_empty && may_drain(&request)).then_some(drain::<A> as fn(A) -> _);
        let limits = &self.limits;
        let request = request.map(|body| match is_empty {
            true => RequestBody::empty(),
            false => RequestBody::new(body, limits, drain),
        });
        let format = S::format(&self.responder, &request);
        let mut left = (!is_empty).then(Left::default);
        let collecting = left.as_mut().map(Left::collecting);
        let call = self.inner.call(request);
        drop(collecting);
        RequestBodyFuture {
            call,
            format,
            left,
            rejected: None,
        }
    }
}

/// Whether the rest of this request may be read if it is rejected.
fn may_drain<A>(request: &Request<A>) -> bool {
    // HTTP/2 resets the stream alone.
    let one_stream = request.version() < Version::HTTP_2;
    one_stream && !request.headers().contains_key(EXPECT)
}

debug_fields!([S: fmt::Debug, R] RequestBodyService<S, R>, this: inner = this.inner);

pin_project! {
    /// The response future of [`RequestBodyService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RequestBodyFuture<F, M, Res, Err> {
        #[pin]
        call: F,
        format: M,
        // None for a request without a body.
        left: Option<Left>,
        // The answer to a rejected call, while the rest of its request is read.
        rejected: Option<(Result<Res, Err>, Drain)>,
    }
}

impl<F, M, B, Err> Future for RequestBodyFuture<F, M, Response<B>, Err>
where
    F: Future<Output = Result<Response<B>, Err>>,
    M: Format<Response<B>, Err>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let call = this.call;
        let Some(left) = this.left else {
            return call.poll(cx);
        };
        if this.rejected.is_none() {
            let collecting = left.collecting();
            let polled = call.poll(cx);
            drop(collecting);
            let output = ready!(polled);
            if let Some(rejection) = left.cut.take().filter(|_| has_failed(&output)) {
                return Poll::Ready(this.format.clone().reject(*rejection));
            }
            let reason = this.format.reason(output.as_ref());
            match left.remains.take() {
                Some(rest) if reason.is_some_and(Reason::call_not_made) => {
                    *this.rejected = Some((output, rest));
                }
                _ => return Poll::Ready(output),
            }
        }
        if let Some((_, rest)) = this.rejected {
            ready!(rest.poll(cx));
        }
        let (output, _) = this.rejected.take().expect("polled after it was ready");
        Poll::Ready(output)
    }
}

/// Whether the service could not do its work, as one does that cannot read its request.
fn has_failed<B, Err>(output: &Result<Response<B>, Err>) -> bool {
    output.as_ref().map_or(true, |response| {
        let status = response.status();
        status.is_client_error() || status.is_server_error()
    })
}

impl<F, M, Res, Err> fmt::Debug for RequestBodyFuture<F, M, Res, Err> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.rejected {
            None => "RequestBodyFuture(calling)",
            Some(_) => "RequestBodyFuture(reading the rest)",
        })
    }
}
