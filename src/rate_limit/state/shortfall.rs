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
    #[inline]
    pub(crate) fn until(at: Tick, now: Tick) -> Self {
        Self {
            wait: Some(at.since(now)),
            above_burst: None,
        }
    }
}
