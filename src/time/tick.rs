use std::time::Duration;

/// A reading of the clock: nanoseconds since a fixed origin before the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(unreachable_pub)] // In the traits of what waits.
pub struct Tick(pub(crate) u64);

impl Tick {
    pub(crate) const ZERO: Self = Self(0);
    /// The instant that never comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// `self + d`, at most [`Tick::NEVER`].
    #[inline]
    pub(crate) fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }

    /// The time since `earlier`; zero if the clock has stepped back since.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    #[inline]
    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }
}

/// Whole nanoseconds, at most 584 years.
#[inline]
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
