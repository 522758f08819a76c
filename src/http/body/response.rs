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

use super::held::{End, Held};
use super::limits::{EveryChunk, Limits, Progress, WaitForChunk};
use crate::classify::{Codes, FailureKind, Outcome};
use crate::http::format::speaks_grpc;
use crate::http::trailers::of_grpc;
use crate::in_flight::OnPanic;
use crate::rejection::{Reason, Rejection, RejectionKind};
use crate::sync::Arc;
use crate::time::{self, Sleep, Tick};

/// A body that holds its call hands out no larger chunks: a host such as hyper drops a body as soon
/// as it has taken the last chunk, and stops to take chunks when it cannot write them.
const CHUNK: usize = 64 * 1024;

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
    /// It is not `Unpin`, because it holds its timer itself: pin it to read frame by frame.
    ///
    /// Dropping it drops the service's body first, and then releases what the call holds.
    #[must_use = "a body does nothing unless it is read"]
    pub struct Body<B, P = EveryChunk> {
        #[pin]
        source: Source<B>,
        // None before the first wait that has an end.
        #[pin]
        timer: Option<Sleep>,
        call: Call<P>,
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

/// The call that ends with the body.
struct Call<P> {
    /// None for the text of a rejection.
    limits: Option<Arc<Limits<P>>>,
    held: Held,
    wait: WaitForChunk,
    /// When the head decides if the body has not ended. None before the first wait.
    judge_at: Option<Tick>,
    /// What is left of a large chunk.
    rest: Bytes,
    /// What the body has said so far, for a body that ends without an error.
    outcome: Outcome,
    /// How the gRPC status in the trailers counts.
    codes: Codes,
}

impl<B, P> Body<B, P> {
    pub(super) fn new(body: B, limits: Arc<Limits<P>>) -> Self {
        Self::from_parts(Source::Service { body }, Some(limits))
    }

    fn from_parts(source: Source<B>, limits: Option<Arc<Limits<P>>>) -> Self {
        Self {
            source,
            timer: None,
            call: Call {
                limits,
                held: Held::default(),
                wait: WaitForChunk::NEW,
                judge_at: None,
                rest: Bytes::new(),
                outcome: Outcome::Success,
                codes: Codes::new(),
            },
        }
    }
}

/// Moves `held` into the body of `response`. Returns it if the body has already ended.
pub(super) fn hold<B, P, T>(response: &mut Response<Body<B, P>>, held: T) -> Option<T>
where
    B: HttpBody,
    T: Any,
{
    match &response.body().source {
        Source::Service { body } if !body.is_end_stream() => {}
        _ => return Some(held),
    }
    let codes = response.extensions().get().copied();
    let codes: Codes = codes.unwrap_or_default();
    let headers = response.headers();
    if speaks_grpc(headers) && of_grpc(headers, &codes).is_none() {
        // A stream that ends without a status was cut off.
        response.body_mut().call.outcome = failure(FailureKind::Response);
        response.body_mut().call.codes = codes;
    }
    response.body_mut().call.held.add(held)
}

impl<B, P> Default for Body<B, P> {
    /// An empty body.
    fn default() -> Self {
        Self::from_parts(Source::Ended, None)
    }
}

impl<B, P> From<Bytes> for Body<B, P> {
    /// A body of one chunk, which no service has made: the text of a rejection.
    fn from(text: Bytes) -> Self {
        match text.is_empty() {
            true => Self::default(),
            false => Self::from_parts(Source::Text { text }, None),
        }
    }
}

impl<P> Call<P> {
    /// When a wait for the next frame has to be looked at.
    fn due(&self) -> Tick {
        let judge_at = self.judge_at.filter(|_| self.held.is_judged());
        let wait = self.limits.as_ref().map(|limits| self.wait.due(limits));
        let due = self.held.due().min(judge_at.unwrap_or(Tick::NEVER));
        due.min(wait.unwrap_or(Tick::NEVER))
    }

    /// The reader waits.
    fn wait(&mut self) {
        let Some(limits) = &self.limits else { return };
        if limits.idle.is_some() || limits.first_chunk.is_some() {
            self.wait.wait(time::now);
        }
        if self.judge_at.is_none() && self.held.is_judged() {
            self.judge_at = Some(time::now().after(limits.judge_within));
        }
    }

    /// The rejection of a call whose total has passed while its reader did not read.
    fn overdue(&mut self) -> Option<Rejection> {
        let due = self.held.due();
        if due.is_never() {
            return None;
        }
        let now = time::now();
        // In the same instant the chunk wins.
        match now > due {
            true => self.held.cut(now),
            false => None,
        }
    }

    /// The next part of a large chunk.
    fn next_chunk(&mut self) -> Bytes {
        let length = self.rest.len().min(CHUNK);
        self.rest.split_to(length)
    }

    /// The rejection that cuts the body short at `now`.
    fn cut(&mut self, now: Tick) -> Option<Rejection> {
        if self.judge_at.is_some_and(|at| at <= now) {
            self.held.judge(Outcome::Success);
        }
        let by_total = self.held.cut(now);
        let kind = |limit, elapsed| RejectionKind::TimedOut { limit, elapsed };
        by_total.or_else(|| self.wait.cut(self.limits.as_ref()?, now, kind))
    }

    /// The body has ended. A body that has taken too long counts as its head said.
    fn end(&mut self, outcome: Outcome) {
        if self.held.is_judged() && self.judge_at.is_some_and(|at| at <= time::now()) {
            self.held.judge(Outcome::Success);
        }
        self.rest = Bytes::new();
        self.held.settle(End::Ended(outcome));
    }

    fn panicked(&mut self) {
        self.held.settle(End::Panicked);
    }
}

fn failure(kind: FailureKind) -> Outcome {
    Outcome::Failure {
        kind,
        retry_after: None,
    }
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
        let mut body = match this.source.as_mut().project() {
            SourceProjection::Service { body } => body,
            SourceProjection::Text { text } => {
                let text = std::mem::take(text);
                this.source.set(Source::Ended);
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
            SourceProjection::Ended => return Poll::Ready(None),
        };
        if let Some(rejection) = this.call.overdue() {
            this.source.set(Source::Ended);
            this.call.end(failure(FailureKind::Timeout));
            return Poll::Ready(Some(Err(rejection.into())));
        }
        if !this.call.rest.is_empty() {
            let chunk = this.call.next_chunk();
            if this.call.rest.is_empty() && body.is_end_stream() {
                this.call.end(this.call.outcome);
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
        }
        let polled = {
            let _restore = this.call.held.enter();
            let guard = OnPanic::new(this.call, Call::panicked);
            let polled = body.as_mut().poll_frame(cx);
            guard.done();
            polled
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    if let Some(outcome) = of_grpc(trailers, &this.call.codes) {
                        this.call.outcome = outcome;
                    }
                } else if let (Some(chunk), Some(limits)) = (frame.data_ref(), &this.call.limits) {
                    if limits.progress.is_progress(chunk) {
                        this.call.wait.progress();
                    }
                }
                if let Some(chunk) = frame.data_mut().filter(|chunk| chunk.remaining() > CHUNK) {
                    if !this.call.held.is_empty() {
                        // Of `Bytes`, this takes a reference.
                        this.call.rest = chunk.copy_to_bytes(chunk.remaining());
                        frame = Frame::data(this.call.next_chunk().into());
                    }
                }
                // The reader need not poll again.
                if this.call.rest.is_empty() && body.is_end_stream() {
                    this.call.end(this.call.outcome);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.source.set(Source::Ended);
                this.call.end(this.call.outcome);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let error = error.into();
                let outcome = match Reason::of(&*error) {
                    Some(reason) => reason.outcome(),
                    None => failure(FailureKind::Error),
                };
                this.source.set(Source::Ended);
                this.call.end(outcome);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => {
                let rejection = ready!(poll_cut(this.timer, this.call, cx));
                // Dropped before its permits are released.
                this.source.set(Source::Ended);
                this.call.end(failure(FailureKind::Timeout));
                Poll::Ready(Some(Err(rejection.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Service { body } => self.call.rest.is_empty() && body.is_end_stream(),
            Source::Text { .. } => false,
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Service { body } => {
                let (mut hint, rest) = (body.size_hint(), self.call.rest.len() as u64);
                let upper = hint.upper().map(|upper| upper + rest);
                if let Some(upper) = upper {
                    hint.set_upper(upper);
                }
                hint.set_lower(hint.lower() + rest);
                hint
            }
            Source::Text { text } => SizeHint::with_exact(text.len() as u64),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

/// Waits for the first limit of a body that is pending. Resolves to the rejection.
fn poll_cut<P>(
    mut timer: Pin<&mut Option<Sleep>>,
    call: &mut Call<P>,
    cx: &mut Context<'_>,
) -> Poll<Rejection> {
    call.wait();
    loop {
        let due = call.due();
        if due.is_never() {
            return Poll::Pending;
        }
        // A timer that is set for an earlier instant stays: each chunk moves the instant, and the
        // timer is set again when it fires.
        let armed = timer.as_ref().get_ref().as_ref().map(Sleep::deadline);
        if armed.is_none_or(|armed| armed > due) {
            timer.set(Some(Sleep::until(due)));
        }
        let sleep = timer.as_mut().as_pin_mut().expect("it was set above");
        let now = ready!(sleep.poll_elapsed(cx));
        timer.set(None);
        if let Some(rejection) = call.cut(now) {
            return Poll::Ready(rejection);
        }
    }
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
