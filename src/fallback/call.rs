//! One call of a fallback, within its limit and its time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::action::Action;
use super::policy::Fallback;
use super::state::Cause;
use crate::bulkhead;
use crate::context::ClockReading;
use crate::event::{Ending, Suppression};
use crate::in_flight::{InFlight, Settle};
use crate::timeout::{Started, Timed, TimedCall};

/// The permit of a call that waits; none for a value.
#[derive(Debug)]
pub(super) struct Held(Option<bulkhead::Permit>);

impl Settle for Held {
    fn completed(&mut self) {
        if let Some(permit) = &mut self.0 {
            permit.completed();
        }
    }

    fn panicked(self) {
        if let Some(permit) = self.0 {
            permit.panicked();
        }
    }
}

pin_project! {
    /// A call of the fallback. Resolves to none if it took too long.
    pub(super) struct Answer<F> {
        #[pin]
        timed: Timed<InFlight<F, Held>, ()>,
    }
}

/// A call of the fallback that was admitted and is not made yet.
pub(super) struct Admitted {
    held: Held,
    started: Started,
}

impl Admitted {
    /// Admits a call of the fallback.
    ///
    /// # Errors
    /// Why it is not called.
    pub(super) fn new<K, A, T, E>(
        fallback: &Fallback,
        action: &A,
        kept: &K,
        cause: Cause,
    ) -> Result<Self, Suppression>
    where
        A: Action<K, T, E>,
    {
        action.check(kept, cause)?;
        let held = Held(match A::WAITS {
            true => Some(fallback.try_acquire().ok_or(Suppression::Full)?),
            false => None,
        });
        let started = Started::new(fallback.timeout(), None, None, &mut ClockReading::none());
        let started = started.map_err(|_| Suppression::Deadline)?;
        Ok(Self { held, started })
    }

    /// Makes the call.
    pub(super) fn call<F>(self, call: impl FnOnce() -> F) -> Answer<F> {
        let Self { held, started } = self;
        let make = || InFlight::call(held, call);
        Answer {
            timed: Timed::new(started, make, ()),
        }
    }
}

impl<F: Future> Future for Answer<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut timed = self.project().timed;
        let end = |call: &mut TimedCall, _: &_, _: &mut F::Output| call.end(Ending::Completed);
        match timed.as_mut().poll_call(cx, end) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => timed.poll_timer(cx).map(|_| None),
        }
    }
}
