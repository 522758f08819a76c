//! The ledger of extra attempts: what they take from a budget, what is counted of them, and the
//! one event that ends each call.

use std::borrow::Cow;
use std::time::Duration;

use super::funding::Funding;
use super::span::AttemptSpan;
use crate::budget::{Budget, Charged, Sent, Withdrawal};
use crate::common::{Common, Options};
use crate::config::Mode;
use crate::context::{Attempt, CallContext, ClockReading, Due};
use crate::counters::Count;
use crate::event::{Ending, EventKind, Suppression};
use crate::in_flight::catching;
use crate::outcome::{FailureKind, Outcome};
use crate::policy_id::{PolicyId, Registration};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{self, Tick};

/// What the calls of one retry or hedge share: its name, mode and listeners, and its counts. A
/// count publishes nothing but itself: relaxed.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) common: Common,
    made: AtomicU64,
    won: AtomicU64,
    suppressed: AtomicU64,
    would_make: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(options: Options, registration: Registration) -> Self {
        Self {
            common: Common::new(options, registration),
            made: AtomicU64::new(0),
            won: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
            would_make: AtomicU64::new(0),
        }
    }

    /// The attempt with this number was due and is not made.
    #[cold]
    pub(crate) fn suppress(&self, attempt: u32, reason: Suppression) {
        self.common.cells().count(Count::suppressed(reason));
        self.common.emit(EventKind::Suppressed { attempt, reason });
    }

    pub(super) fn count_win(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
        self.common.cells().count(Count::WON);
    }

    /// Extra attempts made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Extra attempts whose success was returned.
    pub(crate) fn won(&self) -> u64 {
        self.won.load(Ordering::Relaxed)
    }

    /// Extra attempts that were not made because the budget was spent.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Extra attempts that record-only mode did not make.
    pub(crate) fn would_make(&self) -> u64 {
        self.would_make.load(Ordering::Relaxed)
    }
}

/// The part of a retry's or hedge's configuration that the ledger needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) funding: Funding,
}

/// One call in the ledger, from its start to its one terminal event.
#[derive(Debug)]
pub(crate) struct CallLedger {
    /// The mode when the call started.
    mode: Mode,
    /// Zero where no listener and no limit needs it.
    pub(crate) start: Tick,
    /// The deadline in force at the call.
    deadline: Tick,
    /// What the attempt carries down. None where the policy is off, and where the call is part of
    /// another policy's attempt, whose number stays.
    attempt: Option<Attempt>,
    /// The budget that is used instead of the policy's own.
    inherited: Option<PolicyId>,
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

/// A permit for one extra attempt. Dropping it gives back what was taken from the budget.
#[derive(Debug)]
pub(crate) struct ExtraPermit(Option<Withdrawal>);

/// An extra attempt under way. Dropping it leaves it spent.
#[derive(Debug)]
pub(crate) struct SentExtra(Option<Sent>);

impl CallLedger {
    /// A call that starts here. `joins` is whether its attempts are numbered; `timed` is whether
    /// the policy needs the start in any case.
    #[inline]
    pub(crate) fn open(plan: &Plan, joins: bool, timed: bool, clock: &mut ClockReading) -> Self {
        let common = &plan.ledger.common;
        let mode = common.mode();
        let on = mode != Mode::Off;
        let mut start = Tick::ZERO;
        if on && (timed || common.observed()) {
            start = clock.now();
        }
        if on {
            common.admitted();
        }
        let inherited = plan.funding.inherited().filter(|_| on);
        let own = plan.funding.budget().filter(|_| on);
        let budget = inherited.or(own.map(Budget::id));
        let span = match on && joins {
            true => AttemptSpan::start(common.name(), 1, || Duration::ZERO),
            false => AttemptSpan::default(),
        };
        Self {
            mode,
            start,
            deadline: CallContext::deadline(),
            attempt: (on && joins).then(|| {
                let only = !matches!(plan.funding, Funding::Own(_));
                let attempt = Attempt::new(1, budget);
                Attempt { only, ..attempt }
            }),
            inherited,
            made: 1,
            added: false,
            charged: None,
            open: on,
            span,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The deadline of the call. One that no timer enforces may only be seen by the polls: a call
    /// behind a buffer is made elsewhere.
    pub(crate) fn deadline(&self) -> Tick {
        self.deadline.min(CallContext::unenforced())
    }

    /// Whether the next attempt may start at `now`.
    pub(crate) fn due(&self, now: Tick) -> Due {
        CallContext::due(self.deadline, now)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The attempt with this number carries it down from here on, `delay` after the one before it
    /// failed.
    pub(crate) fn number(&mut self, plan: &Plan, number: u32, delay: Duration) {
        if let Some(attempt) = &mut self.attempt {
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
        let attempt = self.attempt?;
        Some(Attempt { number, ..attempt })
    }

    /// Runs the user's code as part of the attempt. A panic ends the call.
    #[inline]
    pub(crate) fn enter<T>(&mut self, plan: &Plan, code: impl FnOnce() -> T) -> T {
        let _context = self.attempt.map(Attempt::enter);
        let _span = self.span.enter();
        let _inside = self.inside(plan);
        catching(&mut (self, plan), code, |(call, plan)| {
            call.end(plan, Ending::Panicked);
        })
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
                ledger.suppressed.fetch_add(1, Ordering::Relaxed);
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
        if self.mode == Mode::Enforce {
            return Some(permit);
        }
        // Given back before a listener can look.
        drop(permit);
        ledger.would_make.fetch_add(1, Ordering::Relaxed);
        ledger.common.cells().count(Count::WOULD_MAKE);
        if ledger.common.observed() {
            ledger.common.emit(would());
        }
        None
    }

    fn budget<'p>(&self, plan: &'p Plan) -> Option<Cow<'p, Budget>> {
        // Checked again: behind a buffer, `open` saw another context.
        let inherited = plan.funding.inherited().or(self.inherited);
        let inherited = inherited.and_then(Budget::find).map(Cow::Owned);
        inherited.or_else(|| plan.funding.budget().map(Cow::Borrowed))
    }

    /// The extra attempt is made.
    pub(crate) fn send(&mut self, plan: &Plan, permit: ExtraPermit) -> SentExtra {
        self.charged = None;
        self.made += 1;
        plan.ledger.made.fetch_add(1, Ordering::Relaxed);
        plan.ledger.common.cells().count(Count::EXTRA);
        SentExtra(permit.0.map(Withdrawal::send))
    }

    /// A layer below rejected the extra attempt: it was not made.
    pub(crate) fn rejected(&mut self, plan: &Plan, sent: SentExtra) {
        self.made -= 1;
        plan.ledger.made.fetch_sub(1, Ordering::Relaxed);
        plan.ledger.common.cells().uncount(Count::EXTRA);
        if let Some(sent) = sent.0 {
            sent.rejected();
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
    #[inline]
    pub(crate) fn finish(&mut self, plan: &Plan, by: u32, outcome: Outcome) {
        let ending = match outcome {
            Outcome::Success => Ending::Success,
            Outcome::Failure { kind, .. } => Ending::Failure(kind),
            Outcome::Ignore => Ending::Ignored,
        };
        if outcome == Outcome::Success && self.mode != Mode::Off {
            if by > 1 {
                plan.ledger.count_win();
            }
            if let Some(budget) = Self::earning(plan) {
                budget.on_success();
            }
        }
        if let Outcome::Failure { .. } = outcome {
            self.returns_failure(plan, outcome);
        }
        self.add_call(plan);
        self.end(plan, ending);
    }

    /// Adds the call to a budget that earns by calls, once. This is not done in `open`, because
    /// behind a buffer that runs outside of the attempt that the call is part of.
    #[inline]
    pub(super) fn add_call(&mut self, plan: &Plan) {
        let first = self.mode != Mode::Off && !std::mem::replace(&mut self.added, true);
        if let (true, Some(own), None) = (first, plan.funding.budget(), self.inherited) {
            own.on_call();
        }
    }

    /// The budget that the success of a call is deposited in. An inherited budget is that of a
    /// `BudgetLayer`, which deposits for its calls, or of an attempt, inside of which nothing is
    /// earned.
    #[inline]
    pub(super) fn earning(plan: &Plan) -> Option<&Budget> {
        match &plan.funding {
            Funding::Own(_) if CallContext::budget().is_some() => {
                if CallContext::attempt() == 0 {
                    CallContext::add_success();
                }
                None
            }
            Funding::Own(budget) | Funding::Given(budget) => Some(budget),
            Funding::Default | Funding::None => None,
        }
    }

    /// Emits the terminal event, once.
    #[inline]
    pub(crate) fn end(&mut self, plan: &Plan, ending: Ending) {
        if ending == Ending::Panicked {
            self.span.panicked();
        }
        if std::mem::replace(&mut self.open, false) {
            let common = &plan.ledger.common;
            common.ended_after(self.made, ending, || self.elapsed());
        }
    }

    /// Since the start; zero where no listener was there then.
    pub(crate) fn elapsed(&self) -> Duration {
        match self.start {
            Tick::ZERO => Duration::ZERO,
            start => time::now().since(start),
        }
    }
}
