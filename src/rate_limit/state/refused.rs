//! Why there is no token.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::time::nanos;

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// How long until there is one if nobody else comes: a nanosecond less is refused. None if
    /// no time is known.
    pub(crate) wait: Option<Duration>,
    /// The burst, if the cost is above it.
    pub(crate) impossible: Option<u32>,
}

/// [`Refused`] in two registers: through memory it costs as much as the decision.
#[derive(Clone, Copy)]
pub(crate) struct Early {
    /// Nanoseconds; all ones if no time is known.
    wait: NonZeroU64,
    /// The burst, if the cost is above it, else 0.
    impossible: u32,
}

impl Early {
    /// Of a refusal of which nobody wants to know more.
    pub(super) const UNTOLD: Self = Self {
        wait: NonZeroU64::MAX,
        impossible: 0,
    };

    #[inline]
    pub(super) fn by(wait: u64) -> Self {
        Self {
            // What is refused is due later.
            wait: NonZeroU64::new(wait).unwrap_or(NonZeroU64::MIN),
            impossible: 0,
        }
    }
}

impl From<Early> for Refused {
    #[inline]
    fn from(early: Early) -> Self {
        let wait = (early.wait < NonZeroU64::MAX).then(|| Duration::from_nanos(early.wait.get()));
        let impossible = (early.impossible > 0).then_some(early.impossible);
        Self { wait, impossible }
    }
}

impl From<Refused> for Early {
    fn from(refused: Refused) -> Self {
        Self {
            impossible: refused.impossible.unwrap_or(0),
            ..Self::by(refused.wait.map_or(u64::MAX, nanos))
        }
    }
}
