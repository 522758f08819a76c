#[cfg(feature = "tower")]
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::Timeout;
use super::policy::Holder;
use crate::config::Mode;
use crate::context::ClockReading;
use crate::context::{CallContext, Restore};
use crate::event::Ending;
use crate::in_flight::{OnPanic, catching};
use crate::rejection::{Error, Rejection, RejectionKind};
#[cfg(feature = "tower")]
use crate::service::Format;
use crate::time::{Sleep, Tick, nanos};

pin_project! {
    /// A future under a timeout: what the layer's future and `run` have in common.
    #[must_use = "futures do nothing unless polled"]
    pub(super) struct Timed<F> {
        // None once the call was refused or has timed out: it is dropped before that is told.
        #[pin]
        call: Option<F>,
        // None until the call has been pending once.
        #[pin]
        sleep: Option<Sleep>,
        run: Run,
    }
}

/// One call's use of a timeout.
pub(super) struct Run {
    timeout: Holder,
    start: Tick,
    /// When the limit ends.
    limit_ends: Tick,
    /// The deadline of the call: `limit_ends`, or the deadline in force at `call` if that is earlier.
    until: Tick,
    /// In a box, because every call would otherwise carry the room for it.
    refused: Option<Box<Rejection>>,
    mode: Mode,
    /// Whether its one terminal event is still owed.
    open: bool,
}

impl Run {
    /// Starts the clock. A call whose deadline has passed is refused; one that is refused anyway,
    /// because the inner service is not ready for it, is so in any mode.
    //
    // Inlined, so that its parts are made where they stay: a copy of what was just stored in
    // parts has to wait until the stores are done.
    #[inline(always)]
    pub(super) fn start(
        timeout: &Timeout,
        limit: Option<Duration>,
        clock: &mut ClockReading,
        refused: Option<Rejection>,
    ) -> Self {
        let setting = timeout.setting();
        let mode = setting.mode();
        let mut refused = refused.map(Box::new);
        let mut start = Tick::ZERO;
        let mut limit_ends = Tick::NEVER;
        let mut until = Tick::NEVER;
        if mode != Mode::Off {
            start = clock.now();
            let limit = limit.map_or(setting.nanos(), nanos);
            limit_ends = Tick(start.0.saturating_add(limit));
            until = limit_ends.min(CallContext::deadline());
            if until <= start {
                refused = refused.or_else(|| expired(timeout, mode));
                if mode == Mode::RecordOnly {
                    (limit_ends, until) = (Tick::NEVER, Tick::NEVER);
                }
            }
        }
        Self {
            timeout: Holder::of(timeout),
            start,
            limit_ends,
            until,
            refused,
            mode,
            open: true,
        }
    }

    /// Refuses the call, or in record-only mode says that it would.
    fn refuse(&mut self, rejection: Rejection) {
        if self.mode == Mode::RecordOnly {
            self.timeout.emit_would_reject(&rejection);
            (self.limit_ends, self.until) = (Tick::NEVER, Tick::NEVER);
        } else {
            self.refused = Some(Box::new(rejection));
        }
    }

    /// The timer that was set for `due` has fired.
    fn time_out(&mut self, due: Tick, now: Tick) {
        let rejection = self.timeout.refusal(RejectionKind::TimedOut {
            limit: due.since(self.start),
            elapsed: now.since(self.start),
        });
        self.refuse(rejection);
    }

    #[cold]
    fn take_refusal(&mut self) -> Option<Rejection> {
        let rejection = self.refused.take()?;
        self.open = false;
        self.timeout.emit_rejected(&rejection);
        Some(*rejection)
    }

    /// At the first poll: keeps the deadline in force here too, if no timer further up enforces it.
    /// Behind a buffer `call` cannot see it. An enforced deadline is not kept: it may belong to a
    /// caller that polls this future by reference, and end before the call does.
    #[inline]
    fn keep_deadline(&mut self) {
        if self.mode == Mode::Enforce || !self.until.is_never() {
            let deadline = CallContext::deadline();
            if deadline < CallContext::enforced() {
                self.until = self.until.min(deadline);
            }
        }
    }

    /// When the timer of a pending call fires. A deadline that a timeout further up enforces ends
    /// the call under the name of that timeout, so the timer is for the limit. It is always set:
    /// this future may outlive that timeout without another poll, in a `FuturesUnordered` or a
    /// local task.
    #[inline]
    fn due(&self) -> Tick {
        match self.until == CallContext::enforced() {
            true => self.limit_ends,
            false => self.until,
        }
    }

    /// Puts the deadline in force for the user's code.
    #[inline]
    fn enforce(&self) -> Restore {
        let until = match self.mode {
            Mode::Enforce => self.until,
            Mode::RecordOnly | Mode::Off => Tick::NEVER,
        };
        CallContext::current().enforcing(until).enter()
    }

    /// Runs the user's code with the deadline in force.
    #[inline]
    fn enter<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let _enforcing = self.enforce();
        catching(self, code, Self::panicked)
    }

    fn panicked(&mut self) {
        self.end(Ending::Panicked);
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.open, false) && self.mode != Mode::Off {
            self.timeout.emit_ended(ending, self.start);
        }
    }
}

/// The deadline had passed before the start.
#[cold]
fn expired(timeout: &Timeout, mode: Mode) -> Option<Box<Rejection>> {
    let rejection = timeout.refusal(RejectionKind::Expired);
    if mode == Mode::RecordOnly {
        timeout.emit_would_reject(&rejection);
        return None;
    }
    Some(Box::new(rejection))
}

impl Drop for Run {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

impl<F> Timed<F> {
    /// Makes the call, unless it is refused, with the deadline in force.
    fn call(mut run: Run, call: impl FnOnce() -> F) -> Self {
        let call = match run.refused {
            None => Some(run.enter(call)),
            Some(_) => None,
        };
        Self {
            call,
            sleep: None,
            run,
        }
    }

    /// Polls the call. One that is over is pending.
    #[inline]
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future,
    {
        let mut this = self.project();
        let polled;
        match this.call.as_mut().as_pin_mut() {
            Some(call) => {
                if this.sleep.is_none() {
                    this.run.keep_deadline();
                }
                let enforcing = this.run.enforce();
                let guard = OnPanic::new(this.run, Run::panicked);
                polled = call.poll(cx);
                guard.done();
                drop(enforcing);
                if polled.is_ready() {
                    this.run.end(Ending::Completed);
                }
            }
            None => polled = Poll::Pending,
        }
        polled
    }

    /// The call is pending: sets the timer, or ends the call if it has fired. Or it was refused.
    #[inline(never)]
    fn poll_refusal(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Rejection> {
        let mut this = self.project();
        if this.call.is_none() {
            let refusal = this.run.take_refusal();
            return Poll::Ready(refusal.expect("polled after it was ready"));
        }
        // Computed at every poll: the future may have moved out of an earlier deadline.
        let due = this.run.due();
        let armed = this.sleep.as_ref().get_ref().as_ref().map(Sleep::deadline);
        if armed != Some(due) {
            this.sleep.set(Some(Sleep::until(due)));
        }
        let sleep = this.sleep.as_mut().as_pin_mut().expect("it is set above");
        let now = ready!(sleep.poll_elapsed(cx));
        this.run.time_out(due, now);
        if this.run.mode == Mode::RecordOnly {
            // Told once; from here on there is nothing to wait for but the call.
            this.sleep.set(Some(Sleep::until(Tick::NEVER)));
            return Poll::Pending;
        }
        this.call.set(None);
        let refusal = this.run.take_refusal();
        Poll::Ready(refusal.expect("it has just timed out"))
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = Result<F::Output, Rejection>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The call first: if both are ready, its response wins.
        match self.as_mut().poll_call(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll_refusal(cx).map(Err),
        }
    }
}

impl Timeout {
    /// Makes one call under this timeout, without a service.
    ///
    /// The clock starts when the returned future is first polled; `call` runs then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    ///
    /// let timeout = seawall::Timeout::new(Duration::from_secs(1));
    /// let answer = timeout.run(|| async { Ok::<_, std::io::Error>(42) }).await;
    /// assert_eq!(answer.unwrap(), 42);
    /// # }
    /// ```
    ///
    /// # Errors
    /// The call's own error, or a rejection: [`RejectionKind::TimedOut`] when the limit or an earlier
    /// deadline passed first, [`RejectionKind::Expired`] when the deadline had passed before the start.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled, once the call has to be waited for.
    pub async fn run<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let run = Run::start(self, None, &mut ClockReading::none(), None);
        match Timed::call(run, call).await {
            Ok(outcome) => outcome.map_err(Error::Service),
            Err(rejection) => Err(rejection.into()),
        }
    }
}

#[cfg(feature = "tower")]
pin_project! {
    /// The response future of [`TimeoutService`](super::TimeoutService).
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, M> {
        #[pin]
        timed: Timed<F>,
        format: M,
    }
}

#[cfg(feature = "tower")]
impl<F, M> ResponseFuture<F, M> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(super) fn call(mut run: Run, format: M, call: impl FnOnce() -> F) -> Self {
        let call = match run.refused {
            None => Some(run.enter(call)),
            Some(_) => None,
        };
        Self {
            timed: Timed {
                call,
                sleep: None,
                run,
            },
            format,
        }
    }
}

#[cfg(feature = "tower")]
impl<F, M, Res, Err> Future for ResponseFuture<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // The call first: if both are ready, its response wins.
        let mut polled = this.timed.as_mut().poll_call(cx);
        if polled.is_pending() {
            if let Poll::Ready(rejection) = this.timed.poll_refusal(cx) {
                polled = Poll::Ready(this.format.reject(rejection));
            }
        }
        polled
    }
}

#[cfg(feature = "tower")]
impl<F, M> fmt::Debug for ResponseFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("timeout", self.timed.run.timeout.name())
            .finish_non_exhaustive()
    }
}
