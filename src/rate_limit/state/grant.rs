//! For which instants tokens are taken, and a charge before it is made.

use super::config::{Config, LAST};
use super::shortfall::Shortfall;
use crate::time::Tick;

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

impl When {
    /// The first and the last of the instants, where the debt ends at `tat`.
    #[inline]
    pub(crate) fn of(self, config: &Config, tat: u64, now: Tick) -> (Tick, Tick) {
        match self {
            Self::Within { not_before, latest } => (now.max(not_before), latest),
            Self::Late { has_waited } => (config.as_of(tat, now, has_waited), now),
        }
    }
}
