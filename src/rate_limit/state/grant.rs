//! For which instants tokens are taken, and a charge before it is made.

use super::shortfall::Shortfall;
use crate::time::Tick;

/// The latest time that the word holds: 4.5 years after the configuration's origin.
pub(crate) const LAST: u64 = (1 << 62) - 1;

/// A charge before it is made.
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

/// The instants for which tokens are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Within {
        not_before: Tick,
        latest: Tick,
    },
    /// Now, by a call that waits or `has_waited`: as if its timer had fired when they fell due.
    Late {
        has_waited: bool,
    },
}
