//! The response body at whose end a call ends.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::call::Call;
use super::limits::{EveryChunk, Limits, Progress};
use crate::classify::{FailureKind, Outcome};
use crate::http::format::speaks_grpc;
use crate::http::trailers::of_grpc;
use crate::in_flight::OnPanic;
use crate::rejection::Reason;
use crate::sync::Arc;

/// Any error of a body.
pub type BodyError = Box<dyn StdError + Send + Sync>;

pin_project! {
    /// A response body, with what its call holds until the body ends: permits, the verdict of a
    /// circuit breaker, the total timeout. Or the text of a rejection.
    ///
    /// [`BodyLayer`](super::BodyLayer) makes it of the service's body `B`. It forwards frames as
    /// they are, keeps `size_hint`, `is_end_stream` and trailers, and allocates nothing for a
    /// frame. `P` says which chunks are progress.
    ///
    /// A body that is cut short ends in an error. [`Reason::of`] finds its reason, and
    /// [`Reason::find`] finds it below the errors of hyper and axum.
    ///
    /// It is `Unpin` if the service's body is.
    ///
    /// Dropping it drops the service's body first, and then releases what the call holds.
    #[must_use = "a body does nothing unless it is read"]
    pub struct Body<B, P = EveryChunk> {
        #[pin]
        source: Source<B>,
        // None for the text of a rejection.
        limits: Option<Arc<Limits<P>>>,
        call: Call,
    }
}

pin_project! {
    #[project = SourceProjection]
    enum Source<B> {
        Service {
            #[pin]
            body: B,
        },
        Text { text: Bytes },
        // Read to its end, failed, or cut short.
        Ended,
    }
}

impl<B: HttpBody, P> Body<B, P> {
    #[inline]
    pub(super) fn new(body: B, limits: Arc<Limits<P>>) -> Self {
        let call = match body.is_end_stream() {
            true => Call::ENDED,
            false => Call::begin(),
        };
        Self {
            source: Source::Service { body },
            limits: Some(limits),
            call,
        }
    }
}

impl<B, P> Body<B, P> {
    fn without_call(source: Source<B>) -> Self {
        Self {
            source,
            limits: None,
            call: Call::ENDED,
        }
    }
}

/// Moves `held` into the body of `response`. Returns it if the body has already ended.
#[inline]
pub(super) fn hold<B, P, T>(response: &mut Response<Body<B, P>>, held: T) -> Option<T>
where
    T: Any,
{
    if response.body().call.is_free() && speaks_grpc(response.headers()) {
        expect_status(response);
    }
    response.body_mut().call.hold(held)
}

#[cold]
fn expect_status<B, P>(response: &mut Response<Body<B, P>>) {
    let codes = response.extensions().get().copied();
    let codes = codes.unwrap_or_default();
    let states_none = of_grpc(response.headers(), &codes).is_none();
    response.body_mut().call.expect_status(codes, states_none);
}

impl<B, P> Default for Body<B, P> {
    /// An empty body.
    fn default() -> Self {
        Self::without_call(Source::Ended)
    }
}

impl<B, P> From<Bytes> for Body<B, P> {
    /// A body of one chunk, which no service has made: the text of a rejection.
    fn from(text: Bytes) -> Self {
        match text.is_empty() {
            true => Self::default(),
            false => Self::without_call(Source::Text { text }),
        }
    }
}

/// The rest of a body that is not the service's.
fn own<B: HttpBody>(mut source: Pin<&mut Source<B>>) -> Option<Result<Frame<B::Data>, BodyError>>
where
    B::Data: From<Bytes>,
{
    let SourceProjection::Text { text } = source.as_mut().project() else {
        return None;
    };
    let text = std::mem::take(text);
    source.set(Source::Ended);
    Some(Ok(Frame::data(text.into())))
}

impl<B, P> HttpBody for Body<B, P>
where
    B: HttpBody,
    B::Data: From<Bytes>,
    B::Error: Into<BodyError>,
    P: Progress<B::Data>,
{
    type Data = B::Data;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BodyError>>> {
        let mut this = self.project();
        let SourceProjection::Service { mut body } = this.source.as_mut().project() else {
            return Poll::Ready(own(this.source));
        };
        let call = this.call;
        let timed = call.is_timed();
        if timed && call.is_overdue() {
            if let Some(rejection) = call.overdue() {
                this.source.set(Source::Ended);
                call.end_with(Outcome::failure(FailureKind::Timeout));
                return Poll::Ready(Some(Err(rejection.into())));
            }
        }
        if let Some(chunk) = call.next_part() {
            if call.left() == 0 && body.is_end_stream() {
                call.end();
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
        }
        let polled = {
            let _restore = timed.then(|| call.enter());
            let guard = OnPanic::new(call, Call::panicked);
            let polled = body.as_mut().poll_frame(cx);
            guard.done();
            polled
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let mut chunk = match frame.into_data() {
                    Ok(chunk) => chunk,
                    Err(frame) => {
                        if let Some(trailers) = frame.trailers_ref() {
                            call.status(trailers);
                        }
                        if body.is_end_stream() {
                            call.end();
                        }
                        return Poll::Ready(Some(Ok(frame)));
                    }
                };
                let limits = this.limits.as_ref();
                if limits.is_some_and(|limits| limits.progress.is_progress(&chunk)) {
                    call.progress();
                }
                if call.splits(chunk.remaining()) {
                    // Of `Bytes`, this takes a reference.
                    let bytes = chunk.copy_to_bytes(chunk.remaining());
                    chunk = call.split(bytes).into();
                } else if body.is_end_stream() {
                    // The reader need not poll again.
                    call.end();
                }
                // Written once, where the reader wants it.
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Poll::Ready(None) => {
                this.source.set(Source::Ended);
                call.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let error = error.into();
                let outcome = match Reason::of(&*error) {
                    Some(reason) => reason.outcome(),
                    None => Outcome::failure(FailureKind::Error),
                };
                this.source.set(Source::Ended);
                call.end_with(outcome);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => {
                let Some(limits) = this.limits else {
                    return Poll::Pending;
                };
                let rejection = ready!(call.poll_cut(limits, cx));
                // Dropped before its permits are released.
                this.source.set(Source::Ended);
                call.end_with(Outcome::failure(FailureKind::Timeout));
                Poll::Ready(Some(Err(rejection.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Service { body } => self.call.left() == 0 && body.is_end_stream(),
            Source::Text { .. } => false,
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Service { body } => with_more(body.size_hint(), self.call.left()),
            Source::Text { text } => SizeHint::with_exact(text.len() as u64),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

/// The hint of a body of which this many bytes have been read and are still to be handed out.
pub(crate) fn with_more(mut hint: SizeHint, bytes: usize) -> SizeHint {
    if let Some(upper) = hint.upper() {
        hint.set_upper(upper + bytes as u64);
    }
    hint.set_lower(hint.lower() + bytes as u64);
    hint
}

impl<B, P> fmt::Debug for Body<B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.source {
            Source::Service { .. } => "Body(of the service)",
            Source::Text { .. } => "Body(text)",
            Source::Ended => "Body(ended)",
        })
    }
}
