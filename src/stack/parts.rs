//! What both stacks need to build, check and change their parts.

use std::time::Duration;

use crate::bulkhead::{self, Bulkhead};
use crate::config::{ConfigError, Live, Mode, Name, Problems};
use crate::rate_limit::{Quota, RateLimiter};
#[cfg(feature = "tracing")]
use crate::stack::Verdict;
use crate::stack::description::LayerText;
use crate::sync::Arc;

/// A changed configuration was checked before it is applied.
pub(super) const CHECKED: &str = "the configuration is valid";

/// The name of a part of a stack.
pub(super) fn part(stack: &Name, part: &str) -> String {
    format!("{stack}.{part}")
}

/// The limiter of a stack, which is off without a quota.
pub(super) fn limiter(stack: &Name, quota: Option<Quota>) -> Result<RateLimiter, ConfigError> {
    RateLimiter::builder(quota.unwrap_or(Quota::unlimited()))
        .name(part(stack, "rate_limit"))
        .mode(limit_mode(quota))
        .build()
}

fn limit_mode(quota: Option<Quota>) -> Mode {
    match quota {
        Some(_) => Mode::Enforce,
        None => Mode::Off,
    }
}

/// Applies a changed quota.
pub(super) fn change_limiter(limiter: &RateLimiter, from: Option<Quota>, to: Option<Quota>) {
    if let (true, Some(quota)) = (from != to, to) {
        limiter.set_quota(quota).expect(CHECKED);
    }
    if from.is_some() != to.is_some() {
        limiter.set_mode(limit_mode(to));
    }
}

/// Reports a change of the quota where the stack was given a limiter.
pub(super) fn check_limiter(own: bool, from: Option<Quota>, to: Option<Quota>, p: &mut Problems) {
    p.check(
        own || from == to,
        "rate_limit",
        to,
        "changed on the limiter",
    );
}

/// What a description says of the limiter.
pub(super) fn limiter_text(limiter: &RateLimiter, own: bool) -> LayerText {
    match own {
        true => LayerText::new("rate limit", limiter.mode(), limiter.quota().to_string()),
        false => LayerText::new("rate limit", Mode::Enforce, "the limiter that was given"),
    }
}

pub(super) fn check_timeout(field: &str, limit: Duration, problems: &mut Problems) {
    problems.check(!limit.is_zero(), field, limit, "more than zero");
}

/// Reports the problems of a part.
pub(super) fn check_part(part: &str, checked: Result<(), ConfigError>, problems: &mut Problems) {
    if let Err(error) = checked {
        problems.add_of(part, &error);
    }
}

pub(super) fn check_quota(quota: Option<Quota>, problems: &mut Problems) {
    if let Some(quota) = quota {
        check_part("rate_limit", RateLimiter::builder(quota).check(), problems);
    }
}

/// Reports a queue in which a call would wait until after its deadline.
pub(super) fn check_queue(
    bulkhead: &bulkhead::Builder,
    deadline: &str,
    limit: Duration,
    problems: &mut Problems,
) {
    if let Some(wait) = bulkhead.longest_queueing() {
        let allowed = format!("at most the {deadline} of {limit:?}");
        problems.check(wait <= limit, "bulkhead.max_wait", wait, allowed);
    }
}

/// A changed copy of a part. Whether a part was changed is seen by its address.
pub(super) fn changed<B: Clone>(part: &Arc<B>, change: impl FnOnce(B) -> B) -> Arc<B> {
    Arc::new(change(B::clone(part)))
}

/// `part`, or `now` if both are alike: then a change does not replace it.
#[cfg(feature = "serde")]
pub(super) fn like<B>(part: Arc<B>, now: &Arc<B>, alike: fn(&B, &B) -> bool) -> Arc<B> {
    match alike(&part, now) {
        true => Arc::clone(now),
        false => part,
    }
}

/// Logs a new stack with what it can do to its dependency.
#[cfg(feature = "tracing")]
pub(super) fn trace_built(stack: &Name, verdict: &Verdict) {
    tracing::info!(target: "seawall", { resilience.stack = %stack, resilience.verdict = %verdict }, "stack built");
}

/// The mode of a policy after a change: the policy's own, unless the change is about the mode.
pub(super) fn changed_mode(from: Mode, to: Mode, current: Mode) -> Mode {
    if from == to { current } else { to }
}

/// Applies the configuration `to`. Name, listeners, and a mode that does not differ stay.
pub(super) fn change_bulkhead(
    bulkhead: &Bulkhead,
    from: &bulkhead::Builder,
    to: &bulkhead::Builder,
) {
    let (before, after) = (from.mode_to_start_in(), to.mode_to_start_in());
    let change = |now: bulkhead::Builder| {
        let mode = changed_mode(before, after, now.mode_to_start_in());
        to.clone().mode(mode)
    };
    bulkhead.change(change).expect(CHECKED);
}

/// Applies the difference between `applied` and the newest configuration.
///
/// Two changes may run at once, and the earlier one may reach a policy last. So each checks
/// afterwards whether there is a newer configuration than the one it has applied, and applies that
/// too.
pub(super) fn apply_newest<C>(live: &Live<C>, mut applied: Arc<C>, apply: impl Fn(&C, &C)) {
    loop {
        let newest = live.full();
        if Arc::ptr_eq(&applied, &newest) {
            return;
        }
        apply(&applied, &newest);
        applied = newest;
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::cell::RefCell;

    use super::apply_newest;
    use crate::config::Live;

    #[test]
    fn cx19_an_overtaken_change_applies_the_newest_configuration_last() {
        let live = Live::new(0);
        let (before, _) = live.change(|_| Ok::<_, ()>(1)).unwrap();
        let applied = RefCell::new(Vec::new());
        apply_newest(&live, before, |from, to| {
            if applied.borrow().is_empty() {
                live.change(|now| Ok::<_, ()>(now + 1)).unwrap();
            }
            applied.borrow_mut().push((*from, *to));
        });
        assert_eq!(*applied.borrow(), [(0, 1), (1, 2)]);
    }
}
