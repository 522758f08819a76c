use crate::config::Mode;

/// The word, unpacked: `[queued: 22][in flight: 24][limit: 16][mode: 2]`
///
/// Read by every call. While nobody queues it is written by whoever is admitted and whoever
/// leaves; while somebody does, only under the lock of the line. Changes of limit and mode are
/// always made under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::bulkhead) struct Word(pub(super) u64);

const LIMIT: u32 = 2;
const IN_FLIGHT: u32 = 18;
const QUEUED: u32 = 42;

/// The most calls in flight that are counted: only what is recorded and not refused comes near.
pub(super) const MOST_IN_FLIGHT: u32 = (1 << (QUEUED - IN_FLIGHT)) - 1;
/// The most that can queue, asked for or not.
pub(in crate::bulkhead) const MOST_QUEUED: u32 = (1 << (u64::BITS - QUEUED)) - 1;

impl Word {
    pub(super) fn new(limit: u16, mode: Mode) -> Self {
        Self(mode.to_bits() | (u64::from(limit) << LIMIT))
    }

    #[inline]
    pub(in crate::bulkhead) fn mode(self) -> Mode {
        Mode::from_bits(self.0)
    }

    #[inline]
    pub(in crate::bulkhead) fn limit(self) -> u16 {
        // Sixteen bits by construction.
        (self.0 >> LIMIT) as u16
    }

    #[inline]
    pub(in crate::bulkhead) fn in_flight(self) -> u32 {
        (self.0 >> IN_FLIGHT) as u32 & MOST_IN_FLIGHT
    }

    #[inline]
    pub(in crate::bulkhead) fn queued(self) -> u32 {
        (self.0 >> QUEUED) as u32
    }

    /// Whether there is a place. Never while somebody queues, for then places are handed over: so
    /// whoever takes it overtakes nobody.
    #[inline]
    pub(in crate::bulkhead) fn has_room(self) -> bool {
        self.in_flight() < u32::from(self.limit())
    }

    /// Whether a call that comes now, and would queue behind fewer than `most_queued`, is
    /// refused.
    #[inline]
    pub(in crate::bulkhead) fn refuses(self, most_queued: u32) -> bool {
        let closed = self.limit() == 0;
        self.mode() == Mode::Enforce && !self.has_room() && (closed || self.queued() >= most_queued)
    }

    /// How many of those who queue can go ahead at once. All, once refusing is over.
    pub(super) fn free(self) -> u32 {
        let most = match self.mode() {
            Mode::Enforce => u32::from(self.limit()),
            Mode::RecordOnly | Mode::Off => MOST_IN_FLIGHT,
        };
        most.saturating_sub(self.in_flight()).min(self.queued())
    }

    #[must_use]
    pub(super) fn with_mode(self, mode: Mode) -> Self {
        Self((self.0 & !3) | mode.to_bits())
    }

    #[must_use]
    pub(super) fn with_limit(self, limit: u16) -> Self {
        let cleared = self.0 & !(u64::from(u16::MAX) << LIMIT);
        Self(cleared | (u64::from(limit) << LIMIT))
    }

    #[must_use]
    #[inline]
    pub(super) fn one_in(self) -> Self {
        Self(self.0 + (1 << IN_FLIGHT))
    }

    #[must_use]
    #[inline]
    pub(super) fn one_out(self) -> Self {
        Self(self.0 - (1 << IN_FLIGHT))
    }

    #[must_use]
    pub(super) fn one_queues(self) -> Self {
        Self(self.0 + (1 << QUEUED))
    }

    #[must_use]
    pub(super) fn one_quits(self) -> Self {
        Self(self.0 - (1 << QUEUED))
    }

    /// With `n` of those who queue in flight.
    #[must_use]
    pub(super) fn handed(self, n: u32) -> Self {
        let n = u64::from(n);
        Self(self.0 - (n << QUEUED) + (n << IN_FLIGHT))
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{} in flight, {} queued, {:?}",
            self.in_flight(),
            self.limit(),
            self.queued(),
            self.mode()
        )
    }
}
