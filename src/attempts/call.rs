//! One call in the ledger: what its extra attempts take from a budget, and its one terminal event.

use std::borrow::Cow;
use std::time::Duration;

use super::ledger::{Plan, since};
use super::opened::Opened;
use super::span::AttemptSpan;
use crate::budget::{Budget, Charged, Withdrawal};
use crate::config::Mode;
use crate::context::{Attempt, CallContext};
use crate::counters::Count;
use crate::event::{Ending, EventKind, Suppression};
use crate::in_flight::OnPanic;
use crate::outcome::{FailureKind, Outcome};
use crate::sync::Ordering;
use crate::time::Tick;

/// One call in the ledger, from its start to its one terminal event.
#[derive(Debug)]
pub(crate) struct CallLedger {
    /// What it started with, but for the number of the attempt.
    pub(crate) call: Opened,
    /// How many attempts have been made.
    made: u32,
    /// Whether the call has been added to a budget that earns by calls.
    added: bool,
    /// What the budget was charged for the last failure.
    charged: Option<Charged>,
    /// Whether the terminal event has not been emitted.
    open: bool,
    /// That of the attempt under way, and of the first one where attempts run at once.
    pub(crate) span: AttemptSpan,
}

/// A permit for one extra attempt, and then the attempt under way. Dropping it gives back what was
/// taken from the budget, unless the attempt was made.
#[derive(Debug)]
pub(crate) struct ExtraPermit(Option<Withdrawal>);

impl CallLedger {
    /// The ledger of a call that was admitted.
    #[inline(always)]
    pub(crate) fn new(call: Opened, span: AttemptSpan) -> Self {
        Self {
            call,
            made: 1,
            added: false,
            charged: None,
            open: call.mode != Mode::Off,
            span,
        }
    }

    /// The deadline of the call. One that no timer enforces may only be seen by the polls: a call
    /// behind a buffer is made elsewhere.
    pub(crate) fn deadline(&self) -> Tick {
        self.call.deadline.min(CallContext::unenforced())
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The attempt with this number carries it down from here on, `delay` after the one before it
    /// failed.
    pub(crate) fn number(&mut self, plan: &Plan, number: u32, delay: Duration) {
        if let Some(attempt) = &mut self.call.attempt {
            attempt.number = number;
            self.span = AttemptSpan::start(plan.ledger.common.name(), number, || delay);
        }
    }

    /// The span of an extra attempt that runs beside others.
    pub(crate) fn span_beside(&self, plan: &Plan, number: u32) -> AttemptSpan {
        AttemptSpan::start(plan.ledger.common.name(), number, || self.elapsed())
    }

    /// The attempt with this number, for a policy whose attempts run at once.
    pub(crate) fn attempt(&self, number: u32) -> Option<Attempt> {
        let attempt = self.call.attempt?;
        Some(Attempt { number, ..attempt })
    }

    /// Runs the user's code as part of the attempt. A panic ends the call.
    #[inline(always)]
    pub(crate) fn enter<T>(&mut self, plan: &Plan, code: impl FnOnce() -> T) -> T {
        let _context = self.call.attempt.map(Attempt::enter);
        let _inside = self.call.inside(plan);
        let mut state = (self, plan);
        let mut guard = OnPanic::new(&mut state, |(call, plan)| call.panicked(plan));
        let output = {
            let _span = guard.state().0.span.enter();
            code()
        };
        guard.done();
        output
    }

    /// Takes the extra attempt with this number, which is made `after` a failure of this kind or
    /// after none, from the budget of this call. None if it is not to be made: the budget is
    /// spent, or it is record-only mode, which emits `would`.
    pub(crate) fn withdraw(
        &mut self,
        plan: &Plan,
        number: u32,
        after: Option<FailureKind>,
        would: impl FnOnce() -> EventKind<'static>,
    ) -> Option<ExtraPermit> {
        self.add_call(plan);
        let ledger = &plan.ledger;
        let reason = Suppression::Budget;
        let mut permit = ExtraPermit(None);
        if let Some(budget) = self.budget(plan) {
            let withdrawal = match after.map(|kind| budget.charge(kind)) {
                Some((charged, withdrawal)) => {
                    self.charged = Some(charged);
                    withdrawal
                }
                None => budget.withdraw(),
            };
            let Some(withdrawal) = withdrawal else {
                ledger.counts.suppressed.fetch_add(1, Ordering::Relaxed);
                ledger.suppress(number, reason);
                return None;
            };
            if withdrawal.is_unpaid() {
                let attempt = number;
                let kind = EventKind::WouldSuppress { attempt, reason };
                ledger.common.cells().count(Count::would_suppress(reason));
                ledger.common.emit(kind);
            }
            permit.0 = Some(withdrawal);
        }
        if self.call.mode == Mode::Enforce {
            return Some(permit);
        }
        // Given back before a listener can look.
        drop(permit);
        ledger.counts.would_make.fetch_add(1, Ordering::Relaxed);
        ledger.common.cells().count(Count::WOULD_MAKE);
        if ledger.common.observed() {
            ledger.common.emit(would());
        }
        None
    }

    fn budget<'p>(&self, plan: &'p Plan) -> Option<Cow<'p, Budget>> {
        // Checked again: behind a buffer, the call was opened in another context.
        let inherited = plan.funding.inherited().or(self.call.inherited);
        let inherited = inherited.and_then(Budget::find).map(Cow::Owned);
        inherited.or_else(|| plan.funding.budget().map(Cow::Borrowed))
    }

    /// The extra attempt is made.
    pub(crate) fn send(&mut self, plan: &Plan, permit: &mut ExtraPermit) {
        self.charged = None;
        self.made += 1;
        plan.ledger.counts.made.fetch_add(1, Ordering::Relaxed);
        plan.ledger.common.cells().count(Count::EXTRA);
        if let Some(withdrawal) = &mut permit.0 {
            withdrawal.send();
        }
    }

    /// A layer below rejected the extra attempt: it was not made.
    pub(crate) fn rejected(&mut self, plan: &Plan, sent: ExtraPermit) {
        self.made -= 1;
        plan.ledger.counts.made.fetch_sub(1, Ordering::Relaxed);
        plan.ledger.common.cells().uncount(Count::EXTRA);
        if let Some(withdrawal) = sent.0 {
            withdrawal.rejected();
        }
    }

    /// An attempt has failed, and its outcome is not the call's.
    pub(crate) fn failed(&self, plan: &Plan, outcome: Outcome) {
        if let (true, Some(budget)) = (self.open, self.budget(plan)) {
            budget.attempt_failed(outcome);
        }
    }

    /// The outcome of the call is a failure. In an attempt with the same budget, the policy around
    /// it counts that failure.
    #[cold]
    fn returns_failure(&self, plan: &Plan, outcome: Outcome) {
        let id = CallContext::budget().filter(|_| CallContext::attempt() > 0);
        let budget = self.budget(plan).filter(|budget| Some(budget.id()) == id);
        match (budget, self.charged) {
            (None, None) => self.failed(plan, outcome),
            (Some(budget), Some(charged)) => budget.uncharge(charged),
            _ => {}
        }
    }

    /// The call ends with the outcome of attempt number `by`.
    #[inline(always)]
    pub(crate) fn finish(&mut self, plan: &Plan, by: u32, outcome: Outcome) {
        match outcome {
            Outcome::Success => self.succeed(plan, by),
            _ => self.fail(plan, outcome),
        }
    }

    /// The call ends with the success of attempt number `by`.
    #[inline(always)]
    pub(crate) fn succeed(&mut self, plan: &Plan, by: u32) {
        if self.open {
            if by > 1 {
                plan.ledger.count_win();
            }
            if let Some(own) = plan.funding.budget() {
                own.add(
                    Self::earns(plan),
                    !self.added && self.call.inherited.is_none(),
                );
            }
        }
        self.end(plan, Ending::Success);
    }

    #[cold]
    fn fail(&mut self, plan: &Plan, outcome: Outcome) {
        let mut ending = Ending::Ignored;
        if let Outcome::Failure { kind, .. } = outcome {
            self.returns_failure(plan, outcome);
            ending = Ending::Failure(kind);
        }
        self.add_call(plan);
        self.end(plan, ending);
    }

    /// Adds the call to a budget that earns by calls, once. This is not done where the call is
    /// opened, because behind a buffer that is outside of the attempt that the call is part of.
    pub(super) fn add_call(&mut self, plan: &Plan) {
        let first = self.call.mode != Mode::Off && !std::mem::replace(&mut self.added, true);
        if let (true, Some(own), None) = (first, plan.funding.budget(), self.call.inherited) {
            own.on_call();
        }
    }

    /// Whether the success of a call is deposited in the budget of `plan`. An inherited budget is
    /// that of a `BudgetLayer`, which deposits for its calls, or of an attempt, inside of which
    /// nothing is earned.
    #[inline(always)]
    pub(super) fn earns(plan: &Plan) -> bool {
        let inherits = plan.funding.inherited().is_some();
        if inherits && CallContext::attempt() == 0 {
            CallContext::add_success();
        }
        !inherits
    }

    /// Emits the terminal event, once.
    #[inline(always)]
    pub(crate) fn end(&mut self, plan: &Plan, ending: Ending) {
        if std::mem::replace(&mut self.open, false) {
            let common = &plan.ledger.common;
            common.ended_after(Some(self.made), ending, || self.elapsed());
        }
    }

    /// The code of an attempt has panicked, which ends the call.
    #[cold]
    fn panicked(&mut self, plan: &Plan) {
        self.span.panicked();
        self.end(plan, Ending::Panicked);
    }

    /// Since the start; zero where no listener was there then.
    pub(crate) fn elapsed(&self) -> Duration {
        since(self.call.start)
    }
}
