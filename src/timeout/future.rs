use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::call::TimedCall;
use crate::event::Ending;
use crate::in_flight::{OnPanic, catching};
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::service::Format;
use crate::time::Sleep;

pin_project! {
    /// A call under a timeout. `M` makes a rejection the service's own outcome.
    ///
    /// Not `Unpin`: it holds its timer itself, without a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct Timed<F, M> {
        // None once the call has timed out: it is dropped before the rejection is returned.
        #[pin]
        future: Option<F>,
        // None before the first poll that was pending.
        #[pin]
        sleep: Option<Sleep>,
        call: TimedCall,
        format: M,
    }
}

impl<F, M> Timed<F, M> {
    /// Makes the call, with its deadline in force.
    // Inlined, so that the call is built where it stays: passing it through another function
    // copies the request once more.
    #[inline(always)]
    pub(super) fn new(mut call: TimedCall, make: impl FnOnce() -> F, format: M) -> Self {
        let future = {
            let _restore = call.enter();
            catching(&mut call, make, TimedCall::panicked)
        };
        Self {
            future: Some(future),
            sleep: None,
            call,
            format,
        }
    }

    /// Polls the call alone.
    #[inline]
    pub(super) fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future,
    {
        let this = self.project();
        if this.sleep.is_none() {
            this.call.first_poll();
        }
        let future = this.future.as_pin_mut();
        let future = future.expect("polled after it was ready");
        let restore = this.call.enter();
        let guard = OnPanic::new(this.call, TimedCall::panicked);
        let polled = future.poll(cx);
        guard.done();
        drop(restore);
        if polled.is_ready() {
            this.call.end(Ending::Completed);
        }
        polled
    }

    /// Polls the timer of a call that is pending. Once it has fired, drops the call and resolves
    /// to the rejection.
    #[inline(never)]
    pub(super) fn poll_timer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Rejection> {
        let mut this = self.project();
        let polled = this.call.poll_timer(this.sleep, cx);
        if let Poll::Ready(rejection) = &polled {
            this.future.set(None);
            this.call.timeout().emit_rejected(rejection);
        }
        polled
    }
}

#[cfg(feature = "tower")]
impl<F, M, Res, Err> Future for Timed<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The call first: if both are ready, its response wins.
        let mut polled = self.as_mut().poll_call(cx);
        if polled.is_pending() {
            let format = self.format;
            polled = self
                .poll_timer(cx)
                .map(|rejection| format.reject(rejection));
        }
        polled
    }
}
