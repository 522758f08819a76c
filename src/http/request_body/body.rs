use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::classify::Drain;
use crate::config::Mode;
use crate::context::Left;
use crate::http::BodyError;
use crate::http::body::{EveryChunk, Limits, WaitForChunk};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::Arc;
use crate::time::{self, Sleep, Tick};
use crate::timeout::Timeout;

/// How long the request bodies of a service may take.
#[derive(Clone, Debug)]
pub(super) struct RequestLimits {
    /// Only its idle timeout is set.
    pub(super) chunks: Limits<EveryChunk>,
    /// From the call to the end of the body.
    pub(super) total: Option<Timeout>,
}

/// A request body with limits of its time; made by [`RequestBodyLayer`](super::RequestBodyLayer) and
/// by the HTTP server stack.
///
/// It forwards frames as they are, and keeps `size_hint`, `is_end_stream` and trailers. A body that
/// is cut short ends in an error in which [`Reason::of`](crate::Reason::of) finds the reason. The
/// timer is allocated at the first wait.
#[must_use = "a body does nothing unless it is read"]
pub struct RequestBody<B> {
    // None once it has ended, failed, or was cut short.
    body: Option<B>,
    // None for one that is empty from the start.
    clock: Option<Clock>,
    /// Reads the rest of one that is dropped before its end.
    drain: Option<fn(B) -> Option<Drain>>,
}

struct Clock {
    limits: Arc<RequestLimits>,
    wait: WaitForChunk,
    start: Tick,
    /// When the total has passed. Never without one, and once record-only mode has recorded.
    end: Tick,
    // In a box, because the body can move and a timer cannot. None before the first wait that has
    // an end.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> RequestBody<B> {
    pub(super) fn empty() -> Self {
        Self {
            body: None,
            clock: None,
            drain: None,
        }
    }

    pub(super) fn new(
        body: B,
        limits: &Arc<RequestLimits>,
        drain: Option<fn(B) -> Option<Drain>>,
    ) -> Self {
        Self {
            body: Some(body),
            clock: Some(Clock::start(Arc::clone(limits))),
            drain,
        }
    }
}

impl Clock {
    fn start(limits: Arc<RequestLimits>) -> Self {
        let total = limits.total.as_ref();
        let total = total.filter(|total| total.mode() != Mode::Off);
        let (start, end) = match total.map(Timeout::limit) {
            None => (Tick::ZERO, Tick::NEVER),
            Some(limit) => {
                let now = time::now();
                (now, now.after(limit))
            }
        };
        Self {
            wait: WaitForChunk::NEW,
            limits,
            start,
            end,
            timer: None,
        }
    }

    /// The rejection that cuts the body short at `now`.
    fn cut(&mut self, now: Tick) -> Option<Rejection> {
        let kind = |limit, elapsed| RejectionKind::RequestTimedOut { limit, elapsed };
        let mut rejection = None;
        if self.end <= now {
            self.end = Tick::NEVER;
            rejection = self.limits.total.as_ref()?.cut(self.start, now, kind);
        }
        rejection.or_else(|| self.wait.cut(&self.limits.chunks, now, kind))
    }

    /// Waits for the first limit of a body that is pending. Resolves to the rejection.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        if self.limits.chunks.idle.is_some() {
            self.wait.wait(time::now);
        }
        loop {
            let due = self.wait.due(&self.limits.chunks).min(self.end);
            if due.is_never() {
                return Poll::Pending;
            }
            // One that is set for an earlier instant stays, and is set again when it fires.
            let armed = self.timer.as_ref().map(|timer| timer.deadline());
            if armed.is_none_or(|armed| armed > due) {
                #[allow(clippy::disallowed_methods)] // A body that waits may allocate once.
                let timer = Box::pin(Sleep::until(due));
                self.timer = Some(timer);
            }
            let timer = self.timer.as_mut().expect("it was set above");
            let now = ready!(timer.as_mut().poll_elapsed(cx));
            self.timer = None;
            if let Some(rejection) = self.cut(now) {
                return Poll::Ready(rejection);
            }
        }
    }
}

impl<B> HttpBody for RequestBody<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = B::Data;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BodyError>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.data_ref().is_some_and(Buf::has_remaining) {
                    if let Some(clock) = &mut this.clock {
                        clock.wait.progress();
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.body = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                this.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(clock) = &mut this.clock else {
                    return Poll::Pending;
                };
                let rejection = ready!(clock.poll_cut(cx));
                this.body = None;
                Left::cut(&rejection);
                Poll::Ready(Some(Err(rejection.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(drain)) = (self.body.take(), self.drain) {
            Left::remains(|| drain(body));
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.body {
            Some(_) => "RequestBody(of the caller)",
            None => "RequestBody(ended)",
        })
    }
}
