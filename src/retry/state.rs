use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::{ConfigError, Name, Problems};
use crate::outcome::FailureKind;

/// What decides when the next attempt starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) backoff: Backoff,
    pub(super) max_attempts: u32,
    pub(super) max_elapsed: Option<Duration>,
    /// The least base of the backoff after a throttled call.
    pub(super) throttled_base: Duration,
    pub(super) retry_after_cap: Duration,
    pub(super) nested: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff: Backoff::exponential(Duration::from_millis(50)),
            max_attempts: 3,
            max_elapsed: None,
            throttled_base: Duration::from_secs(1),
            retry_after_cap: Duration::from_secs(30),
            nested: false,
        }
    }
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// The number of the attempt, from 1.
    pub(super) number: u32,
    pub(super) kind: FailureKind,
    /// The failure's `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    /// The delay before the attempt.
    pub(super) previous: Duration,
}

impl Failed {
    /// Whether another attempt would fail too (`Permanent`), or is not needed because another one
    /// has won (`Slow`).
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.kind, FailureKind::Permanent | FailureKind::Slow)
    }
}

impl Settings {
    pub(super) fn check(&self, name: &Name) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        self.backoff.check("backoff", &mut problems);
        let attempts = self.max_attempts;
        problems.check(attempts > 0, "max_attempts", attempts, "at least 1");
        let elapsed = self.max_elapsed.unwrap_or(Duration::MAX);
        problems.check(!elapsed.is_zero(), "max_elapsed", elapsed, "more than zero");
        problems.finish(name)
    }

    /// The delay before the attempt after `failed`. None if its `Retry-After` is above the cap.
    /// `fraction` draws from 0 to 1.
    pub(super) fn delay(&self, failed: Failed, fraction: impl FnOnce() -> f64) -> Option<Duration> {
        let backoff = match failed.kind {
            FailureKind::Throttled => self.backoff.raised_to(self.throttled_base),
            _ => self.backoff,
        };
        if failed.retry_after > Some(self.retry_after_cap) {
            return None;
        }
        let delay = backoff.step(failed.number, failed.previous, fraction());
        Some(match failed.retry_after {
            None => delay,
            // All callers that failed together were given the same delay: spread them.
            Some(floor) if backoff.is_jittered() => floor.saturating_add(delay),
            Some(floor) => delay.max(floor),
        })
    }
}
