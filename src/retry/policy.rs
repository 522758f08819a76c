use std::panic::Location;

use super::builder::Builder;
use super::state::Settings;
use crate::attempts::{Ledger, Plan};
use crate::backoff::Backoff;
use crate::common::{Common, Options, common_methods, listed};
use crate::config::{ConfigError, Live, Mode, PolicyKind};
use crate::counters::Totals;
use crate::macros::{debug_fields, from_ref};
use crate::policy_id;
use crate::rng::Jitter;
use crate::sync::{Arc, Ordering};

/// Repeats a failed call, within a budget.
///
/// A handle: clones are the same retry. The [module](crate::retry) has its behaviour and its
/// defaults.
#[derive(Clone)]
pub struct Retry(Arc<Shared>);

struct Shared {
    ledger: Arc<Ledger>,
    config: Live<Config>,
}

/// What a call keeps from its start to its end.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) settings: Settings,
    pub(super) plan: Plan,
    pub(super) jitter: Arc<Jitter>,
}

impl Retry {
    /// A retry that waits by `backoff`, named after its call site. It makes three attempts, including
    /// the first, and has a budget of its own.
    ///
    /// A backoff that [`Builder::build`] would reject is used as far as possible: no delay is
    /// longer than its cap.
    #[track_caller]
    pub fn new(backoff: Backoff) -> Self {
        Self::builder().backoff(backoff).assemble()
    }

    /// Starts a retry with the [defaults](crate::retry#defaults).
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(Options::at(PolicyKind::Retry, Location::caller()))
    }

    common_methods!(with mode);

    fn common(&self) -> &Common {
        &self.0.ledger.common
    }

    /// Changes the number of attempts, including the first, of calls that start from now on.
    ///
    /// # Errors
    /// If `attempts` is zero; nothing changes then.
    pub fn set_max_attempts(&self, attempts: u32) -> Result<(), ConfigError> {
        self.change(|now| now.max_attempts(attempts))
    }

    /// Changes the retry for calls that start from now on. `change` gets a builder with the
    /// current configuration, and runs again if another change came first. Name, seed and
    /// listeners stay.
    ///
    /// # Errors
    /// All problems of the new configuration; nothing changes then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::{Backoff, Retry};
    ///
    /// let retry = Retry::new(Backoff::exponential(Duration::from_millis(50)));
    /// retry.change(|now| now.max_attempts(2).max_elapsed(Duration::from_secs(5)))?;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        let changed = self.common().change(&self.0.config, |options, now| {
            let (settings, funding) = (now.settings.clone(), now.plan.funding.clone());
            let builder = Builder::from_parts(options, settings, funding);
            let (options, settings, funding) = change(builder).checked()?;
            let config = Config {
                settings,
                plan: Plan {
                    ledger: Arc::clone(&now.plan.ledger),
                    funding,
                },
                jitter: Arc::clone(&now.jitter),
            };
            Ok((options.mode, config))
        });
        changed.map(drop)
    }

    /// The configuration and the counts. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let (config, counts) = (self.0.config.load(), &self.0.ledger.counts);
        Snapshot {
            mode: self.mode(),
            backoff: config.settings.backoff,
            max_attempts: config.settings.max_attempts,
            retried: counts.made.load(Ordering::Relaxed),
            would_retry: counts.would_make.load(Ordering::Relaxed),
            suppressed: counts.suppressed.load(Ordering::Relaxed),
            totals: self.common().totals(),
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.0.config.full()
    }
}

impl Builder {
    /// Builds the retry.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn build(self) -> Result<Retry, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    fn assemble(self) -> Retry {
        let funding = self
            .funding
            .or_own(&self.options.name, crate::budget::RATIO);
        let jitter = self
            .options
            .seed
            .map_or_else(Jitter::from_entropy, Jitter::seeded);
        Retry(policy_id::list(|registration| {
            let ledger = Arc::new(Ledger::new(self.options, registration));
            Shared {
                ledger: Arc::clone(&ledger),
                config: Live::new(Config {
                    settings: self.settings,
                    plan: Plan { ledger, funding },
                    jitter: Arc::new(jitter),
                }),
            }
        }))
    }
}

listed!(Retry, Shared);

impl AsRef<Live<Config>> for Retry {
    #[inline]
    fn as_ref(&self) -> &Live<Config> {
        &self.0.config
    }
}

from_ref!(Retry);

debug_fields!(Retry, this: name = this.name(), backoff = this.0.config.load().settings.backoff,
    max_attempts = this.0.config.load().settings.max_attempts, mode = this.mode());

/// The configuration and the counts of a [`Retry`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The mode.
    pub mode: Mode,
    /// How long it waits before an attempt.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::text")
    )]
    pub backoff: Backoff,
    /// How many attempts a call makes, including the first.
    pub max_attempts: u32,
    /// Attempts made beyond the first ones.
    pub retried: u64,
    /// Attempts that would have been made, in [`Mode::RecordOnly`].
    pub would_retry: u64,
    /// Attempts that were not made because the budget was spent.
    pub suppressed: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}
