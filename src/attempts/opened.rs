//! A call before its first attempt.

use std::time::Duration;

use super::funding::Funding;
use super::ledger::{Plan, since};
use super::span::AttemptSpan;
use crate::budget::Budget;
use crate::config::Mode;
use crate::context::path::Inside;
use crate::context::{Attempt, CallContext, ClockReading};
use crate::event::Ending;
use crate::in_flight::catching;
use crate::policy_id::PolicyId;
use crate::time::Tick;

/// What a call in the ledger starts with, until its first attempt has been made.
///
/// Plain values, which have no drop: a [`CallLedger`](super::CallLedger) that exists while the user's code runs is in
/// memory, and the copy to where it stays waits until the stores of its parts are done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// The mode when the call started.
    pub(crate) mode: Mode,
    /// Zero where no listener and no limit needs it.
    pub(crate) start: Tick,
    /// The deadline in force at the call.
    pub(crate) deadline: Tick,
    /// What the attempt carries down. None where the policy is off, and where the call is part of
    /// another policy's attempt, whose number stays.
    pub(super) attempt: Option<Attempt>,
    /// The budget that is used instead of the policy's own.
    pub(super) inherited: Option<PolicyId>,
}

impl Opened {
    /// A call that starts here, and is not admitted yet. `joins` is whether its attempts are
    /// numbered; `timed` is whether the policy needs the start in any case.
    // Inlined, as are the others, so that the parts stay in registers.
    #[inline(always)]
    pub(crate) fn here(plan: &Plan, joins: bool, timed: bool, clock: &mut ClockReading) -> Self {
        let common = &plan.ledger.common;
        let mode = common.mode();
        let on = mode != Mode::Off;
        let mut start = Tick::ZERO;
        if on && (timed || common.observed()) {
            start = clock.now();
        }
        let inherited = plan.funding.inherited().filter(|_| on);
        Self {
            mode,
            start,
            deadline: CallContext::deadline(),
            attempt: (on && joins).then(|| {
                let budget = inherited.or(plan.funding.budget().map(Budget::id));
                let only = !matches!(plan.funding, Funding::Own(_));
                let attempt = Attempt::new(1, budget);
                Attempt { only, ..attempt }
            }),
            inherited,
        }
    }

    /// The span of the first attempt, which starts now.
    #[inline(always)]
    pub(crate) fn span(&self, plan: &Plan) -> AttemptSpan {
        match self.attempt {
            Some(_) => AttemptSpan::start(plan.ledger.common.name(), 1, || Duration::ZERO),
            None => AttemptSpan::default(),
        }
    }

    /// The call is admitted: from here on it has an end.
    #[inline(always)]
    pub(crate) fn admit(&self, plan: &Plan) {
        if self.mode != Mode::Off {
            plan.ledger.common.admitted();
        }
    }

    /// The calls below are inside of this policy until the guard is dropped.
    #[inline(always)]
    pub(crate) fn inside(&self, plan: &Plan) -> Inside {
        Inside::enter((self.mode != Mode::Off).then_some(&plan.ledger.common))
    }

    /// Admits the call and runs the user's code as part of the first attempt. A panic ends the
    /// call.
    #[inline(always)]
    pub(crate) fn enter<T>(&self, plan: &Plan, span: &AttemptSpan, code: impl FnOnce() -> T) -> T {
        let _context = self.attempt.map(Attempt::enter);
        let _inside = self.inside(plan);
        let _span = span.enter();
        // Not before: a subscriber of `tracing` may panic where the span is entered.
        self.admit(plan);
        let mut state = (plan, self.mode, self.start);
        catching(&mut state, code, |(plan, mode, start)| {
            if *mode != Mode::Off {
                let common = &plan.ledger.common;
                common.ended_after(Some(1), Ending::Panicked, || since(*start));
            }
        })
    }
}
