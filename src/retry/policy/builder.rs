use std::time::Duration;

use arc_swap::ArcSwap;

use super::config::{Config, Core, Settings, Spending};
use super::{Retry, Shared};
use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::config::{ConfigError, Mode, Name};
use crate::event::{Event, Listeners};
use crate::rng::Jitter;
use crate::sync::{Arc, AtomicU64};

/// Builds a [`Retry`], or changes one that runs.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: Name,
    settings: Settings,
    seed: Option<u64>,
    listeners: Listeners,
}

impl Builder {
    pub(super) fn new(name: &Name, own: Budget) -> Self {
        Self::from_settings(name, Settings::new(own))
    }

    pub(super) fn from_settings(name: &Name, settings: Settings) -> Self {
        Self {
            name: name.clone(),
            settings,
            seed: None,
            listeners: Listeners::default(),
        }
    }

    /// The name; by default `retry@` and the place of the builder.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// How long it waits before an attempt; 50 ms doubling to 2 s with full jitter if not set.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// How many attempts a call makes, the first counted; 3 if not set.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// For how long after its start a call may still begin an attempt; without a limit if not
    /// set, since a timeout above it bounds the attempts too.
    pub fn max_elapsed(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.max_elapsed = limit.into();
        self
    }

    /// The least base of the backoff after a call that was throttled; 1 s if not set. The
    /// backoff's cap holds for it too. Zero makes no difference between failures.
    pub fn throttled_base(mut self, base: Duration) -> Self {
        self.settings.throttled_base = base;
        self
    }

    /// Up to which delay that a failure asks for (`Retry-After`) it is waited for; 30 s if not
    /// set. Of a longer one the failure is returned at once, and of [`Duration::MAX`] whatever the
    /// cap.
    pub fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.settings.retry_after_cap = cap;
        self
    }

    /// Draws on `budget`, which others may share. If not set it has its own, with the
    /// [defaults](crate::budget#defaults), and inside an attempt of a retry or a hedge further
    /// up it draws on theirs. Inside such an attempt a budget of its own earns nothing, so that
    /// layers do not multiply: it has its burst and its floor.
    pub fn budget(mut self, budget: impl Into<Budget>) -> Self {
        self.settings.spending = Spending::Given(budget.into());
        self
    }

    /// Retries without a budget: in an outage that is as many times the load as there are
    /// attempts.
    pub fn no_budget(mut self) -> Self {
        self.settings.spending = Spending::None;
        self
    }

    /// Whether it also retries inside an attempt above the first of a retry further up; not if
    /// not set, since attempts multiply: three of three are nine.
    pub fn nested(mut self, nested: bool) -> Self {
        self.settings.nested = nested;
        self
    }

    /// The mode to start in; enforced if not set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// Makes jitter the same in every run.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Calls `listener` for every event, for as long as the retry lives.
    pub fn on_event(self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener).forever();
        self
    }

    /// The retry.
    ///
    /// # Errors
    /// Everything that is wrong with the settings.
    pub fn build(self) -> Result<Retry, ConfigError> {
        self.settings.check(&self.name)?;
        Ok(self.assemble())
    }

    /// The mode to start in.
    #[cfg(feature = "tower")]
    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.settings.mode
    }

    /// Draws on `budget` if nothing was said of one.
    #[cfg(feature = "tower")]
    pub(crate) fn budget_or(self, budget: &Budget) -> Self {
        match self.settings.spending {
            Spending::Own(_) => self.budget(budget),
            Spending::Given(_) | Spending::None => self,
        }
    }

    /// How many attempts a call makes.
    #[cfg(feature = "tower")]
    pub(crate) fn attempts(&self) -> u32 {
        self.settings.max_attempts
    }

    /// How long all backoffs of one call take together, at most; of more than a thousand, what
    /// is known of them.
    #[cfg(feature = "tower")]
    pub(crate) fn longest_backoffs(&self) -> Duration {
        let Settings { backoff, .. } = self.settings;
        let failures = self.settings.max_attempts.saturating_sub(1);
        let summed = failures.min(1_000);
        let longest = (1..=summed).map(|failures| backoff.delay(failures, 1.0));
        let sum = longest.fold(Duration::ZERO, Duration::saturating_add);
        // They do not get shorter.
        let rest = backoff.delay(summed, 1.0).saturating_mul(failures - summed);
        sum.saturating_add(rest)
    }

    pub(super) fn assemble(self) -> Retry {
        let core = Arc::new(Core {
            name: self.name,
            jitter: self.seed.map_or_else(Jitter::from_entropy, Jitter::seeded),
            listeners: self.listeners,
            retried: AtomicU64::new(0),
            would_retry: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        });
        let config = ArcSwap::from_pointee(Config {
            settings: self.settings,
            core: Arc::clone(&core),
        });
        Retry(Arc::new(Shared { core, config }))
    }

    pub(super) fn into_settings(self) -> Result<Settings, ConfigError> {
        self.settings.check(&self.name)?;
        Ok(self.settings)
    }
}
