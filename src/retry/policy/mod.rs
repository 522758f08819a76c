mod builder;
mod config;
mod run;
mod session;
#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use arc_swap::ArcSwap;
#[cfg(feature = "tower")]
use arc_swap::Cache;

use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::config::{ConfigError, Mode, Name};
use crate::event::{Event, Subscription};
use crate::sync::{Arc, Ordering};

pub use builder::Builder;
pub(super) use config::Config;
use config::{Core, Settings, Spending};
pub(super) use session::Session;

/// Makes a call again that failed, within a budget.
///
/// A handle: clones are the same retry. See the [module](crate::retry) for what it does and for
/// its defaults.
#[derive(Clone)]
pub struct Retry(Arc<Shared>);

struct Shared {
    core: Arc<Core>,
    /// Read by every call, replaced by changes.
    config: ArcSwap<Config>,
}

impl Retry {
    /// A retry that waits by `backoff`, named after the place of this call, with a
    /// [budget](Self::budget) of its own. Three attempts, the first counted.
    ///
    /// A backoff that [`Builder::build`] would not take works as far as it can: nothing waits
    /// for longer than its cap.
    #[track_caller]
    pub fn new(backoff: Backoff) -> Self {
        Self::builder().backoff(backoff).assemble()
    }

    /// Starts a retry with numbers of your own.
    #[track_caller]
    pub fn builder() -> Builder {
        let place = Location::caller();
        Builder::new(&Name::at("retry", place), Budget::percent(10))
    }

    /// How many attempts a call makes, the first counted; 0 is 1, which retries nothing.
    ///
    /// As the other settings here it changes this retry, and with it every clone: it is meant
    /// for one that was just made.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.set(|settings| settings.max_attempts = attempts.max(1));
        self
    }

    /// For how long after its start a call may still begin an attempt; without a limit if not
    /// set. What is under way then goes on.
    #[must_use]
    pub fn max_elapsed(self, limit: Duration) -> Self {
        self.set(|settings| settings.max_elapsed = Some(limit));
        self
    }

    /// Draws on `budget`, which others may share, in place of its own. As the other settings here
    /// it changes the retry itself, which all clones are.
    #[must_use]
    pub fn budget(self, budget: impl Into<Budget>) -> Self {
        let budget = Spending::Given(budget.into());
        self.set(|settings| settings.spending = budget.clone());
        self
    }

    /// Retries without a budget: in an outage that is as many times the load as there are
    /// attempts.
    #[must_use]
    pub fn no_budget(self) -> Self {
        self.set(|settings| settings.spending = Spending::None);
        self
    }

    /// The name, as in its events.
    pub fn name(&self) -> &Name {
        &self.0.core.name
    }

    /// Whether it is enforced.
    pub fn mode(&self) -> Mode {
        self.0.config.load().settings.mode
    }

    /// Enforces, only records, or switches off, for calls that start from now on. One that only
    /// records makes one attempt and tells of the next as one that it would have made.
    pub fn set_mode(&self, mode: Mode) {
        self.set(|settings| settings.mode = mode);
    }

    /// Changes the settings for calls that start from now on. `change` gets a builder as the
    /// retry is configured now; name, seed and listeners stay. Of two changes at once each
    /// changes what it sets to something new; of one setting the later stands.
    ///
    /// # Errors
    /// Everything that is wrong with the new settings; nothing changes then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::{Backoff, Retry};
    ///
    /// let retry = Retry::new(Backoff::exponential(Duration::from_millis(50)));
    /// retry.change(|now| now.max_attempts(2).max_elapsed(Duration::from_secs(5)))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl FnOnce(Builder) -> Builder) -> Result<(), ConfigError> {
        let before = self.0.config.load().settings.clone();
        let now = Builder::from_settings(self.name(), before.clone());
        let after = change(now).into_settings()?;
        self.set(|settings| settings.apply(&before, &after));
        Ok(())
    }

    /// Calls `listener` for every event of this retry until the subscription is dropped.
    pub fn on_event(&self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Subscription {
        self.0.core.listeners.add(listener)
    }

    /// What it is set to and what it has done. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let config = self.0.config.load();
        let count = |count: &crate::sync::AtomicU64| count.load(Ordering::Relaxed);
        let core = &self.0.core;
        Snapshot {
            mode: config.settings.mode,
            backoff: config.settings.backoff,
            max_attempts: config.settings.max_attempts,
            retried: count(&core.retried),
            would_retry: count(&core.would_retry),
            suppressed: count(&core.suppressed),
        }
    }

    /// A view of the settings that costs a load where they have not changed.
    #[cfg(feature = "tower")]
    pub(super) fn live(&self) -> Live {
        Cache::new(Slot(self.clone()))
    }

    fn set(&self, change: impl Fn(&mut Settings)) {
        self.0.config.rcu(|config| {
            let mut settings = config.settings.clone();
            change(&mut settings);
            Config {
                settings,
                core: Arc::clone(&self.0.core),
            }
        });
    }
}

/// The place that holds the settings.
#[cfg(feature = "tower")]
#[derive(Clone)]
pub(super) struct Slot(Retry);

#[cfg(feature = "tower")]
pub(super) type Live = Cache<Slot, Arc<Config>>;

#[cfg(feature = "tower")]
impl std::ops::Deref for Slot {
    type Target = ArcSwap<Config>;

    #[inline]
    fn deref(&self) -> &ArcSwap<Config> {
        &self.0.0.config
    }
}

impl From<&Retry> for Retry {
    fn from(retry: &Retry) -> Self {
        retry.clone()
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0.config.load();
        f.debug_struct("Retry")
            .field("name", &self.0.core.name)
            .field("backoff", &config.settings.backoff)
            .field("max_attempts", &config.settings.max_attempts)
            .field("mode", &config.settings.mode)
            .finish_non_exhaustive()
    }
}

/// What a [`Retry`] is set to and what it has done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whether it is enforced.
    pub mode: Mode,
    /// How long it waits before an attempt.
    pub backoff: Backoff,
    /// How many attempts a call makes, the first counted.
    pub max_attempts: u32,
    /// Attempts made beyond the first ones.
    pub retried: u64,
    /// Attempts that would have been made, in [`Mode::RecordOnly`].
    pub would_retry: u64,
    /// Attempts that were not made because the budget was spent.
    pub suppressed: u64,
}
