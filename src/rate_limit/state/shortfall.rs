use std::time::Duration;

use crate::time::Tick;

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
