use std::time::Duration;

use super::state::{Settings, When};
use crate::attempts::Funding;
use crate::budget::Budget;
use crate::common::{Options, option_setters};
use crate::config::ConfigError;
#[cfg(feature = "tower")]
use crate::config::Mode;
use crate::macros::setters;

/// The ratio of its own budget: a service that is slow for all calls gets at most a tenth more.
pub(super) const RATIO: f64 = 0.1;

/// Builds a [`Hedge`](super::Hedge), or changes one.
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
        /// Starts an extra attempt when a call has taken longer than this share of the calls of the
        /// [window](Self::window), above 0 and below 1. The default is 0.95.
        quantile(quantile: f64) => settings.when = When::Quantile(quantile);

        /// Starts an extra attempt after `delay`, instead of a quantile. Zero makes all attempts at
        /// once, as far as the budget goes.
        delay(delay: Duration) => settings.when = When::Fixed(delay);

        /// The shortest delay by a quantile, however fast the calls are. The default is 1 ms, the
        /// resolution of the timers; the most is 10 s.
        min_delay(min_delay: Duration) => settings.min_delay = min_delay;

        /// How many calls the window must have before their quantile is used. The default is 100, of
        /// which 5 are above the default quantile.
        min_samples(min_samples: u32) => settings.min_samples = min_samples;

        /// How long a latency counts, from 10 ms to a day. The default is 30 s. It moves in steps of a
        /// sixth of its length.
        window(window: Duration) => settings.window = window;

        /// How many attempts beyond the first one call may have, from 1 to 16. The default is 1.
        max_extra(max_extra: u32) => settings.max_extra = max_extra;

        /// Takes extra attempts from `budget`, wherever the hedge is used. The default is the budget
        /// of the attempt that the call runs in, so that a hedge inside a retry shares the retry's,
        /// and outside of every attempt a budget of its own. Inside a retry's attempt a given budget
        /// earns nothing, so that layers do not multiply: it has its burst and its floor. Give both
        /// the same budget there, or the hedge none.
        budget(budget: impl Into<Budget>) => funding = Funding::Given(budget.into());
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.settings.check(&self.options.name, None)
    }

    /// The defaults. The options, the budget, and the window, which cannot change, stay.
    #[cfg(feature = "serde")]
    pub(crate) fn with_defaults(self) -> Self {
        let settings = Settings {
            window: self.settings.window,
            ..Settings::default()
        };
        Self { settings, ..self }
    }

    /// Whether all but name, listeners and budget is the same.
    #[cfg(feature = "serde")]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.settings == other.settings && self.options.mode == other.options.mode
    }

    /// The parts of a hedge that was built with the window `built`.
    pub(super) fn checked(
        self,
        built: Duration,
    ) -> Result<(Options, Settings, Funding), ConfigError> {
        self.settings.check(&self.options.name, Some(built))?;
        let funding = self.funding.or_own(&self.options.name, RATIO);
        Ok((self.options, self.settings, funding))
    }
}

/// What a stack reads and changes of its hedge.
#[cfg(feature = "tower")]
impl Builder {
    /// With the name that it has there. Its own budget is not listed, since the stack has one.
    pub(crate) fn in_stack(self, name: impl Into<crate::config::Name>) -> Self {
        let name = name.into();
        let funding = self.funding.or_own_in_stack(&name, RATIO);
        Self { funding, ..self }.name(name)
    }

    pub(crate) fn mode_to_start_in(&self) -> Mode {
        self.options.mode
    }

    /// The fixed delay, if it has one.
    pub(crate) fn fixed_delay(&self) -> Option<Duration> {
        match self.settings.when {
            When::Fixed(delay) => Some(delay),
            When::Quantile(_) => None,
        }
    }

    pub(crate) fn funding(&self) -> &Funding {
        &self.funding
    }

    /// Its numbers as text.
    pub(crate) fn text(&self) -> String {
        let most = self.settings.max_extra;
        match self.settings.when {
            When::Fixed(delay) => format!("up to {most} extra after {delay:?}"),
            When::Quantile(quantile) => format!("up to {most} extra after quantile {quantile}"),
        }
    }

    /// The shortest delay by a quantile.
    pub(crate) fn least_delay(&self) -> Duration {
        self.settings.min_delay
    }

    pub(crate) fn window_length(&self) -> Duration {
        self.settings.window
    }
}
