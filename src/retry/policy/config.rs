//! What a retry is made of.

use std::time::Duration;

use crate::attempt;
use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::event::Listeners;
use crate::policy::{ConfigError, Mode, Name, Problems};
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

/// What a call keeps from its start to its end: one count of references for both.
#[derive(Debug)]
pub(super) struct Config {
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
    /// The budget of a call that starts here.
    pub(super) fn budget(&self) -> Option<Budget> {
        match self {
            Self::Own(own) => Some(attempt::inherited_budget().unwrap_or_else(|| own.clone())),
            Self::Given(budget) => Some(budget.clone()),
            Self::None => None,
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
