use std::time::Duration;

use crate::time::Tick;

/// Why the tokens are not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// The time until they are available if no other call comes first; one nanosecond less is too
    /// early. None if it is not known.
    pub(crate) wait: Option<Duration>,
    /// The burst, if the cost is above it.
    pub(crate) above_burst: Option<u32>,
}

impl Shortfall {
    /// The time is not known.
    pub(crate) const UNKNOWN: Self = Self {
        wait: None,
        above_burst: None,
    };

    #[inline]
    pub(crate) fn until(at: Tick, now: Tick) -> Self {
        Self {
            wait: Some(at.since(now)),
            above_burst: None,
        }
    }

    /// Whether the wait is longer than that of `other`; one without an end is the longest.
    pub(crate) fn is_longer(&self, other: &Self) -> bool {
        match (self.wait, other.wait) {
            (Some(wait), Some(other)) => wait > other,
            (wait, other) => wait.is_none() && other.is_some(),
        }
    }
}
