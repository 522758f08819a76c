//! A charge before it is made.

use super::shortfall::Shortfall;
use crate::time::Tick;

/// The latest time that the word holds: 4.5 years after the configuration's origin.
pub(crate) const LAST: u64 = (1 << 62) - 1;

/// The charge that a decision grants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// The instant granted.
    pub(crate) at: Tick,
    /// The units charged.
    pub(crate) units: u64,
    /// The end of the debt with it.
    pub(crate) end: u64,
}

impl Grant {
    /// The grant, unless it is later than `latest` or than the word can hold.
    pub(crate) fn by(self, now: Tick, latest: Tick) -> Result<Self, Shortfall> {
        let fits = self.at <= latest && self.end <= LAST;
        fits.then_some(self)
            .ok_or_else(|| Shortfall::until(self.at, now))
    }
}
