use std::panic::Location;
use std::time::Duration;

use super::builder::Builder;
use super::state::Settings;
use crate::bulkhead::Bulkhead;
use crate::common::{Common, Options, common_methods, listed, unlisted};
use crate::config::{ConfigError, Live, Mode, PolicyKind};
use crate::counters::Totals;
use crate::macros::{debug_fields, from_ref};
use crate::policy_id;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::timeout::Timeout;

/// Answers calls that failed or were rejected.
///
/// A handle: clones are the same fallback. What it answers with is an [action](super::Action) of
/// the layer, the pipeline or the `run`. The [module](crate::fallback) has its behaviour and its
/// defaults.
#[derive(Clone)]
pub struct Fallback(pub(super) Arc<Shared>);

pub(super) struct Shared {
    common: Common,
    pub(super) settings: Live<Settings>,
    /// Hold the limit and the time of the settings.
    pub(super) bulkhead: Bulkhead,
    pub(super) timeout: Timeout,
    /// A count: relaxed.
    pub(super) failed: AtomicU64,
}

impl Default for Fallback {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Fallback {
    /// A fallback with the [defaults](crate::fallback#defaults), named after its call site.
    #[track_caller]
    pub fn new() -> Self {
        let built = Self::builder().build();
        built.expect("the defaults are valid")
    }

    /// Starts a fallback with the [defaults](crate::fallback#defaults).
    #[track_caller]
    pub fn builder() -> Builder {
        Builder::new(Options::at(PolicyKind::Fallback, Location::caller()))
    }

    common_methods!(with mode);

    pub(super) fn common(&self) -> &Common {
        &self.0.common
    }

    /// Changes the fallback. `change` gets a builder with the current configuration, and runs
    /// again if another change came first. Name and listeners stay. Calls of the fallback that are
    /// under way go on with the time that they had.
    ///
    /// # Errors
    /// With every problem of the new configuration. Nothing has changed then.
    pub fn change(&self, change: impl Fn(Builder) -> Builder) -> Result<(), ConfigError> {
        let mut settings = self.common().change(&self.0.settings, |options, now| {
            let settings = now.clone();
            let Builder { options, settings } = change(Builder { options, settings });
            settings.check(self.name())?;
            Ok((options.mode, settings))
        })?;
        // If two changes come at once, the older one may be applied last.
        loop {
            self.0.bulkhead.set_limit(settings.limit)?;
            self.0.timeout.set_limit(settings.timeout)?;
            let now = self.0.settings.full();
            if (now.limit, now.timeout) == (settings.limit, settings.timeout) {
                break;
            }
            settings = now;
        }
        Ok(())
    }

    /// The configuration and the counts. The parts are read one after the other.
    pub fn snapshot(&self) -> Snapshot {
        let (calls, totals) = (self.0.bulkhead.snapshot(), self.common().totals());
        Snapshot {
            mode: self.mode(),
            limit: calls.limit,
            timeout: self.0.timeout.limit(),
            in_flight: calls.in_flight,
            answered: totals.won(),
            failed: self.0.failed.load(Ordering::Relaxed),
            suppressed: totals.suppressed(),
            would_answer: totals.would_make(),
            totals,
        }
    }
}

impl Builder {
    /// Builds the fallback.
    ///
    /// # Errors
    /// With every problem of the configuration.
    pub fn build(self) -> Result<Fallback, ConfigError> {
        let Self { options, settings } = self;
        settings.check(&options.name)?;
        let name = &options.name;
        let bulkhead = Bulkhead::builder(settings.limit).name(format!("bulkhead of {name}"));
        let timeout = Timeout::builder(settings.timeout).name(format!("timeout of {name}"));
        let (bulkhead, timeout) = unlisted(|| Ok((bulkhead.build()?, timeout.build()?)))?;
        Ok(Fallback(policy_id::list(|registration| Shared {
            bulkhead,
            timeout,
            common: Common::new(options, registration),
            settings: Live::new(settings),
            failed: AtomicU64::new(0),
        })))
    }
}

listed!(Fallback, Shared);

from_ref!(Fallback);

debug_fields!(Fallback, this: name = this.name(), settings = this.0.settings.load(), mode = this.mode());

/// What a [`Fallback`] is configured with and what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The mode.
    pub mode: Mode,
    /// How many calls of the fallback may run at once.
    pub limit: u32,
    /// How long one call of the fallback may take.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::config::serialize::seconds")
    )]
    pub timeout: Duration,
    /// The calls of the fallback that are in flight.
    pub in_flight: u32,
    /// Calls that the fallback has answered.
    pub answered: u64,
    /// Calls of the fallback that failed or took too long.
    pub failed: u64,
    /// Calls that the fallback would have answered, but was not called for: all its permits were
    /// in use, the deadline had passed, or the request could not be sent to it.
    pub suppressed: u64,
    /// Calls that the fallback would have answered, in [`Mode::RecordOnly`].
    pub would_answer: u64,
    /// What it has counted. If it belongs to a [keyed](crate::keyed) policy, these are the counts
    /// of all keys together.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub totals: Totals,
}
