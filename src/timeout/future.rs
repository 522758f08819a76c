#[cfg(feature = "tower")]
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::Timeout;
use crate::deadline::Ambient;
use crate::event::Ending;
use crate::guard::catching;
use crate::policy::Mode;
#[cfg(feature = "tower")]
use crate::rejection::Format;
use crate::rejection::{Error, Rejection, Why};
use crate::time::{self, Sleep, Tick};

pin_project! {
    /// A future under a timeout: what the layer's future and `run` have in common.
    #[must_use = "futures do nothing unless polled"]
    pub(super) struct Timed<F> {
        // None once the call was refused or has timed out: it is dropped before that is told.
        #[pin]
        call: Option<F>,
        // None until the call has been pending once under no earlier deadline.
        #[pin]
        sleep: Option<Sleep>,
        run: Run,
    }
}

/// One call's use of a timeout.
pub(super) struct Run {
    timeout: Timeout,
    mode: Mode,
    start: Tick,
    /// The earlier of the own limit and the deadline the call came with.
    until: Tick,
    refused: Option<Rejection>,
    /// Whether its one terminal event is still owed.
    open: bool,
}

impl Run {
    /// Starts the clock. A call whose deadline has passed is refused.
    #[inline]
    pub(super) fn start(timeout: &Timeout, limit: Option<Duration>) -> Self {
        let setting = timeout.setting();
        let mut run = Self {
            timeout: timeout.clone(),
            mode: setting.mode,
            start: Tick::ZERO,
            until: Tick::NEVER,
            refused: None,
            open: true,
        };
        if run.mode != Mode::Off {
            run.start = time::now();
            run.until = run.start.after(limit.unwrap_or(setting.limit));
            run.until = run.until.min(Ambient::current().deadline);
            if run.until <= run.start {
                run.expire();
            }
        }
        run
    }

    #[cold]
    fn expire(&mut self) {
        let rejection = self.timeout.refusal(Why::Expired);
        self.refuse(rejection);
    }

    /// Refuses the call in any mode: the inner service is not ready for it.
    #[cfg(feature = "tower")]
    pub(super) fn must_refuse(&mut self, rejection: Rejection) {
        self.refused = Some(rejection);
    }

    /// Refuses the call, or in record-only mode says that it would.
    fn refuse(&mut self, rejection: Rejection) {
        if self.mode == Mode::RecordOnly {
            self.timeout.tell_would_reject(&rejection);
            self.until = Tick::NEVER;
        } else {
            self.refused = Some(rejection);
        }
    }

    fn time_out(&mut self, now: Tick) {
        let rejection = self.timeout.refusal(Why::TimedOut {
            limit: self.until.since(self.start),
            elapsed: now.since(self.start),
        });
        self.refuse(rejection);
    }

    fn take_refusal(&mut self) -> Option<Rejection> {
        let rejection = self.refused.take()?;
        self.open = false;
        self.timeout.tell_rejected(&rejection);
        Some(rejection)
    }

    /// Before it begins to wait: keeps the deadline in force here too. Behind a buffer the call
    /// was made where it could not be seen.
    fn keep_deadline(&mut self) {
        if self.mode == Mode::Enforce || !self.until.is_never() {
            self.until = self.until.min(Ambient::current().deadline);
        }
    }

    /// Runs the user's code with the deadline in force.
    #[inline]
    fn enter<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let _enforcing = Ambient::enforce(match self.mode {
            Mode::Enforce => self.until,
            Mode::RecordOnly | Mode::Off => Tick::NEVER,
        });
        catching(self, code, |run| run.end(Ending::Panicked))
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.open, false) && self.mode != Mode::Off {
            self.timeout.tell_ended(ending, self.start);
        }
    }
}

impl Drop for Run {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

impl<F> Timed<F> {
    /// Makes the call, unless it is refused, with the deadline in force.
    pub(super) fn call(mut run: Run, call: impl FnOnce() -> F) -> Self {
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
}

impl<F: Future> Future for Timed<F> {
    type Output = Result<F::Output, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(call) = this.call.as_mut().as_pin_mut() else {
            let refusal = this.run.take_refusal();
            return Poll::Ready(Err(refusal.expect("polled after it was ready")));
        };
        if this.sleep.is_none() {
            this.run.keep_deadline();
        }
        // The call first: if both are ready, its response wins.
        if let Poll::Ready(output) = this.run.enter(|| call.poll(cx)) {
            this.run.end(Ending::Completed);
            return Poll::Ready(Ok(output));
        }
        // Whoever keeps an earlier deadline with a timer of his own will drop us by then. Asked
        // in every poll: the future may since have been moved out of that deadline.
        if this.sleep.is_none() {
            if this.run.until >= Ambient::current().enforced {
                return Poll::Pending;
            }
            this.sleep.set(Some(Sleep::until(this.run.until)));
        }
        let sleep = this.sleep.as_mut().as_pin_mut();
        let Some(sleep) = sleep else {
            return Poll::Pending;
        };
        let now = ready!(sleep.poll_elapsed(cx));
        this.run.time_out(now);
        if this.run.mode == Mode::RecordOnly {
            // Told once; from here on there is nothing to wait for but the call.
            this.sleep.set(Some(Sleep::until(Tick::NEVER)));
            return Poll::Pending;
        }
        this.call.set(None);
        let refusal = this.run.take_refusal();
        Poll::Ready(Err(refusal.expect("it has just timed out")))
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
    /// The call's own error, or a rejection: [`Why::TimedOut`] when the limit or an earlier
    /// deadline passed first, [`Why::Expired`] when the deadline had passed before the start.
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
        match Timed::call(Run::start(self, None), call).await {
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
    pub(super) fn new(timed: Timed<F>, format: M) -> Self {
        Self { timed, format }
    }
}

#[cfg(feature = "tower")]
impl<F, M, Res, Err> Future for ResponseFuture<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.timed.poll(cx)) {
            Ok(outcome) => outcome,
            Err(rejection) => this.format.reject(rejection),
        })
    }
}

#[cfg(feature = "tower")]
impl<F, M> fmt::Debug for ResponseFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("timeout", &self.timed.run.timeout)
            .finish_non_exhaustive()
    }
}
