//! The short way to a decision, which most admissions take.

use super::config::{Config, STALE};
use super::{Early, Tick};
use crate::rate_limit::quota::UNITS;

/// As much of a configuration as it takes to decide over a charge for now at a rate that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// As in [`Config`].
    pub(super) interval: u64,
    /// The burst in units, less what the stripes may hold; 0 if the limiter is stopped or
    /// unlimited, or its origin so near the end of time that [`charge`](Self::charge) could
    /// take a time before it for one after it.
    pub(super) tolerance: u64,
    /// As in [`Config`].
    pub(super) origin: Tick,
}

impl Pace {
    /// Where the debt ends after a charge of `cost`, which is above 0, or how long until it can
    /// be made. None where that takes more than is here: without a rate, with a cost above the
    /// burst, near the end of an origin and of time.
    #[inline]
    pub(super) fn charge(&self, tat: u64, now: Tick, cost: u32) -> Option<Result<u64, Early>> {
        // Of a clock that stepped back behind the origin too large, and not for here either: `pace`
        // sees to that.
        let passed = now.0.wrapping_sub(self.origin.0);
        let units = u64::from(cost).checked_mul(self.interval)?;
        if units > self.tolerance || passed >= STALE / UNITS {
            return None;
        }
        // No sum below leaves a u64: each term fits 62 bits.
        let from = passed * UNITS;
        let end = tat.max(from) + units;
        if end <= from + self.tolerance {
            return Some(Ok(end));
        }
        let due = (end - self.tolerance).div_ceil(UNITS);
        // Unless the instant is after the end of time.
        self.origin.0.checked_add(due)?;
        Some(Err(Early::by(due - passed)))
    }
}

impl Config {
    pub(super) fn pace(&self) -> Pace {
        let runs = !self.is_unlimited() && !self.is_stopped();
        let has_end = self.origin.0 <= u64::MAX - STALE / UNITS;
        Pace {
            interval: self.interval,
            tolerance: if runs && has_end { self.ready() } else { 0 },
            origin: self.origin,
        }
    }
}
