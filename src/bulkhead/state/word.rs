use crate::config::Mode;

/// The state word: `[queued: 20][in flight: 22][limit: 20][mode: 2]`.
///
/// Limit and mode are in it, beside the counts, because one compare-exchange has to decide on all
/// four: a call that is admitted by a limit read elsewhere could be admitted after that limit was
/// lowered.
///
/// Every call reads it. While no call waits, calls write it when they are admitted and when they
/// end. While a call waits, it is written only under the lock of the queue. A change of limit or
/// mode always holds that lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::bulkhead) struct Word(pub(super) u64);

const LIMIT: u32 = 2;
const IN_FLIGHT: u32 = 22;
const QUEUED: u32 = 44;

const LIMIT_MASK: u64 = (1 << (IN_FLIGHT - LIMIT)) - 1;
/// How many calls in flight can be counted: four times the highest limit, for the calls that
/// record-only mode admits above it and the waiters that a change of mode admits at once.
pub(super) const MAX_IN_FLIGHT: u32 = (1 << (QUEUED - IN_FLIGHT)) - 1;
/// How many waiters can be counted.
pub(in crate::bulkhead) const MAX_QUEUED: u32 = (1 << (u64::BITS - QUEUED)) - 1;

impl Word {
    pub(super) fn new(limit: u32, mode: Mode) -> Self {
        Self(0).with(limit, mode)
    }

    #[must_use]
    pub(super) fn with(self, limit: u32, mode: Mode) -> Self {
        let counts = self.0 & !((1 << IN_FLIGHT) - 1);
        Self(counts | (u64::from(limit) & LIMIT_MASK) << LIMIT | mode.to_bits())
    }

    #[inline]
    pub(in crate::bulkhead) fn mode(self) -> Mode {
        Mode::from_bits(self.0)
    }

    #[inline]
    pub(in crate::bulkhead) fn limit(self) -> u32 {
        (self.0 >> LIMIT & LIMIT_MASK) as u32
    }

    #[inline]
    pub(in crate::bulkhead) fn in_flight(self) -> u32 {
        (self.0 >> IN_FLIGHT) as u32 & MAX_IN_FLIGHT
    }

    #[inline]
    pub(in crate::bulkhead) fn queued(self) -> u32 {
        (self.0 >> QUEUED) as u32
    }

    /// Whether a call can be admitted within the limit. Never while a call waits, because a
    /// permit that is released then goes to a waiter: no call overtakes the queue.
    #[inline]
    pub(in crate::bulkhead) fn has_permit(self) -> bool {
        self.in_flight() < self.limit()
    }

    /// Whether a call that would wait in a queue of at most `max_queued` is rejected now.
    #[inline]
    pub(in crate::bulkhead) fn rejects(self, max_queued: u32) -> bool {
        let closed = self.limit() == 0;
        let queue_full = closed || self.queued() >= max_queued;
        self.mode() == Mode::Enforce && !self.has_permit() && queue_full
    }

    /// How many waiters can be admitted now: all of them if the limit is not enforced.
    pub(super) fn admissible(self) -> u32 {
        let max = match self.mode() {
            Mode::Enforce => self.limit(),
            Mode::RecordOnly | Mode::Off => MAX_IN_FLIGHT,
        };
        max.saturating_sub(self.in_flight()).min(self.queued())
    }

    #[must_use]
    #[inline]
    pub(super) fn call_admitted(self) -> Self {
        Self(self.0 + (1 << IN_FLIGHT))
    }

    #[must_use]
    #[inline]
    pub(super) fn call_ended(self) -> Self {
        Self(self.0 - (1 << IN_FLIGHT))
    }

    #[must_use]
    pub(super) fn waiter_queued(self) -> Self {
        Self(self.0 + (1 << QUEUED))
    }

    #[must_use]
    pub(super) fn waiter_cancelled(self) -> Self {
        Self(self.0 - (1 << QUEUED))
    }

    #[must_use]
    pub(super) fn waiters_admitted(self, n: u32) -> Self {
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
