//! Events as `tracing` events. The messages and fields are listed in [`crate::event`].

#[cfg(all(test, not(seawall_loom)))]
pub(crate) mod tests;

use std::time::Duration;

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, debug, enabled, info, warn};

use super::{EventKind, Suppression};
use crate::circuit_breaker::{State, Transition};
use crate::config::Name;
use crate::rejection::Rejection;

/// Whether there may be a subscriber that wants any event of ours: one load, before all that a
/// rejection needs. All other events are passed on in any case: without a subscriber the feature
/// `log` of `tracing` gives them to a logger.
#[inline]
pub(crate) fn is_on() -> bool {
    let least = Level::WARN;
    least <= STATIC_MAX_LEVEL && least <= LevelFilter::current()
}

/// Whether a rejection would reach a subscriber. Check it before a rejection is made only for an
/// event.
pub(crate) fn wants_rejections() -> bool {
    enabled!(target: "seawall", Level::DEBUG)
}

/// Whether a summary of rejections would reach a subscriber. Where each rejection does, none is
/// made.
pub(crate) fn wants_summaries() -> bool {
    enabled!(target: "seawall", Level::WARN) && !wants_rejections()
}

/// Reports what was rejected since the last summary.
pub(crate) fn summarise(policy: &Name, calls: u64, since: Option<Duration>, reasons: &str) {
    warn!(
        target: "seawall",
        {
            resilience.policy = %policy,
            resilience.calls = calls,
            resilience.seconds = since.map(|since| since.as_secs()),
            resilience.reasons = reasons,
        },
        "calls rejected"
    );
}

#[cold]
pub(crate) fn emit(policy: &Name, kind: EventKind<'_>) {
    match kind {
        EventKind::Rejected(rejection) => {
            rejected(policy, rejection, "call rejected", "call timed out");
        }
        EventKind::WouldReject(rejection) => {
            let (made, timed_out) = ("call would be rejected", "call would time out");
            rejected(policy, rejection, made, timed_out);
        }
        EventKind::Transition(transition) => changed_state(policy, transition),
        EventKind::Suppressed { attempt, reason } => {
            suppressed(policy, Some(attempt), reason, "attempt not made");
        }
        EventKind::WouldSuppress { attempt, reason } => {
            suppressed(policy, Some(attempt), reason, "attempt would not be made");
        }
        EventKind::NoFallback { reason } => {
            suppressed(policy, None, reason, "fallback not called");
        }
        EventKind::ConstructionFailed(error) => {
            warn!(
                target: "seawall",
                {
                    resilience.policy = %policy,
                    resilience.error = %error,
                },
                "policy of a key could not be constructed"
            );
        }
        EventKind::Keyless { first: true } if cfg!(debug_assertions) => {
            warn!(
                target: "seawall",
                {
                    resilience.policy = %policy,
                },
                "call without a key: is it meant to have none?"
            );
        }
        _ => {}
    }
}

#[cfg(debug_assertions)]
pub(crate) fn applied_twice(policy: &Name, site: &dyn std::fmt::Debug) {
    warn!(
        target: "seawall",
        {
            resilience.policy = %policy,
            resilience.site = ?site,
        },
        "one policy applied twice on one path: a call under it comes to it again"
    );
}

fn suppressed(policy: &Name, attempt: Option<u32>, reason: Suppression, message: &str) {
    debug!(
        target: "seawall",
        {
            resilience.policy = %policy,
            resilience.attempt = attempt,
            resilience.suppression = reason.label(),
            resilience.reason = %reason,
        },
        "{message}"
    );
}

/// The label of the kind is the `reason` of the metrics.
fn rejected(policy: &Name, rejection: &Rejection, not_made: &str, timed_out: &str) {
    let kind = rejection.kind();
    // A call that was made is not rejected: it ran out of time.
    let (message, retry_after) = match rejection.call_not_made() {
        true => (not_made, rejection.retry_after()),
        false => (timed_out, None),
    };
    debug!(
        target: "seawall",
        {
            resilience.policy = %policy,
            resilience.rejection = kind.label(),
            resilience.reason = %kind,
            resilience.retry_after = retry_after.map(tracing::field::debug),
        },
        "{message}"
    );
}

/// The event of a transition. Its states have the names that the metrics have.
macro_rules! transition {
    ($level:ident, $policy:ident, $transition:ident, $message:literal) => {
        $level!(
            target: "seawall",
            {
                resilience.policy = %$policy,
                resilience.from = $transition.from.label(),
                resilience.to = $transition.to.label(),
                resilience.cause = %$transition.cause,
                resilience.open_for = $transition.open_for.map(tracing::field::debug),
            },
            $message
        )
    };
}

fn changed_state(policy: &Name, transition: &Transition) {
    match transition.to {
        State::Open | State::ForcedOpen => {
            transition!(warn, policy, transition, "circuit breaker opened");
        }
        _ => transition!(info, policy, transition, "circuit breaker changed state"),
    }
}
