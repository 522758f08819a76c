//! A call in flight, and what is settled when it ends: its permit.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::common::Common;
use crate::context::path::Inside;

/// Runs `f`. If it panics, `on_panic` gets the state before the panic continues.
///
/// A guard around the user's code, not `std::thread::panicking()` in a drop: that is also true in
/// a future that is dropped by another panic, and false after `catch_unwind`.
// Inlined, so that what `f` makes is built where it stays.
#[inline(always)]
pub(crate) fn catching<S, T>(state: &mut S, f: impl FnOnce() -> T, on_panic: fn(&mut S)) -> T {
    let guard = OnPanic::new(state, on_panic);
    let output = f();
    guard.done();
    output
}

/// The guard of [`catching`], for a poll. Its output is then one variable in every layer that it
/// passes through, and the compiler writes it once, to where the outermost caller wants it. A
/// closure would copy it in each layer.
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

    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn state(&mut self) -> &mut S {
        self.state
    }

    /// There was no panic.
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

/// What a call in flight holds, such as a permit. Dropped with the call, it was cancelled.
#[allow(unreachable_pub)] // Only the layers' futures, which name `InFlight`, make it reachable.
pub trait Settle: Sized {
    /// The call has been made: moves the permit to where it stays, from the variable that the guard
    /// of the call has seen. A permit of several parts moves them one by one: a copy of the whole
    /// waits until the stores of its parts are done. What is left holds nothing.
    #[inline(always)]
    fn made(permit: &mut Option<Self>) -> Option<Self> {
        permit.take()
    }

    /// The call has returned. For what does not depend on the outcome of the call.
    fn completed(&mut self) {}

    /// The call has panicked.
    fn panicked(self);

    /// What the policy has in common with all others; none if the call is not counted.
    fn common(&self) -> Option<&Common> {
        None
    }

    /// The call waits. A call behind a buffer was made where the deadline could not be seen, and
    /// is polled where it can.
    fn pending(&mut self) {}
}

/// Settles the permit of a call that has panicked; for [`catching`].
pub(crate) fn panicked<P: Settle>(permit: &mut Option<P>) {
    if let Some(permit) = permit.take() {
        permit.panicked();
    }
}

pin_project! {
    /// A call in flight and its permit, which is settled before the outcome is returned.
    #[must_use = "futures do nothing unless polled"]
    pub struct InFlight<F, P> {
        #[pin]
        call: F,
        // None once the call has returned or panicked.
        permit: Option<P>,
    }
}

impl<F, P: Settle> InFlight<F, P> {
    // Inlined, so that the call is built where it stays: passing it through another function copies
    // it once more.
    #[inline(always)]
    pub(crate) fn call(permit: P, call: impl FnOnce() -> F) -> Self {
        let mut permit = Some(permit);
        let inside = Inside::enter(permit.as_ref().and_then(P::common));
        let guard = OnPanic::new(&mut permit, panicked);
        let call = call();
        guard.done();
        drop(inside);
        let made = P::made(&mut permit);
        std::mem::forget(permit);
        Self { call, permit: made }
    }

    /// Polls the call, and does not settle its permit.
    #[inline]
    pub(crate) fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output>
    where
        F: Future,
    {
        let this = self.project();
        let _inside = Inside::enter(this.permit.as_ref().and_then(P::common));
        let guard = OnPanic::new(this.permit, panicked);
        let polled = this.call.poll(cx);
        guard.done();
        if polled.is_pending() {
            if let Some(permit) = this.permit {
                permit.pending();
            }
        }
        polled
    }

    /// Settles the permit of a call that has returned, without moving it, and drops it, also on panic.
    #[inline]
    pub(crate) fn settle<T>(self: Pin<&mut Self>, settle: impl FnOnce(&mut P) -> T) -> Option<T> {
        let guard = OnPanic::new(self.project().permit, |permit| *permit = None);
        let settled = guard.state.as_mut().map(settle);
        *guard.state = None;
        guard.done();
        settled
    }

    /// Judges the outcome of a call that has returned. On panic its permit is dropped.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn judge<T>(self: Pin<&mut Self>, judge: impl FnOnce() -> T) -> T {
        catching(self.project().permit, judge, |permit| *permit = None)
    }

    /// Gives the permit of a call that has returned to `hold`, which returns it if it is to be
    /// settled here.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn hold(self: Pin<&mut Self>, hold: impl FnOnce(P) -> Option<P>) {
        let permit = self.project().permit;
        *permit = permit.take().and_then(hold);
    }

    /// The permit of a call that has returned, to be settled elsewhere.
    #[cfg(feature = "tokio")]
    pub(crate) fn take(self: Pin<&mut Self>) -> Option<P> {
        self.project().permit.take()
    }

    /// Awaits the call, and returns its permit with the outcome that settles it.
    pub(crate) async fn unsettled(self) -> (F::Output, Option<P>)
    where
        F: Future,
    {
        let mut call = pin!(self);
        let output = poll_fn(|cx| call.as_mut().poll_call(cx)).await;
        (output, call.project().permit.take())
    }
}

impl<F: Future, P: Settle> Future for InFlight<F, P> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.as_mut().poll_call(cx);
        if polled.is_ready() {
            self.settle(P::completed);
        }
        polled
    }
}
