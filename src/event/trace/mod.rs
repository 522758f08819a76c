//! Events as `tracing` events. The messages and fields are listed in [`crate::event`].

#[cfg(all(test, not(seawall_loom)))]
pub(crate) mod tests;

use std::time::Duration;

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, debug, enabled, info, warn};

use super::EventKind;
use crate::circuit_breaker::{State, Transition};
use crate::config::Name;
use crate::rejection::Rejection;

/// Whether there may be a subscriber that wants any event of ours.
#[inline]
pub(super) fn is_on() -> bool {
    let least = Level::WARN;
    least <= STATIC_MAX_LEVEL && least <= LevelFilter::current()
}

pub(super) fn observes_rejections() -> bool {
    enabled!(target: "seawall", Level::DEBUG)
}

pub(super) fn wants_summaries() -> bool {
    enabled!(target: "seawall", Level::WARN) && !observes_rejections()
}

pub(super) fn summarise(policy: &Name, calls: u64, since: Option<Duration>, reasons: &str) {
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
pub(super) fn emit(policy: &Name, kind: EventKind<'_>) {
    match kind {
        EventKind::Rejected(rejection) => rejected(policy, rejection),
        EventKind::WouldReject(rejection) => would_reject(policy, rejection),
        EventKind::Transition(transition) => changed_state(policy, transition),
        EventKind::Suppressed { attempt, reason } => {
            debug!(
                target: "seawall",
                {
                    resilience.policy = %policy,
                    resilience.attempt = attempt,
                    resilience.suppression = reason.label(),
                    resilience.reason = %reason,
                },
                "attempt not made"
            );
        }
        EventKind::WouldSuppress { attempt, reason } => {
            debug!(
                target: "seawall",
                {
                    resilience.policy = %policy,
                    resilience.attempt = attempt,
                    resilience.suppression = reason.label(),
                    resilience.reason = %reason,
                },
                "attempt would not be made"
            );
        }
        EventKind::NoFallback { reason } => {
            debug!(
                target: "seawall",
                {
                    resilience.policy = %policy,
                    resilience.suppression = reason.label(),
                    resilience.reason = %reason,
                },
                "fallback not called"
            );
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

/// The event of a rejection. Its name of the kind is the `reason` of the metrics.
macro_rules! rejection {
    ($policy:ident, $rejection:ident, $made:literal, $timed_out:literal) => {{
        let kind = $rejection.kind();
        // A call that was made is not rejected: it ran out of time.
        match $rejection.call_not_made() {
            true => debug!(
                target: "seawall",
                {
                    resilience.policy = %$policy,
                    resilience.rejection = kind.label(),
                    resilience.reason = %kind,
                    resilience.retry_after = $rejection.retry_after().map(tracing::field::debug),
                },
                $made
            ),
            false => debug!(
                target: "seawall",
                {
                    resilience.policy = %$policy,
                    resilience.rejection = kind.label(),
                    resilience.reason = %kind,
                },
                $timed_out
            ),
        }
    }};
}

fn rejected(policy: &Name, rejection: &Rejection) {
    rejection!(policy, rejection, "call rejected", "call timed out");
}

fn would_reject(policy: &Name, rejection: &Rejection) {
    rejection!(
        policy,
        rejection,
        "call would be rejected",
        "call would time out"
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
