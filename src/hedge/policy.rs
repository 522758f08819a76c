use std::panic::Location;
use std::time::Duration;

use super::builder::Builder;
use super::quantile::{Latencies, Wanted};
use super::state::{Settings, When};
use crate::attempts::{Ledger, Plan};
use crate::budget::Budget;
use crate::common::{Common, Options, common_methods, listed};
use crate::config::{ConfigError, Live, Mode, PolicyKind};
use crate::counters::Totals;
use crate::macros::{debug_fields, from_ref};
use crate::policy_id;
use crate::sync::{Arc, Ordering};
use crate::time;

/// Makes an extra attempt for calls that take longer than most.
///
/// A handle: clones are the same hedge. The [module](crate::hedge) has its behaviour and its
/// defaults.
#[derive(Clone)]
pub struct Hedge(pub(super) Arc<Shared>);

pub(super) struct Shared {
    ledger: Arc<Ledger>,
    pub(super) config: Live<Config>,
}

/// What a call keeps from its start to its end.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) settings: Settings,
    pub(super) plan: Plan,
    /// None before a quantile is configured.
    pub(super) latencies: Option<Arc<Latencies>>,
}

impl Config {
    pub(super) fn new(settings: Settings, plan: Plan, latencies: Option<Arc<Latencies>>) -> Self {
        let latencies = latencies.or_else(|| {
            let by_quantile = settings.is_by_quantile();
            by_quantile.then(|| Arc::new(Latencies::new(settings.window)))
        });
        Self {
            settings,
            plan,
            latencies,
        }
    }

    /// After how long without an answer the next attempt starts, as far as the request says
    /// nothing. None while the quantile is unknown.
    #[inline]
    pub(super) fn delay(&self, now: time::Tick) -> Option<Duration> {
        match self.settings.when {
            When::Fixed(delay) => Some(delay),
            When::Quantile(quantile) => {
                let wanted = Wanted {
                    quantile,
                    min_samples: self.settings.min_samples.into(),
                };
                let recent = self.latencies.as_ref()?.recent(now, wanted)?;
                Some(recent.max(self.settings.min_delay))
            }
        }
    }
}

impl Hedge {
    /// A hedge whose extra attempt starts `delay` after the call, named after its call site.
    #[track_caller]
    pub fn fixed(delay: Duration) -> Self {
        let options = Options::at(PolicyKind::Hedge, Location::caller());
        Builder::new(options).delay(delay).assemble()
    }

    /// Starts a hedge with the [defaults](crate::hedge#defaults): its one extra attempt starts
    /// when a call has taken longer than 95 % of those of the last 30 s.
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(Options::at(PolicyKind::Hedge, Location::caller()))
    }

    common_methods!(with mode);

    fn common(&self) -> &Common {
        &self.0.ledger.common
    }

    /// The budget that its extra attempts are taken from, unless they run inside another attempt
    /// and the hedge was given none.
    pub fn budget(&self) -> Budget {
        let config = self.0.config.load();
        let budget = config.plan.funding.budget();
        budget.expect("every hedge has a budget").clone()
    }

    /// After how long the extra attempt of a call starts that is made now. None while nothing is
    /// hedged: too few calls have returned, or the quantile is above the tracked range.
    pub fn delay(&self) -> Option<Duration> {
        self.0.config.load().delay(time::now())
    }

    /// Hedges calls that start from now on after `delay`.
    pub fn set_delay(&self, delay: Duration) {
        let changed = self.change(|now| now.delay(delay));
        debug_assert!(changed.is_ok(), "every delay is allowed");
    }

    /// Hedges calls that start from now on after the latency that this share of calls is below. A
    /// hedge that had a fixed delay has no latencies yet.
    ///
    /// # Errors
    /// If it is not above 0 and below 1. Nothing has changed then.
    pub fn set_quantile(&self, quantile: f64) -> Result<(), ConfigError> {
        self.change(|now| now.quantile(quantile))
    }

    /// Changes the hedge for calls that start from now on. `change` gets a builder with the
    /// current configuration, and runs again if another change came first. Name, listeners and
    /// latencies stay.
    ///
    /// # Errors
    /// With every problem of the new configuration; the [window](Builder::window) cannot be
    /// changed. Nothing has changed then.
    ///
    /// ```
    /// let hedge = seawall::Hedge::builder().build()?;
    /// hedge.change(|now| now.quantile(0.99).max_extra(2))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        let config = self.common().change(&self.0.config, |options, now| {
            let (settings, funding) = (now.settings.clone(), now.plan.funding.clone());
            let builder = Builder::from_parts(options, settings, funding);
            let (options, settings, funding) = change(builder).checked(now.settings.window)?;
            let ledger = Arc::clone(&now.plan.ledger);
            let plan = Plan { ledger, funding };
            let latencies = now.latencies.clone();
            Ok((options.mode, Config::new(settings, plan, latencies)))
        })?;
        if let Some(latencies) = &config.latencies {
            latencies.forget_found();
        }
        Ok(())
    }

    /// The error that [`change`](Self::change) would return now. Changes nothing.
    #[cfg(feature = "serde")]
    pub(crate) fn check_change(
        &self,
        change: impl Fn(Builder) -> Builder,
    ) -> Result<(), ConfigError> {
        let now = self.0.config.load();
        let options = self.common().changed(self.mode());
        let funding = now.plan.funding.clone();
        let builder = Builder::from_parts(options, now.settings.clone(), funding);
        change(builder).checked(now.settings.window).map(drop)
    }

    /// The configuration and the counts. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let (config, counts) = (self.0.config.load(), &self.0.ledger.counts);
        let now = time::now();
        let latencies = config.latencies.as_ref();
        let (samples, cut_short) = latencies.map_or((0, 0), |latencies| latencies.samples(now));
        Snapshot {
            mode: self.mode(),
            quantile: match config.settings.when {
                When::Fixed(_) => None,
                When::Quantile(quantile) => Some(quantile),
            },
            delay: config.delay(now),
            max_extra: config.settings.max_extra,
            samples,
            cut_short,
            made: counts.made.load(Ordering::Relaxed),
            won: counts.won.load(Ordering::Relaxed),
            suppressed: counts.suppressed.load(Ordering::Relaxed),
            would_hedge: counts.would_make.load(Ordering::Relaxed),
            totals: self.common().totals(),
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.0.config.full()
    }
}

impl Builder {
    /// Builds the hedge.
    ///
    /// # Errors
    /// With every problem of the configuration.
    pub fn build(self) -> Result<Hedge, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    fn assemble(self) -> Hedge {
        let funding = self
            .funding
            .or_own(&self.options.name, super::builder::RATIO);
        Hedge(policy_id::list(|registration| {
            let ledger = Arc::new(Ledger::new(self.options, registration));
            let plan = Plan {
                ledger: Arc::clone(&ledger),
                funding,
            };
            let config = Live::new(Config::new(self.settings, plan, None));
            Shared { ledger, config }
        }))
    }
}

listed!(Hedge, Shared);

impl AsRef<Live<Config>> for Hedge {
    #[inline]
    fn as_ref(&self) -> &Live<Config> {
        &self.0.config
    }
}

from_ref!(Hedge);

debug_fields!(Hedge, this: name = this.name(), when = this.0.config.load().settings.when,
    max_extra = this.0.config.load().settings.max_extra, mode = this.mode());

/// What a [`Hedge`] is configured with and what it has done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The mode.
    pub mode: Mode,
    /// The share of calls after which it hedges. None with a fixed delay.
    pub quantile: Option<f64>,
    /// The delay of [`Hedge::delay`].
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds_if_any")
    )]
    pub delay: Option<Duration>,
    /// Extra attempts of one call at most.
    pub max_extra: u32,
    /// Latencies in the window of attempts that ended.
    pub samples: u64,
    /// Latencies in the window that were cut short, and are known to be longer.
    pub cut_short: u64,
    /// Extra attempts made so far.
    pub made: u64,
    /// Extra attempts whose success was returned.
    pub won: u64,
    /// Extra attempts that were not made because the budget was spent.
    pub suppressed: u64,
    /// Extra attempts that would have been made, in [`Mode::RecordOnly`].
    pub would_hedge: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}
