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
    /// Where the debt ends after a charge of `cost`, which is above 0, or what it lacks. None
    /// where that takes more than is here: without a rate, with a cost above the burst, near the
    /// end of an origin.
    #[inline]
    pub(super) fn charge(&self, tat: u64, now: Tick, cost: u32) -> Option<Result<u64, Lack>> {
        // Of a clock that stepped back behind the origin too large, and not for here either: `pace`
        // sees to that.
        let passed = now.0.wrapping_sub(self.origin.0);
        let units = u64::from(cost).checked_mul(self.interval)?;
        if units > self.tolerance || passed >= STALE / UNITS {
            return None;
        }
        // No sum below leaves a u64: each term fits 62 bits.
        let from = passed * UNITS;
        // Without the time, which comes last: all else is there before it.
        let due = (tat + units).saturating_sub(self.tolerance);
        if due <= from {
            return Some(Ok(tat.max(from) + units));
        }
        Some(Err(Lack {
            due,
            passed,
            origin: self.origin,
        }))
    }
}

/// Why a charge cannot be made now. How long it is until then is worked out for who wants to
/// know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lack {
    /// In units since the origin.
    due: u64,
    /// In nanoseconds since the origin.
    passed: u64,
    origin: Tick,
}

impl Lack {
    /// How long until the charge can be made; none if that is after the end of time.
    #[inline]
    pub(super) fn early(self) -> Option<Early> {
        let due = self.due.div_ceil(UNITS);
        self.origin.0.checked_add(due)?;
        Some(Early::by(due - self.passed))
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
