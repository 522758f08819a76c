//! The ledger of extra attempts: what the calls of one policy count together.

use std::fmt;
use std::time::Duration;

use super::funding::Funding;
use crate::common::{Common, Options};
use crate::counters::Count;
use crate::event::{EventKind, Suppression};
use crate::policy_id::Registration;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{self, Tick};

/// What the calls of one retry or hedge share: its name, mode and listeners, and its counts.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) common: Common,
    pub(crate) counts: Counts,
}

/// What a snapshot shows of one policy, also where its totals are those of all keys. A count
/// publishes nothing but itself: relaxed.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Extra attempts made.
    pub(crate) made: AtomicU64,
    /// Extra attempts whose success was returned.
    pub(crate) won: AtomicU64,
    /// Extra attempts that were not made because the budget was spent.
    pub(crate) suppressed: AtomicU64,
    /// Extra attempts that record-only mode did not make.
    pub(crate) would_make: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(options: Options, registration: Registration) -> Self {
        Self {
            common: Common::new(options, registration),
            counts: Counts::default(),
        }
    }

    /// In debug builds, warns if the running call is under this policy already.
    #[inline(always)]
    pub(crate) fn warn_if_applied_twice(&self, site: &dyn fmt::Debug) {
        let mode = || self.common.mode();
        self.common.warn_if_applied_twice(mode, site);
    }

    /// The attempt with this number was due and is not made.
    #[cold]
    pub(crate) fn suppress(&self, attempt: u32, reason: Suppression) {
        self.common.cells().count(Count::suppressed(reason));
        self.common.emit(EventKind::Suppressed { attempt, reason });
    }

    pub(super) fn count_win(&self) {
        self.counts.won.fetch_add(1, Ordering::Relaxed);
        self.common.cells().count(Count::WON);
    }
}

/// The part of a retry's or hedge's configuration that the ledger needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) funding: Funding,
}

/// Only events need it.
#[cold]
pub(super) fn since(start: Tick) -> Duration {
    match start {
        Tick::ZERO => Duration::ZERO,
        start => time::now().since(start),
    }
}
