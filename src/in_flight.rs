//! Small mechanisms that every layer shares.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

/// Runs `f`; if it panics, `on_panic` gets the state before the panic goes on.
///
/// A guard around the user's code, not `std::thread::panicking()` in a drop: the latter is also
/// true in a future that is dropped by somebody else's panic, and false after `catch_unwind`.
#[inline]
pub(crate) fn catching<S, T>(state: &mut S, f: impl FnOnce() -> T, on_panic: fn(&mut S)) -> T {
    let guard = OnPanic::new(state, on_panic);
    let output = f();
    guard.done();
    output
}

/// As [`catching`], for what is not to pass through a closure: an answer that is returned as it
/// came is written once, to where the outermost caller wants it, however many layers it passes.
/// For that it has to be one and the same variable in each of them, from the call that makes it
/// to the end.
#[must_use]
pub(crate) struct OnPanic<'a, S> {
    state: &'a mut S,
    on_panic: fn(&mut S),
}

impl<'a, S> OnPanic<'a, S> {
    #[inline]
    pub(crate) fn new(state: &'a mut S, on_panic: fn(&mut S)) -> Self {
        Self { state, on_panic }
    }

    /// It has not panicked.
    #[inline]
    pub(crate) fn done(self) {
        std::mem::forget(self);
    }
}

impl<S> Drop for OnPanic<'_, S> {
    #[cold]
    fn drop(&mut self) {
        (self.on_panic)(self.state);
    }
}

/// What stands for a call under way. Dropped, the call was dropped.
pub(crate) trait Settle {
    /// The call has panicked.
    fn panicked(self);

    /// The call waits. Behind a buffer it was made where the deadline could not be seen; here
    /// it can.
    fn pending(&mut self) {}
}

/// Ends what stands for a call that has panicked; for [`catching`].
pub(crate) fn panicked<W: Settle>(watch: &mut Option<W>) {
    if let Some(watch) = watch.take() {
        watch.panicked();
    }
}

pin_project! {
    /// A call and what stands for it, such as a permit, which is told of a panic. Awaited, it
    /// gives back both.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct InFlight<F, W> {
        #[pin]
        call: F,
        // None once the call is ready or has panicked.
        watch: Option<W>,
    }
}

impl<F, W: Settle> InFlight<F, W> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(crate) fn call(watch: W, call: impl FnOnce() -> F) -> Self {
        let mut watch = Some(watch);
        Self {
            call: catching(&mut watch, call, panicked),
            watch,
        }
    }

    /// Polls the call alone.
    #[inline]
    pub(crate) fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future,
    {
        let this = self.project();
        let guard = OnPanic::new(this.watch, panicked);
        let polled = this.call.poll(cx);
        guard.done();
        if polled.is_pending() {
            if let Some(watch) = this.watch {
                watch.pending();
            }
        }
        polled
    }

    /// What stands for the call, to be settled where it is once that is ready, and dropped, also by
    /// a panic. Taken out it would be copied, and a copy waits for what was just stored in parts.
    #[inline]
    pub(crate) fn settle<T>(self: Pin<&mut Self>, settle: impl FnOnce(&mut W) -> T) -> Option<T> {
        let settled = OnPanic::new(self.project().watch, |watch| *watch = None);
        let told = settled.state.as_mut().map(settle);
        *settled.state = None;
        settled.done();
        told
    }
}

impl<F: Future, W: Settle> Future for InFlight<F, W> {
    type Output = (F::Output, Option<W>);

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(self.as_mut().poll_call(cx));
        Poll::Ready((output, self.project().watch.take()))
    }
}
