//! One admitted call, and how its end is recorded.

use std::time::Duration;

use super::ending::{End, outcome};
use super::policy::CircuitBreaker;
use super::rules::{Ended, Rules};
use super::state::{Grant, Moment, Role, State, Word};
use crate::classify::{FailureKind, Outcome};
use crate::context::{CallContext, Expired};
use crate::counters::Count;
use crate::event::Ending;
use crate::per_thread;
use crate::time::{self, Tick};

/// An admitted call.
// In this order: side by side, the two times would be copied as one, which waits for the stores of
// both.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Call {
    /// [`Tick::ZERO`] if neither a rule nor a listener needed it when the call was admitted. Such a
    /// call emits no event at its end.
    pub(super) start: Tick,
    pub(super) grant: Grant,
    /// The deadline in force when the call was admitted, or an earlier one that it was pending
    /// under and that no timer enforces.
    pub(super) deadline: Tick,
}

impl Call {
    #[inline]
    pub(super) fn starting(grant: Grant, start: Tick) -> Self {
        Self {
            start,
            grant,
            deadline: CallContext::deadline(),
        }
    }
}

impl CircuitBreaker {
    /// Whether a success is the healthy case: of a closed breaker under the rules it was built
    /// with, after a success, and of a call whose time no rule or listener wants. It trips nothing
    /// and ends no streak of failures.
    #[inline]
    pub(super) fn is_healthy(&self, grant: Grant, start: Tick) -> bool {
        let Grant { generation, role } = grant;
        role == Role::Counted
            && self.0.machine.word().is_closed_as_built(generation)
            && !self.0.built_with.has_streak(generation)
            && (start == Tick::ZERO || !self.wants_times())
    }

    /// Records a success in the healthy case.
    #[inline]
    pub(super) fn succeed(&self, generation: u32) {
        if self.0.built_with.counts_successes {
            self.count_success(generation);
        }
        self.common().cells().count(Count::ended(Ending::Success));
    }

    /// Counts a success in the windows.
    #[inline(never)]
    fn count_success(&self, generation: u32) {
        let now = time::now();
        let slot = per_thread::current();
        self.0.built_with.count_success(generation, now, slot);
    }

    /// Whether the time of a success matters. A call is also timed for `fair_time`, which concerns
    /// none.
    #[inline(never)]
    fn wants_times(&self) -> bool {
        self.0.built_with.slow_after.is_some() || self.common().observed()
    }

    /// Settles an admitted call, exactly once.
    // A call that is passed by its address is kept in memory also where it is not settled here.
    #[inline(always)]
    pub(super) fn settle(&self, call: Call, end: End<'_>) {
        self.settle_parts(call.grant, call.start, call.deadline, end);
    }

    #[cold]
    fn settle_parts(&self, grant: Grant, start: Tick, deadline: Tick, end: End<'_>) {
        let Grant { generation, role } = grant;
        let timed = start != Tick::ZERO;
        if role == Role::Unrecorded && !timed {
            return;
        }
        let word = self.0.machine.word();
        let now = time::now();
        let start = timed.then_some(start);
        let elapsed = start.map(|start| now.since(start));
        let rules = self.0.rules.load();
        let deadline = deadline.min(Expired::deadline());
        let outcome = outcome(&rules, end, start, deadline, now);
        match role {
            Role::Counted if word.generation() == generation => {
                self.count(&rules, word, outcome, elapsed, now, end);
            }
            Role::Probe => self.end_probe(&rules, generation, outcome, elapsed, now),
            // The outcome of an earlier generation changes nothing.
            Role::Counted | Role::Unrecorded => {}
        }
        let ending = end.ending(outcome);
        match elapsed {
            Some(elapsed) => self.common().ended(ending, || elapsed),
            // A call that was not timed has no event.
            None => self.common().cells().count(Count::ended(ending)),
        }
    }

    /// Records a call by the rules, and trips the breaker if one of them holds.
    fn count(
        &self,
        rules: &Rules,
        word: Word,
        outcome: Outcome,
        elapsed: Option<Duration>,
        now: Tick,
        end: End<'_>,
    ) {
        let failure = match outcome {
            Outcome::Ignore => return,
            Outcome::Success => None,
            Outcome::Failure { kind, retry_after } => Some((kind, retry_after)),
        };
        let call = Ended {
            failure,
            elapsed,
            slot: per_thread::current(),
        };
        let generation = word.generation();
        let mut tripped = rules.record(generation, now, &call);
        if word.state() == State::Recovering {
            let by_ramp = rules.record_ramp(generation, now, &call);
            tripped = tripped.or(by_ramp);
        }
        if let Some(mut tripped) = tripped {
            tripped.error = end.text();
            let machine = &self.0.machine;
            let trip = |at: &Moment<'_>| machine.trip(generation, tripped, at);
            self.announce(self.decide(now, rules, trip));
        }
    }

    /// Releases a probe's permit, which closes or re-opens the breaker if it was the last needed.
    #[cold]
    fn end_probe(
        &self,
        rules: &Rules,
        generation: u32,
        outcome: Outcome,
        elapsed: Option<Duration>,
        now: Tick,
    ) {
        let threshold = rules.slow_after;
        let slow = threshold.is_some() && elapsed > threshold;
        let result = match outcome {
            Outcome::Ignore => None,
            Outcome::Success if slow => Some(Err((FailureKind::Slow, None))),
            Outcome::Success => Some(Ok(())),
            Outcome::Failure { kind, retry_after } => Some(Err((kind, retry_after))),
        };
        let machine = &self.0.machine;
        let end = |at: &Moment<'_>| machine.end_probe(generation, result, at);
        self.announce(self.decide(now, rules, end));
        // Also without a transition: the permit is free.
        self.wake_gate();
    }
}
