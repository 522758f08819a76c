//! How a call ended, and what that says about the service.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::config::OnDrop;
use super::rules::Rules;
use crate::classify::{FailureKind, Outcome};
use crate::context::{Expired, Overtaken};
use crate::event::Ending;
use crate::time::Tick;

/// How a call ended.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// With the text of the error, if it was one.
    Outcome(Outcome, &'a dyn Fn() -> Option<String>),
    Dropped,
    Panicked,
}

impl End<'_> {
    /// The text of the error, unless the error panics.
    pub(super) fn text(self) -> Option<String> {
        match self {
            End::Outcome(_, text) => catch_unwind(AssertUnwindSafe(text)).ok().flatten(),
            End::Dropped | End::Panicked => None,
        }
    }

    /// The ending that the call's event names.
    pub(super) fn ending(self, outcome: Outcome) -> Ending {
        match (self, outcome) {
            (End::Panicked, _) => Ending::Panicked,
            (End::Dropped, Outcome::Ignore) => Ending::Dropped,
            (_, Outcome::Success) => Ending::Success,
            (_, Outcome::Failure { kind, .. }) => Ending::Failure(kind),
            (_, Outcome::Ignore) => Ending::Ignored,
        }
    }
}

/// What the end of a call says about the service. `start` is absent where calls are not timed.
pub(super) fn outcome(
    rules: &Rules,
    end: End<'_>,
    start: Option<Tick>,
    deadline: Tick,
    now: Tick,
) -> Outcome {
    let failure = |kind| Outcome::Failure {
        kind,
        retry_after: None,
    };
    let overdue = !deadline.is_never() && now >= deadline;
    // The caller gave the call less time than the service may fairly take.
    let given = start.map(|start| deadline.since(start));
    let unfair = given.is_some() && given < rules.config.fair_time;
    let timeout = match unfair && overdue {
        true => Outcome::Ignore,
        false => failure(FailureKind::Timeout),
    };
    match end {
        End::Outcome(
            Outcome::Failure {
                kind: FailureKind::Timeout,
                ..
            },
            _,
            // Also before the deadline: a server that was sent it ends a little earlier.
        ) if unfair => Outcome::Ignore,
        // The caller's upload was slow.
        End::Outcome(
            Outcome::Failure {
                kind: FailureKind::RequestTimeout,
                ..
            },
            _,
        ) => Outcome::Ignore,
        End::Outcome(outcome, _) => outcome,
        End::Panicked => failure(FailureKind::Panic),
        End::Dropped => match rules.config.on_drop {
            OnDrop::IfLate | OnDrop::ByDeadline if Expired::is_excused() => Outcome::Ignore,
            OnDrop::IfLate | OnDrop::ByDeadline if overdue => timeout,
            OnDrop::IfLate if is_overtaken(start.map(|start| now.since(start))) => {
                failure(FailureKind::Slow)
            }
            OnDrop::IfLate | OnDrop::ByDeadline | OnDrop::Ignore => Outcome::Ignore,
            OnDrop::Failure => timeout,
        },
    }
}

/// Whether a hedge drops the call because it is late. Between the hedge and the breaker may be a
/// retry, so the call may be younger than the hedge's attempt; an untimed one is taken as that old.
fn is_overtaken(elapsed: Option<Duration>) -> bool {
    Overtaken::current().is_some_and(|delay| elapsed.is_none_or(|elapsed| elapsed >= delay))
}
