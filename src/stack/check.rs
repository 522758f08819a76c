//! What both stacks check alike.

use std::time::Duration;

use crate::bulkhead;
use crate::config::{ConfigError, Problems};

pub(super) fn timeout(field: &str, limit: Duration, problems: &mut Problems) {
    problems.check(!limit.is_zero(), field, limit, "more than zero");
}

/// Takes over what is wrong with a policy of the stack, which is made for nothing but that.
pub(super) fn part<P>(part: &str, made: Result<P, ConfigError>, problems: &mut Problems) {
    if let Err(error) = made {
        problems.add_of(part, &error);
    }
}

/// Nobody waits for a place until after the deadline.
pub(super) fn queueing(
    bulkhead: &bulkhead::Builder,
    deadline: &str,
    limit: Duration,
    problems: &mut Problems,
) {
    if let Some(wait) = bulkhead.longest_queueing() {
        let allowed = format_args!("at most the {deadline} of {limit:?}");
        problems.check(wait <= limit, "bulkhead.max_wait", wait, allowed);
    }
}
