//! The race of the attempts of one call.

mod extra;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::budget::Withdrawal;
use crate::classify::Outcome;
use crate::context::Attempt;
use crate::context::CallContext;
use crate::event::Ending;
use crate::hedge::Hedge;
use crate::hedge::policy::Call;
use crate::time::{self, Sleep, Tick};
use extra::{Extra, Next, Polled};

/// What makes the extra attempts: `N` is one before its call, `F` after.
pub(super) trait Source<N, F, T, E>: AsRef<Hedge> {
    /// After how long without an answer this attempt begins, if not after the hedge's own delay.
    fn delay(&self, attempt: u32) -> Option<Duration>;

    /// An extra attempt; none if it cannot be made.
    fn next(&mut self, is_last: bool) -> Option<N>;

    fn poll_ready(&self, next: &mut N, cx: &mut Context<'_>) -> Poll<Result<(), E>>;

    fn call(&mut self, next: &mut N, attempt: u32) -> F;

    fn outcome(&self, output: Result<&T, &E>) -> Outcome;

    /// Whether a policy below refused it: it was not made.
    fn is_refusal(&self, output: Result<&T, &E>) -> bool;
}

pin_project! {
    /// The attempts of one call, of which the first success wins.
    #[project = RaceProjection]
    #[must_use = "futures do nothing unless polled"]
    pub(super) struct Race<A: AsRef<Hedge>, N, F, O> {
        // None once it has come back.
        #[pin]
        first: Option<F>,
        // What it came back with, while another attempt is under way.
        kept: Option<(O, Outcome)>,
        // The newest, which holds the one before it.
        extra: Option<Pin<Box<Extra<N, F>>>>,
        // None until the first attempt has been pending once, and between an attempt's begin
        // and the next wait.
        #[pin]
        sleep: Option<Sleep>,
        // The number of the attempt that was begun last, and when.
        number: u32,
        begun: Tick,
        source: A,
        call: Call,
    }

    impl<A: AsRef<Hedge>, N, F, O> PinnedDrop for Race<A, N, F, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Else its end was told, and what is left is dropped without a word.
            if this.call.is_open() {
                this.stop(Ending::Dropped);
            }
        }
    }
}

impl<A: AsRef<Hedge>, N, F, O> Race<A, N, F, O> {
    /// Makes the first attempt.
    #[inline(always)]
    pub(super) fn start(source: A, call: Call, first: impl FnOnce(&mut A) -> F) -> Self {
        let mut parts = Parts { source, call };
        Self {
            first: Some(parts.make(first)),
            kept: None,
            extra: None,
            sleep: None,
            number: 1,
            begun: parts.call.start,
            source: parts.source,
            call: parts.call,
        }
    }

    /// How many have been begun.
    #[cfg(feature = "tower")]
    pub(super) fn attempts(&self) -> u32 {
        self.number
    }
}

/// What a race is made of before its first attempt.
struct Parts<A> {
    source: A,
    call: Call,
}

impl<A: AsRef<Hedge>> Parts<A> {
    #[inline(always)]
    fn make<F>(&mut self, first: impl FnOnce(&mut A) -> F) -> F {
        let _entered = self.call.attempt.map(Attempt::enter);
        let guard = OnPanicInCall(self);
        let first = first(&mut guard.0.source);
        std::mem::forget(guard);
        first
    }
}

/// Tells the end if the code of the first call panics.
struct OnPanicInCall<'p, A: AsRef<Hedge>>(&'p mut Parts<A>);

impl<A: AsRef<Hedge>> Drop for OnPanicInCall<'_, A> {
    fn drop(&mut self) {
        let Parts { source, call } = &mut *self.0;
        (*source).as_ref().end(call, Ending::Panicked);
    }
}

impl<A: AsRef<Hedge>, N, F, O> RaceProjection<'_, A, N, F, O> {
    /// Drops every attempt; what they took so far is known to be too short.
    fn drop_all(&mut self) {
        let hedge = self.source.as_ref();
        if self.first.is_some() {
            hedge.sample_dropped(self.call, self.call.start);
        }
        self.first.set(None);
        let mut next = self.extra.take();
        while let Some(mut extra) = next {
            if let Some(start) = extra.called_at() {
                hedge.sample_dropped(self.call, start);
            }
            // One after the other, so that a long chain needs no deep stack.
            next = extra.as_mut().project().next.take();
        }
        *self.kept = None;
    }

    fn stop(&mut self, ending: Ending) {
        self.drop_all();
        self.source.as_ref().end(self.call, ending);
    }

    #[inline]
    fn answered(&mut self, by: u32, outcome: Outcome) {
        self.drop_all();
        self.source.as_ref().answered(self.call, by, outcome);
    }

    fn answer(&mut self, output: O, by: u32, outcome: Outcome) -> Poll<O> {
        self.answered(by, outcome);
        Poll::Ready(output)
    }
}

impl<A, N, F, T, E> RaceProjection<'_, A, N, F, Result<T, E>>
where
    A: Source<N, F, T, E>,
    F: Future<Output = Result<T, E>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut polled = self.poll_first(cx);
        match self.judge(&polled) {
            Some(Outcome::Success) => self.answered(1, Outcome::Success),
            outcome => polled = self.go_on(polled, outcome, cx),
        }
        polled
    }

    /// Polls the first attempt; pending if it has come back before.
    #[inline]
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.first.as_mut().as_pin_mut() {
            Some(first) => {
                let _entered = self.call.attempt.map(Attempt::enter);
                first.poll(cx)
            }
            None => Poll::Pending,
        }
    }

    /// What the first attempt came to, if it has come back.
    #[inline]
    fn judge(&mut self, polled: &Poll<F::Output>) -> Option<Outcome> {
        let Poll::Ready(output) = polled else {
            return None;
        };
        let outcome = self.source.outcome(output.as_ref());
        let hedge = self.source.as_ref();
        hedge.sample(self.call, self.call.start, outcome);
        self.first.set(None);
        Some(outcome)
    }

    /// While the first attempt has not succeeded.
    #[inline(never)]
    fn go_on(
        &mut self,
        polled: Poll<F::Output>,
        outcome: Option<Outcome>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let mut fails = false;
        if let (Poll::Ready(output), Some(outcome)) = (polled, outcome) {
            match Next::after(outcome) {
                Next::Now => fails = true,
                Next::Later => {}
                Next::Never => self.call.left = 0,
            }
            *self.kept = Some((output, outcome));
        }
        let mut pending = self.first.is_some();
        let mut only_newest = false;
        loop {
            let mut next = self.extra.as_mut();
            while let Some(extra) = next {
                let mut extra = extra.as_mut().project();
                match extra.poll(self.source, self.call, cx) {
                    Polled::Won(output) => {
                        let number = *extra.number;
                        return self.answer(output, number, Outcome::Success);
                    }
                    Polled::Lost(Next::Now) => fails = true,
                    Polled::Lost(Next::Later) => {}
                    Polled::Lost(Next::Never) => self.call.left = 0,
                    Polled::Pending => pending = true,
                }
                next = extra.next.as_mut().filter(|_| !only_newest);
            }
            if !self.begin_next(fails, pending, cx) {
                break;
            }
            (fails, only_newest) = (false, true);
        }
        if pending {
            return Poll::Pending;
        }
        let (output, outcome) = self.kept.take().expect("polled after it was ready");
        self.answer(output, 1, outcome)
    }

    /// Begins an extra attempt, if it is time for one and there may be one.
    fn begin_next(&mut self, fails: bool, pending: bool, cx: &mut Context<'_>) -> bool {
        // Asked again: behind a buffer the call knew of no attempt further up.
        if self.call.left == 0 || CallContext::extra() {
            return false;
        }
        if !(fails || pending && self.poll_delay(cx).is_ready()) {
            return false;
        }
        // Nothing starts for a caller whose deadline has passed.
        let now = time::now();
        if now >= CallContext::deadline() {
            return false;
        }
        self.sleep.set(None);
        let number = *self.number + 1;
        let Some((next, withdrawal)) = self.admit_next(number) else {
            self.call.left = 0;
            return false;
        };
        self.call.left -= 1;
        *self.number = number;
        *self.begun = now;
        let asked = self.source.delay(number + 1);
        let hedge = self.source.as_ref();
        match asked.or_else(|| hedge.own_delay(self.call, *self.begun)) {
            Some(delay) => self.call.delay = delay,
            None => self.call.left = 0,
        }
        let attempt = self
            .call
            .attempt
            .expect("who has an attempt left makes them");
        let extra = Extra::begin(next, withdrawal, (number, attempt), self.extra.take());
        #[allow(clippy::disallowed_methods)] // Whoever waits may allocate once.
        let extra = Box::pin(extra);
        *self.extra = Some(extra);
        true
    }

    fn admit_next(&mut self, number: u32) -> Option<(N, Withdrawal)> {
        let hedge = self.source.as_ref();
        let withdrawal = hedge.withdraw(self.call, number)?;
        let next = self.source.next(self.call.left == 1)?;
        Some((next, withdrawal))
    }

    /// Ready when the next attempt is due.
    fn poll_delay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() {
            let due = self.begun.after(self.call.delay);
            self.sleep.set(Some(Sleep::until(due)));
        }
        match self.sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll_elapsed(cx).map(drop),
            None => Poll::Pending,
        }
    }
}

/// Stops the race if the code of an attempt panics.
struct OnPanic<'p, A: AsRef<Hedge>, N, F, O>(RaceProjection<'p, A, N, F, O>);

impl<A: AsRef<Hedge>, N, F, O> Drop for OnPanic<'_, A, N, F, O> {
    fn drop(&mut self) {
        self.0.stop(Ending::Panicked);
    }
}

impl<A, N, F, T, E> Future for Race<A, N, F, Result<T, E>>
where
    A: Source<N, F, T, E>,
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut guard = OnPanic(self.project());
        let polled = guard.0.poll(cx);
        std::mem::forget(guard);
        polled
    }
}
