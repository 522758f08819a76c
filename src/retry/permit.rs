use std::ops::ControlFlow;
use std::time::Duration;

use super::policy::Config;
use super::state::Failed;
#[cfg(feature = "tower")]
use crate::attempts::Earned;
use crate::attempts::{AttemptSpan, CallLedger, ExtraPermit, Opened};
use crate::classify::{Drain, Verdict};
use crate::config::Mode;
use crate::context::{CallContext, ClockReading};
use crate::counters::Count;
use crate::event::{Ending, EventKind, Suppression};
use crate::outcome::Outcome;
use crate::time::{self, Tick};

/// One call under a retry, with all its attempts. Dropping it ends the call.
///
/// `H` keeps the configuration, and may keep more: it is the one reference that a call counts. `V`
/// classifies what an attempt returns.
#[derive(Debug)]
pub(super) struct Permit<H: AsRef<Config>, V, T, E> {
    pub(super) holder: H,
    pub(super) verdict: V,
    pub(super) ledger: CallLedger,
    /// The number of the attempt that is being made, from 1.
    number: u32,
    /// Whether this call may retry at all.
    retries: bool,
    /// The delay before the attempt that is being made.
    previous: Duration,
    /// The extra attempt that is to be made, or is under way. Dropping it refunds the budget, unless
    /// the attempt was made.
    extra: Option<ExtraPermit>,
    /// The last error of an attempt that was made, for when the next one is not. A failed response
    /// is dropped: it would hold a connection that the next attempt may need.
    pub(super) failed: Option<Result<T, E>>,
    /// The outcome of that attempt; that of the last attempt if no error is kept.
    outcome: Outcome,
}

/// The next attempt, which has a permit.
pub(super) struct Next {
    /// What is left of the failed response.
    pub(super) rest: Option<Drain>,
    /// When it starts.
    pub(super) until: Tick,
}

/// A call whose first attempt is not made yet. Its [`Permit`] is made from this.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) call: Opened,
    /// Whether this call may retry at all.
    pub(super) retries: bool,
}

impl First {
    /// A call that starts here, and is not admitted yet.
    #[inline(always)]
    pub(super) fn here(config: &Config, clock: &mut ClockReading) -> Self {
        let Config { settings, plan, .. } = config;
        let (numbered, timed) = (true, settings.max_elapsed.is_some());
        let call = Opened::here(plan, numbered, timed, clock);
        let nests = CallContext::extra() && !settings.nested;
        let retries = call.mode != Mode::Off && !nests && settings.max_attempts > 1;
        Self { call, retries }
    }
}

impl<H: AsRef<Config>, V, T, E> Permit<H, V, T, E> {
    /// The permit of a call whose first attempt has been made. `holder` has the configuration that
    /// the attempt was made by.
    #[inline(always)]
    pub(super) fn after_first(first: First, span: AttemptSpan, holder: H, verdict: V) -> Self {
        Self {
            holder,
            verdict,
            ledger: CallLedger::new(first.call, span),
            number: 1,
            retries: first.retries,
            previous: Duration::ZERO,
            extra: None,
            failed: None,
            outcome: Outcome::Ignore,
        }
    }

    /// The number of the attempt that is being made.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether an attempt may follow the one that is being made: whether to copy the request.
    pub(super) fn may_go_on(&self) -> bool {
        self.retries && self.number < self.holder.as_ref().settings.max_attempts
    }

    /// Runs the user's code as part of the attempt.
    #[inline(always)]
    pub(super) fn enter<R>(&mut self, code: impl FnOnce() -> R) -> R {
        self.ledger.enter(&self.holder.as_ref().plan, code)
    }

    /// Decides after an attempt that did not succeed: the answer of the call, or the next attempt.
    /// `rejected` is whether it was rejected before it was made; `keeps` is whether a failed
    /// response is kept; `may_resend` is whether the request may be sent again after this failure.
    pub(super) fn decide(
        &mut self,
        (outcome, rejected): (Outcome, bool),
        output: Result<T, E>,
        keeps: bool,
        may_resend: impl FnOnce(&H) -> Result<(), Suppression>,
    ) -> ControlFlow<Result<T, E>, Next>
    where
        V: Verdict<T, E>,
    {
        let rejection = || self.verdict.rejection(output.as_ref());
        self.ledger.span.end(outcome, rejection);
        if rejected {
            self.not_made();
            // The service was not called: its last error stands.
            if let Some(answer) = self.end_with_last() {
                return ControlFlow::Break(answer);
            }
        }
        let Some(until) = self.after(outcome, may_resend) else {
            self.finish(outcome);
            return ControlFlow::Break(output);
        };
        // The end of the call is that of its answer: of the error that is kept, if there is one.
        let mut rest = None;
        match output {
            Ok(response) if !keeps => {
                rest = self.verdict.drain(response);
                if self.failed.is_none() {
                    self.outcome = outcome;
                }
            }
            kept => (self.failed, self.outcome) = (Some(kept), outcome),
        }
        ControlFlow::Continue(Next { rest, until })
    }

    /// Decides after an error of readiness.
    #[cfg(feature = "tower")]
    pub(super) fn decide_not_ready(&mut self, error: E) -> ControlFlow<Result<T, E>, Tick>
    where
        V: Verdict<T, E>,
    {
        let (outcome, _) = self.verdict.judge(Err(&error));
        let rejection = || self.verdict.rejection(Err(&error));
        self.ledger.span.end(outcome, rejection);
        // What the service answered says more than why it was not ready.
        if self.failed.is_none() {
            (self.failed, self.outcome) = (Some(Err(error)), outcome);
        }
        // The request was not sent since it was decided that it may be.
        let Some(until) = self.after(outcome, |_| Ok(())) else {
            let answer = self.end_with_last().expect("it was kept above");
            return ControlFlow::Break(answer);
        };
        ControlFlow::Continue(until)
    }

    /// Ends the call with the last error of an attempt that was made.
    fn end_with_last(&mut self) -> Option<Result<T, E>> {
        let answer = self.failed.take()?;
        self.finish(self.outcome);
        Some(answer)
    }

    /// When the next attempt starts, after one with this outcome. It has a permit then. None if the
    /// call ends.
    fn after(
        &mut self,
        outcome: Outcome,
        may_resend: impl FnOnce(&H) -> Result<(), Suppression>,
    ) -> Option<Tick> {
        let Outcome::Failure { kind, retry_after } = outcome else {
            return None;
        };
        let failed = Failed {
            number: self.number,
            kind,
            retry_after,
            previous: self.previous,
        };
        if !self.may_go_on() || failed.is_lasting() {
            return None;
        }
        let may_resend = may_resend(&self.holder);
        match may_resend.and_then(|()| self.after_failure(failed)) {
            Ok(until) => until,
            Err(reason) => {
                let ledger = &self.holder.as_ref().plan.ledger;
                ledger.suppress(self.number + 1, reason);
                None
            }
        }
    }

    /// When the next attempt starts. None where retries do not nest, in record-only mode, and if
    /// the budget is spent, which has its event.
    #[cold]
    fn after_failure(&mut self, failed: Failed) -> Result<Option<Tick>, Suppression> {
        let Config {
            settings,
            plan,
            jitter,
        } = self.holder.as_ref();
        // Checked again: behind a buffer, the call was opened in another context.
        if CallContext::extra() && !settings.nested {
            return Ok(None);
        }
        let delay = settings.delay(failed, || jitter.fraction());
        let delay = delay.ok_or(Suppression::RetryAfter)?;
        let until = time::now().after(delay);
        let limit = settings.max_elapsed;
        if limit.is_some_and(|limit| until > self.ledger.call.start.after(limit)) {
            return Err(Suppression::Elapsed);
        }
        if until >= self.ledger.deadline() {
            return Err(Suppression::Deadline);
        }
        // An attempt whose service did not become ready gives its permit back first.
        self.extra = None;
        let (attempt, kind) = (self.number + 1, failed.kind);
        let would = || EventKind::WouldRetry {
            attempt,
            delay,
            kind,
        };
        let Some(permit) = self.ledger.withdraw(plan, attempt, Some(kind), would) else {
            return Ok(None);
        };
        self.extra = Some(permit);
        self.number = attempt;
        self.previous = delay;
        plan.ledger.common.cells().count(Count::retried(kind));
        plan.ledger.common.emit(EventKind::Retrying {
            attempt,
            delay,
            kind,
        });
        Ok(Some(until))
    }

    /// The next attempt became due after the deadline, and is not made: the call ends as the last
    /// one did. Returns its answer, unless that was dropped.
    #[cold]
    pub(super) fn too_late(&mut self) -> Option<Result<T, E>> {
        self.extra = None;
        let ledger = &self.holder.as_ref().plan.ledger;
        ledger.suppress(self.number, Suppression::Deadline);
        let answer = self.failed.take();
        self.finish(self.outcome);
        answer
    }

    /// The backoff is over: code runs as part of the next attempt from here on.
    pub(super) fn wake(&mut self) {
        let plan = &self.holder.as_ref().plan;
        self.ledger.number(plan, self.number, self.previous);
    }

    /// The attempt is made.
    pub(super) fn send(&mut self) {
        let plan = &self.holder.as_ref().plan;
        if let Some(permit) = &mut self.extra {
            self.ledger.send(plan, permit);
        }
    }

    /// A layer below rejected the attempt under way: it was not made.
    #[cold]
    fn not_made(&mut self) {
        let plan = &self.holder.as_ref().plan;
        if let Some(sent) = self.extra.take() {
            self.ledger.rejected(plan, sent);
        }
    }

    /// The call ends with the success of the attempt under way, and the budget earns its ratio.
    #[cfg(feature = "tower")]
    #[inline(always)]
    pub(super) fn succeed(&mut self) {
        self.ledger.span.end(Outcome::Success, || None);
        let plan = &self.holder.as_ref().plan;
        self.ledger.succeed(plan, self.number);
    }

    /// The call ends with this outcome. What was taken for an attempt that was not made goes back
    /// before the terminal event.
    fn finish(&mut self, outcome: Outcome) {
        self.extra = None;
        let plan = &self.holder.as_ref().plan;
        self.ledger.finish(plan, self.number, outcome);
    }

    /// The call ends with a success by its head. What it earns is known at the end of its body.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn finish_head(&mut self) -> Earned {
        self.ledger.span.end(Outcome::Success, || None);
        let plan = &self.holder.as_ref().plan;
        self.ledger.finish_head(plan, self.number)
    }

    #[cold]
    fn dropped(&mut self) {
        self.extra = None;
        let plan = &self.holder.as_ref().plan;
        self.ledger.end(plan, Ending::Dropped);
    }
}

impl<H: AsRef<Config>, V, T, E> Drop for Permit<H, V, T, E> {
    #[inline]
    fn drop(&mut self) {
        if self.ledger.is_open() {
            self.dropped();
        }
    }
}
