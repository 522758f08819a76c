use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::extra::{Ended, Extra, Next};
use super::source::Source;
use crate::attempts::AttemptSpan;
use crate::classify::Verdict;
use crate::context::{Attempt, CallContext};
use crate::event::{Ending, Suppression};
use crate::hedge::permit::Permit;
use crate::hedge::policy::Config;
use crate::in_flight::OnPanic;
use crate::outcome::Outcome;
use crate::time::{self, Sleep, Tick};

pin_project! {
    /// The attempts of one call, of which the first success wins.
    #[project = RaceProjection]
    #[must_use = "futures do nothing unless polled"]
    pub(in crate::hedge) struct Race<A: AsRef<Config>, N, F, O> {
        // None after it has returned.
        #[pin]
        first: Option<F>,
        // What it returned, if that was no success.
        failed: Option<(O, Outcome)>,
        // The extra attempts under way.
        extras: Vec<Pin<Box<Extra<N, F>>>>,
        // Until the next attempt. None until the first attempt has been pending once, and after
        // each start of an attempt.
        #[pin]
        sleep: Option<Sleep>,
        // Whether the next attempt was due in a poll that could not start it.
        overdue: bool,
        // The number of the last attempt, and when it started.
        number: u32,
        started: Tick,
        attempts: A,
        permit: Permit,
    }

    impl<A: AsRef<Config>, N, F, O> PinnedDrop for Race<A, N, F, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.permit.ledger.is_open() {
                this.stop(Ending::Dropped);
            }
        }
    }
}

impl<A: AsRef<Config>, N, F, O> Race<A, N, F, O> {
    /// `first` is the first attempt.
    // An option that the caller makes, and inlined, so that the call is built where it stays.
    #[inline(always)]
    pub(in crate::hedge) fn new(first: Option<F>, attempts: A, permit: Permit) -> Self {
        Self {
            first,
            failed: None,
            extras: Vec::new(),
            sleep: None,
            overdue: false,
            number: 1,
            started: permit.ledger.call.start,
            attempts,
            permit,
        }
    }

    /// How many attempts have started.
    #[cfg(feature = "tower")]
    pub(in crate::hedge) fn started(&self) -> u32 {
        self.number
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
        let mut race = self.project();
        let plan = &race.attempts.as_ref().plan;
        let _inside = race.permit.ledger.call.inside(plan);
        let mut guard = OnPanic::new(&mut race, |race| race.stop(Ending::Panicked));
        let polled = guard.state().poll(cx);
        guard.done();
        polled
    }
}

impl<A, N, F, T, E> RaceProjection<'_, A, N, F, Result<T, E>>
where
    A: Source<N, F, T, E>,
    F: Future<Output = Result<T, E>>,
{
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut now = false;
        if let Some(first) = self.first.as_mut().as_pin_mut() {
            let context = self.permit.ledger.attempt(1).map(Attempt::enter);
            let span = self.permit.ledger.span.enter();
            // A success stays where it is: each function that returned it would copy it.
            let mut polled = first.poll(cx);
            drop((span, context));
            if let Poll::Ready(output) = &mut polled {
                let (outcome, _) = self.attempts.verdict().judge(output.as_ref());
                if outcome == Outcome::Success {
                    self.first_ended(output, Outcome::Success);
                    let start = self.permit.ledger.call.start;
                    self.win(output, 1, start);
                    return polled;
                }
                self.first_ended(output, outcome);
                now = self.lost(Next::after(outcome));
                *self.failed = Some((ready!(polled), outcome));
            }
        }
        self.poll_extras(now, cx)
    }

    /// The first attempt has returned.
    #[inline(always)]
    fn first_ended(&mut self, output: &F::Output, outcome: Outcome) {
        let verdict = self.attempts.verdict();
        let span = &mut self.permit.ledger.span;
        span.end(outcome, || verdict.rejection(output.as_ref()));
        let start = self.permit.ledger.call.start;
        self.permit
            .sample_lost(self.attempts.as_ref(), start, outcome);
        self.first.set(None);
    }

    /// Polls the extra attempts and starts those that are due. `now` is whether the next one is
    /// due because an attempt failed.
    #[inline(never)]
    fn poll_extras(&mut self, mut now: bool, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut polled = 0;
        loop {
            while let Some(extra) = self.extras.get_mut(polled) {
                let number = extra.number();
                let Poll::Ready(ended) = extra.as_mut().poll(self.attempts, self.permit, cx) else {
                    polled += 1;
                    continue;
                };
                self.extras.remove(polled);
                match ended {
                    Ended::Won(mut output, start) => {
                        self.win(&mut output, number, start);
                        return Poll::Ready(output);
                    }
                    Ended::Lost(next) => now |= self.lost(next),
                }
            }
            if !self.start_next(now, cx) {
                break;
            }
            now = false;
        }
        if self.in_flight() || *self.overdue && self.permit.may_start() {
            return Poll::Pending;
        }
        let (output, outcome) = self.failed.take().expect("polled after it was ready");
        self.finish(1, outcome);
        Poll::Ready(output)
    }

    /// Ends the call with the success of attempt number `by`, which started at `start`. Where the
    /// output holds it, what it earns and its latency are known later.
    #[inline]
    fn win(&mut self, output: &mut F::Output, by: u32, start: Tick) {
        if let Some((_, outcome)) = &*self.failed {
            let plan = &self.attempts.as_ref().plan;
            self.permit.ledger.failed(plan, *outcome);
        }
        #[cfg(feature = "tower")]
        if A::HOLDS {
            self.drop_all(true);
            let config = self.attempts.as_ref();
            let latency = self.permit.latency(config, start);
            let earned = self.permit.ledger.finish_head(&config.plan, by);
            A::hold(output, earned, latency);
            return;
        }
        #[cfg(not(feature = "tower"))]
        let _ = output;
        self.permit.sample(self.attempts.as_ref(), start, false);
        self.finish(by, Outcome::Success);
    }

    /// Takes note of an attempt that did not succeed. Returns whether the next one starts now.
    fn lost(&mut self, next: Next) -> bool {
        if next == Next::Never {
            self.permit.extra.left = 0;
        }
        next == Next::Now
    }

    /// Starts an extra attempt if one is due and permitted. Returns whether it did.
    fn start_next(&mut self, now: bool, cx: &mut Context<'_>) -> bool {
        if !self.permit.may_start() {
            return false;
        }
        let waits = self.in_flight() || *self.overdue;
        if !(now || waits && self.poll_delay(cx).is_ready()) {
            return false;
        }
        *self.overdue = false;
        self.sleep.set(None);
        let number = *self.number + 1;
        // Nothing starts for a caller whose deadline has passed.
        let own = self.permit.ledger.call.deadline;
        match CallContext::poll_due(own, self.sleep.as_mut(), cx) {
            Poll::Ready(true) => self.sleep.set(None),
            Poll::Ready(false) => {
                let ledger = &self.attempts.as_ref().plan.ledger;
                ledger.suppress(number, Suppression::Deadline);
                self.permit.extra.left = 0;
                return false;
            }
            Poll::Pending => {
                *self.overdue = true;
                return false;
            }
        }
        let start = time::now();
        let Some(extra) = self.prepare(number) else {
            self.permit.extra.left = 0;
            return false;
        };
        *self.number = number;
        *self.started = start;
        let delay = self.attempts.delay(number + 1);
        self.permit
            .start_extra(self.attempts.as_ref(), start, delay);
        #[allow(clippy::disallowed_methods)] // An extra attempt may allocate.
        self.extras.push(Box::pin(extra));
        true
    }

    fn prepare(&mut self, number: u32) -> Option<Extra<N, F>> {
        let attempt = self.permit.ledger.attempt(number)?;
        let permit = self.permit.withdraw(self.attempts.as_ref(), number)?;
        let Some(next) = self.attempts.prepare(self.permit.extra.left == 1) else {
            // Given back before a listener can look.
            drop(permit);
            let ledger = &self.attempts.as_ref().plan.ledger;
            ledger.suppress(number, Suppression::NoCopy);
            return None;
        };
        let plan = &self.attempts.as_ref().plan;
        let span = self.permit.ledger.span_beside(plan, number);
        Some(Extra::new(next, permit, attempt, span))
    }

    /// Ready when the next attempt is due.
    fn poll_delay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() {
            let due = self.started.after(self.permit.extra.delay);
            self.sleep.set(Some(Sleep::until(due)));
        }
        match self.sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll_elapsed(cx).map(drop),
            None => Poll::Pending,
        }
    }
}

impl<A: AsRef<Config>, N, F, O> RaceProjection<'_, A, N, F, O> {
    /// Whether an attempt has been made and has not returned. One that waits for its service to
    /// be ready has not been made: it holds back no outcome.
    fn in_flight(&self) -> bool {
        let called = |extra: &Pin<Box<Extra<N, F>>>| extra.called_at().is_some();
        self.first.is_some() || self.extras.iter().any(called)
    }

    /// Drops the other attempts, and ends the call with the outcome of attempt number `by`.
    #[inline]
    fn finish(&mut self, by: u32, outcome: Outcome) {
        self.drop_all(outcome == Outcome::Success);
        let plan = &self.attempts.as_ref().plan;
        self.permit.ledger.finish(plan, by, outcome);
    }

    /// Drops all attempts and ends the call.
    fn stop(&mut self, ending: Ending) {
        // The drop of an attempt may panic. The call has ended then too.
        let dropped = catch_unwind(AssertUnwindSafe(|| self.drop_all(false)));
        let plan = &self.attempts.as_ref().plan;
        self.permit.ledger.end(plan, ending);
        if let Err(panic) = dropped {
            resume_unwind(panic);
        }
    }

    /// Drops all attempts. Their latencies are known to be too short.
    #[inline]
    fn drop_all(&mut self, won: bool) {
        let config = self.attempts.as_ref();
        if self.first.is_some() {
            let start = self.permit.ledger.call.start;
            self.permit.sample(config, start, true);
            let _overtaken = self.permit.overtaken(won, start);
            self.first.set(None);
            self.permit.ledger.span = AttemptSpan::default();
        }
        if !self.extras.is_empty() {
            self.drop_extras(won);
        }
        *self.failed = None;
    }

    #[cold]
    fn drop_extras(&mut self, won: bool) {
        let config = self.attempts.as_ref();
        for extra in self.extras.drain(..) {
            if let Some(start) = extra.called_at() {
                self.permit.sample(config, start, true);
                let _overtaken = self.permit.overtaken(won, start);
                drop(extra);
            }
        }
    }
}
