//! What a retry is made of.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::context::CallContext;
use crate::event::Listeners;
use crate::registry::PolicyId;
use crate::rng::Jitter;
use crate::sync::{Arc, AtomicU64};

/// What never changes. The counts are nothing but themselves: relaxed.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) name: Name,
    pub(super) jitter: Jitter,
    pub(super) listeners: Listeners,
    pub(super) retried: AtomicU64,
    pub(super) would_retry: AtomicU64,
    pub(super) suppressed: AtomicU64,
}

/// What a call keeps from its start to its end.
#[derive(Debug)]
pub(in crate::retry) struct Config {
    pub(super) settings: Settings,
    pub(super) core: Arc<Core>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) backoff: Backoff,
    pub(super) max_attempts: u32,
    pub(super) max_elapsed: Option<Duration>,
    /// The least base of the backoff after a throttled call.
    pub(super) throttled_base: Duration,
    pub(super) retry_after_cap: Duration,
    pub(super) spending: Spending,
    pub(super) nested: bool,
    pub(super) mode: Mode,
}

/// Where leave for an attempt comes from.
#[derive(Clone, Debug)]
pub(super) enum Spending {
    /// From this one, or below somebody with a budget from his: one budget covers them all.
    Own(Budget),
    Given(Budget),
    None,
}

impl Spending {
    /// The budget that was set here, and where it was not given, the one that a call made here
    /// inherits in its place.
    #[inline]
    pub(super) fn budget(&self) -> (Option<&Budget>, Option<PolicyId>) {
        match self {
            Self::Own(own) => (Some(own), CallContext::budget()),
            Self::Given(budget) => (Some(budget), None),
            Self::None => (None, None),
        }
    }

    #[inline]
    pub(super) fn own(&self) -> Option<&Budget> {
        match self {
            Self::Own(budget) | Self::Given(budget) => Some(budget),
            Self::None => None,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(a), Self::Own(b)) | (Self::Given(a), Self::Given(b)) => {
                a.number() == b.number()
            }
            (Self::None, Self::None) => true,
            _ => false,
        }
    }
}

impl Settings {
    pub(super) fn new(own: Budget) -> Self {
        Self {
            backoff: Backoff::exponential(Duration::from_millis(50)),
            max_attempts: 3,
            max_elapsed: None,
            throttled_base: Duration::from_secs(1),
            retry_after_cap: Duration::from_secs(30),
            spending: Spending::Own(own),
            nested: false,
            mode: Mode::Enforce,
        }
    }

    /// Sets here what was changed from `before` to `after`, and leaves the rest as it is.
    pub(super) fn apply(&mut self, before: &Self, after: &Self) {
        // Named one by one, so that a new setting cannot be forgotten here.
        let Self {
            backoff,
            max_attempts,
            max_elapsed,
            throttled_base,
            retry_after_cap,
            spending,
            nested,
            mode,
        } = self;
        set(backoff, before.backoff, after.backoff);
        set(max_attempts, before.max_attempts, after.max_attempts);
        set(max_elapsed, before.max_elapsed, after.max_elapsed);
        set(throttled_base, before.throttled_base, after.throttled_base);
        set(
            retry_after_cap,
            before.retry_after_cap,
            after.retry_after_cap,
        );
        set(nested, before.nested, after.nested);
        set(mode, before.mode, after.mode);
        if !before.spending.is(&after.spending) {
            spending.clone_from(&after.spending);
        }
    }

    pub(super) fn check(&self, name: &Name) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        self.backoff.check("backoff", &mut problems);
        let attempts = self.max_attempts;
        problems.check(attempts > 0, "max_attempts", attempts, "at least 1");
        let elapsed = self.max_elapsed.unwrap_or(Duration::MAX);
        problems.check(!elapsed.is_zero(), "max_elapsed", elapsed, "more than zero");
        problems.finish(name)
    }
}

fn set<T: Copy + PartialEq>(setting: &mut T, before: T, after: T) {
    if before != after {
        *setting = after;
    }
}
