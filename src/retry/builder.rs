use std::time::Duration;

use super::state::Settings;
use crate::attempts::Funding;
use crate::backoff::Backoff;
use crate::budget::Budget;
use crate::common::{Options, option_setters};
use crate::config::ConfigError;
#[cfg(feature = "tower")]
use crate::config::Mode;
use crate::macros::setters;

/// Builds a [`Retry`](super::Retry), or changes one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(super) options: Options,
    pub(super) settings: Settings,
    pub(super) funding: Funding,
}

impl Builder {
    pub(super) fn new(options: Options) -> Self {
        Self::from_parts(options, Settings::default(), Funding::Default)
    }

    pub(super) fn from_parts(options: Options, settings: Settings, funding: Funding) -> Self {
        Self {
            options,
            settings,
            funding,
        }
    }

    option_setters!();

    setters! {
        /// How long it waits before an attempt. The default is 50 ms, doubling to 2 s, with full
        /// jitter.
        backoff(backoff: Backoff) => settings.backoff = backoff;

        /// How many attempts a call makes, including the first. The default is 3.
        max_attempts(attempts: u32) => settings.max_attempts = attempts;

        /// For how long after its start a call may start another attempt. The default is no limit,
        /// since a timeout above bounds the attempts too. An attempt under way is not cut short.
        max_elapsed(limit: impl Into<Option<Duration>>) => settings.max_elapsed = limit.into();

        /// The smallest base of the backoff after a throttled call. The default is 1 s. The backoff's cap
        /// applies. Zero treats all failures alike.
        throttled_base(base: Duration) => settings.throttled_base = base;

        /// The longest `Retry-After` that it waits for. The default is 30 s. A failure with a longer one
        /// is returned at once, and so is one with [`Duration::MAX`], whatever the cap.
        retry_after_cap(cap: Duration) => settings.retry_after_cap = cap;

        /// Pays for extra attempts from `budget`, which other policies may share. The default is a
        /// budget of its own with the [defaults](crate::budget#defaults). Inside an attempt of
        /// another retry or hedge, the default is the budget of that policy, and a budget that is
        /// set here earns nothing: it has only its burst and its floor, so that the attempts of the
        /// layers do not multiply.
        budget(budget: impl Into<Budget>) => funding = Funding::Given(budget.into());
    }

    /// Retries without a budget. In an outage the load is multiplied by the number of attempts.
    pub fn no_budget(mut self) -> Self {
        self.funding = Funding::None;
        self
    }

    setters! {
        /// Whether it also retries inside a second or later attempt of another retry. The default is no,
        /// since attempts multiply: three of three are nine.
        nested(nested: bool) => settings.nested = nested;

        /// Makes jitter the same in every run.
        jitter_seed(seed: u64) => options.seed = Some(seed);
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.settings.check(&self.options.name)
    }

    /// The defaults. The options and the budget stay.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self) -> Self {
        Self {
            settings: Settings::default(),
            ..self
        }
    }

    /// Whether all but name, listeners and budget is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.settings == other.settings && self.options.mode == other.options.mode
    }

    pub(super) fn checked(self) -> Result<(Options, Settings, Funding), ConfigError> {
        self.check()?;
        let funding = self
            .funding
            .or_own(&self.options.name, crate::budget::RATIO);
        Ok((self.options, self.settings, funding))
    }
}

/// What a stack reads and changes of its retry.
#[cfg(feature = "tower")]
impl Builder {
    /// With the name that it has there. Its own budget is not listed, since the stack has one.
    pub(crate) fn in_stack(self, name: impl Into<crate::config::Name>) -> Self {
        let name = name.into();
        let funding = self.funding.or_own_in_stack(&name, crate::budget::RATIO);
        Self { funding, ..self }.name(name)
    }

    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.options.mode
    }

    pub(crate) fn funding(&self) -> &Funding {
        &self.funding
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.settings.max_attempts
    }

    /// How long all backoffs of one call take together, at most. Beyond a thousand, the longest
    /// of them is taken for each.
    pub(crate) fn longest_backoffs(&self) -> Duration {
        let backoff = self.settings.backoff;
        let failures = self.settings.max_attempts.saturating_sub(1);
        let summed = failures.min(1_000);
        let longest = (1..=summed).map(|failures| backoff.delay(failures, 1.0));
        let sum = longest.fold(Duration::ZERO, Duration::saturating_add);
        let rest = backoff.delay(summed, 1.0).saturating_mul(failures - summed);
        sum.saturating_add(rest)
    }
}
