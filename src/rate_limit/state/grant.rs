//! What a decision grants, or why it grants nothing.

use std::time::Duration;

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

/// Why the tokens are not available.
///
/// Its values have one width, so that it is returned in registers: a rejection that was written in
/// parts and copied as a whole would wait for its own writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortfall {
    /// They are available after this many nanoseconds if no other call comes first; one less is
    /// too early.
    For(u64),
    /// The time is not known.
    Unknown,
    /// The cost is above this burst.
    AboveBurst(u64),
}

impl Shortfall {
    #[inline]
    pub(crate) fn until(at: Tick, now: Tick) -> Self {
        Self::For(at.0.saturating_sub(now.0))
    }

    /// The time until they are available. None if it is not known.
    #[inline]
    pub(crate) fn wait(self) -> Option<Duration> {
        match self {
            Self::For(nanos) => Some(Duration::from_nanos(nanos)),
            Self::Unknown | Self::AboveBurst(_) => None,
        }
    }

    /// Whether the wait is longer than that of `other`; one without an end is the longest.
    pub(crate) fn is_longer(self, other: Self) -> bool {
        match (self, other) {
            (Self::For(wait), Self::For(other)) => wait > other,
            (Self::For(_), _) => false,
            (_, other) => matches!(other, Self::For(_)),
        }
    }
}
