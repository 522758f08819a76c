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

/// What the calls of one retry or hedge share: its name, mode and listeners, and its counts. A
/// count publishes nothing but itself: relaxed.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) common: Common,
    pub(super) made: AtomicU64,
    won: AtomicU64,
    pub(super) suppressed: AtomicU64,
    pub(super) would_make: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(options: Options, registration: Registration) -> Self {
        Self {
            common: Common::new(options, registration),
            made: AtomicU64::new(0),
            won: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
            would_make: AtomicU64::new(0),
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
        self.won.fetch_add(1, Ordering::Relaxed);
        self.common.cells().count(Count::WON);
    }

    /// Extra attempts made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Extra attempts whose success was returned.
    pub(crate) fn won(&self) -> u64 {
        self.won.load(Ordering::Relaxed)
    }

    /// Extra attempts that were not made because the budget was spent.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Extra attempts that record-only mode did not make.
    pub(crate) fn would_make(&self) -> u64 {
        self.would_make.load(Ordering::Relaxed)
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
