//! How a breaker is moved from one state to another, and tells of it.

use std::time::Duration;

use super::CircuitBreaker;
use crate::circuit_breaker::state::{Cause, Control, Ended, Move, State, Step, Timing};
use crate::event::EventKind;
use crate::time::{self, Count, Tick};

impl CircuitBreaker {
    /// Makes a move that the machine asked for.
    pub(super) fn make(&self, step: Move, now: Tick) {
        let (cause, retry_after) = match step.kind {
            Ended::WaitOver => (Cause::WaitOver, None),
            Ended::GaveUp => (Cause::GaveUp, None),
            Ended::Recovered => (Cause::Recovered, None),
            Ended::ProbesSucceeded => (Cause::ProbesSucceeded, None),
            Ended::ProbesFailed(kind, retry_after) => (Cause::ProbesFailed(kind), retry_after),
        };
        self.go_at(now, step.from, step.to, cause, retry_after);
    }

    pub(super) fn go(
        &self,
        from: Option<u32>,
        to: State,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> bool {
        self.go_at(time::now(), from, to, cause, retry_after)
    }

    /// Whether it was this call that moved it.
    fn go_at(
        &self,
        now: Tick,
        from: Option<u32>,
        to: State,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> bool {
        let mut control = self.0.machine.control.lock();
        let rules = self.0.rules.load();
        let timing = Timing {
            config: &rules.config,
            fraction: self.0.jitter.fraction(),
            retry_after,
            before: Count::before,
        };
        let step = Step {
            from,
            to,
            cause,
            timing,
        };
        let begin = |generation| rules.begin(generation);
        let moved = self.0.machine.enter(&mut control, now, step, begin);
        drop(control);
        if moved {
            self.wake_gate();
            self.tell_transitions();
        }
        moved
    }

    /// Tells of the transitions in their order. Whoever finds somebody at it leaves them to him.
    fn tell_transitions(&self) {
        let next = |control: &mut Control| {
            let transition = control.untold.pop_front();
            control.telling = transition.is_some();
            transition
        };
        let mut transition = {
            let mut control = self.0.machine.control.lock();
            if control.telling {
                return;
            }
            next(&mut control)
        };
        while let Some(told) = transition {
            self.emit(EventKind::Transition(&told));
            transition = next(&mut self.0.machine.control.lock());
        }
    }
}
