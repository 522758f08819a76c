//! The decisions of bucket and table as tests, models and the fuzzer ask for them.

use super::state::{Bucket, Charge, Shortfall, When};
use super::table::{KeyHandle, Table};
#[cfg(not(seawall_loom))]
use crate::rate_limit::Quota;
use crate::time::Tick;

#[cfg(not(seawall_loom))]
impl Shortfall {
    /// The burst, if the cost is above it.
    pub(crate) fn above_burst(self) -> Option<u32> {
        match self {
            Self::AboveBurst(burst) => u32::try_from(burst).ok(),
            Self::For(_) | Self::Unknown => None,
        }
    }
}

impl Bucket {
    /// Takes `cost` tokens if they are available. A cost of 0 is free, also in a paused or stopped
    /// bucket.
    pub(crate) fn admit(&self, now: Tick, cost: u32) -> Result<(), Shortfall> {
        self.admit_now(|| now, cost)
    }

    /// The instant at which a charge of `cost`, for use not before `not_before`, would be granted.
    /// Takes nothing.
    pub(crate) fn probe(&self, now: Tick, not_before: Tick, cost: u32) -> Result<Tick, Shortfall> {
        self.probe_behind(now, not_before, cost, 0)
    }

    /// What [`admit`](Self::admit) would return. Takes nothing.
    pub(crate) fn peek(&self, now: Tick, cost: u32) -> Result<(), Shortfall> {
        match self.probe(now, now, cost)? {
            at if at > now => Err(Shortfall::until(at, now)),
            _ => Ok(()),
        }
    }

    /// The quota as configured.
    #[cfg(all(any(test, fuzzing), not(seawall_loom)))]
    pub(crate) fn quota(&self) -> Quota {
        self.control.lock().quota
    }
}

impl Table {
    pub(crate) fn take(
        &self,
        now: Tick,
        not_before: Tick,
        key: KeyHandle,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Shortfall> {
        self.take_when(now, key, When::Within { not_before, latest }, cost)
    }

    /// Takes `cost` tokens of a key if they are available now.
    pub(crate) fn admit(&self, now: Tick, key: KeyHandle, cost: u32) -> Result<(), Shortfall> {
        self.admit_now(|| now, key, cost).map(drop)
    }

    /// When a charge of `cost` to a key, for use not before `not_before`, would be granted.
    /// Changes nothing.
    pub(crate) fn probe(
        &self,
        now: Tick,
        not_before: Tick,
        key: KeyHandle,
        cost: u32,
    ) -> Result<Tick, Shortfall> {
        self.probe_behind(now, not_before, key, cost, 0)
    }
}
