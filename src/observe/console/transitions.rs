//! The transitions of the circuit breakers, while a page is open.

use std::collections::{BTreeMap, VecDeque};

use super::document::Passed;
use crate::circuit_breaker::{Cause, Transition};
use crate::event::{Event, EventKind, Subscription};
use crate::registry::Policy;
use crate::sync::{Arc, Mutex};
use crate::time::{self, Tick};

/// The last transitions that are kept.
const KEPT: usize = 200;

#[derive(Default)]
pub(super) struct Transitions {
    passed: Arc<Mutex<VecDeque<(Tick, Passed)>>>,
    /// By the id of the policy.
    listeners: Mutex<BTreeMap<u64, Subscription>>,
}

impl Transitions {
    /// Listens to these breakers and to no others.
    pub(super) fn follow(&self, breakers: &[Policy]) {
        let mut listeners = self.listeners.lock();
        let mut old = std::mem::take(&mut *listeners);
        for policy in breakers {
            let id = policy.id().unwrap_or_default();
            let listener = old.remove(&id).unwrap_or_else(|| {
                let passed = Arc::clone(&self.passed);
                policy.on_event(move |event| note(&passed, event))
            });
            listeners.insert(id, listener);
        }
    }

    /// Listens to nothing.
    pub(super) fn end(&self) {
        // Dropped outside of the lock: a drop waits for a listener that runs.
        let listeners = std::mem::take(&mut *self.listeners.lock());
        drop(listeners);
    }

    /// The newest first, on a clock that starts at `start`.
    pub(super) fn list(&self, start: Tick) -> Vec<Passed> {
        let passed = self.passed.lock();
        let on_clock = |(at, passed): &(Tick, Passed)| Passed {
            at: at.since(start).into(),
            ..passed.clone()
        };
        passed.iter().rev().map(on_clock).collect()
    }
}

fn note(passed: &Mutex<VecDeque<(Tick, Passed)>>, event: &Event<'_>) {
    let EventKind::Transition(transition) = event.kind else {
        return;
    };
    let entry = Passed {
        at: Default::default(),
        policy: event.policy.to_string(),
        from: transition.from.to_string(),
        to: transition.to.to_string(),
        cause: cause(transition),
    };
    let mut passed = passed.lock();
    passed.push_back((time::now(), entry));
    if passed.len() > KEPT {
        passed.pop_front();
    }
}

/// The cause as one sentence.
fn cause(transition: &Transition) -> String {
    let why = match &transition.cause {
        Cause::Tripped(tripped) => {
            let error = tripped.error.as_deref().unwrap_or("no text");
            format!("{}; the last: {} ({error})", tripped.rule, tripped.kind)
        }
        Cause::WaitOver => "the wait is over".into(),
        Cause::ProbesFailed(kind) => format!("a probe failed: {kind}"),
        Cause::ProbesSucceeded => "the probes succeeded".into(),
        Cause::GaveUp => "the probes did not end in time".into(),
        Cause::Recovered => "the ramp is over".into(),
        Cause::ForcedOpen => "forced open by hand".into(),
        Cause::Released => "released by hand".into(),
        Cause::Reset => "reset by hand".into(),
    };
    match transition.open_for {
        Some(wait) => format!("{why}; open for {wait:.0?}"),
        None => why,
    }
}
