use super::successes::Successes;
use super::{Relaxed, Tally};
use crate::circuit_breaker::trip::Counts;
use crate::per_thread::ThreadSlot;
use crate::sync::AtomicU64;
use crate::time::Tick;

/// The calls of the last so many buckets of time, the current one among them.
///
/// A bucket's stamp is its number since the origin of time, moved on by the size of the window
/// with every era: so the buckets of an earlier era always lie outside of the window. Time stands
/// still for it while the clock is behind what it has shown before, so that no stamp comes twice.
#[derive(Debug)]
pub(in crate::circuit_breaker) struct TimeWindow {
    /// In nanoseconds, at least [`LEAST`].
    bucket: u64,
    size: u32,
    /// The latest bucket so far: `[number: 54 bits][number modulo size: 10 bits]`, which spares
    /// the common call a division. Moved before anything is counted in that bucket, and by
    /// whoever counts there seen no earlier than that; see [`TimeWindow::counts`].
    pub(super) front: AtomicU64,
    pub(super) successes: Successes,
    pub(super) failures: Box<[Tally]>,
    /// Empty where no rule asks for slow calls.
    pub(super) slow: Box<[Tally]>,
}

const PLACE_BITS: u32 = 10;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// The shortest bucket, in nanoseconds: numbers must fit their bits. Rules ask for a millisecond
/// and more; only the window of a ramp of microseconds is coarser for it.
pub(super) const LEAST: u64 = 1 << PLACE_BITS;

impl TimeWindow {
    pub(super) fn new(bucket: u64, size: u32, slow: bool, generation: u32, now: Tick) -> Self {
        let number = now.0 / bucket;
        let stamp = stamp(number, generation, size);
        let tallies = |n: u32| (0..n).map(|_| Tally::new(stamp)).collect();
        Self {
            bucket,
            size,
            front: AtomicU64::new(front(number, size)),
            successes: Successes::new(size, stamp),
            failures: tallies(size),
            slow: tallies(if slow { size } else { 0 }),
        }
    }

    /// The latest bucket that has begun by now: its number and its place.
    fn reach(&self, now: Tick) -> (u64, usize) {
        let mut latest = self.front.load(Relaxed);
        let next = front(now.0 / self.bucket, self.size);
        if latest < next {
            latest = next.max(self.front.fetch_max(next, Relaxed));
        }
        (latest >> PLACE_BITS, (latest & PLACE_MASK) as usize)
    }

    /// A success that was not slow.
    pub(super) fn succeed(&self, generation: u32, now: Tick, slot: Option<ThreadSlot>) {
        let (number, place) = self.reach(now);
        self.successes
            .add(slot, place, stamp(number, generation, self.size));
    }

    /// As [`succeed`](Self::succeed) while the latest bucket is known to go on.
    #[inline(always)]
    pub(super) fn succeed_in_front(&self, generation: u32, slot: Option<ThreadSlot>) {
        let front = self.front.load(Relaxed);
        let stamp = stamp(front >> PLACE_BITS, generation, self.size);
        self.successes
            .add(slot, (front & PLACE_MASK) as usize, stamp);
    }

    /// When the latest bucket ends.
    pub(super) fn front_ends(&self) -> Tick {
        let number = self.front.load(Relaxed) >> PLACE_BITS;
        Tick((number + 1).saturating_mul(self.bucket))
    }

    pub(super) fn record(
        &self,
        generation: u32,
        now: Tick,
        failed: bool,
        slow: bool,
        slot: Option<ThreadSlot>,
    ) {
        let (number, place) = self.reach(now);
        let stamp = stamp(number, generation, self.size);
        // Before what makes it slow: see `# Orderings` of `window`.
        match failed {
            true => self.failures[place].add(stamp, 1),
            false => self.successes.add(slot, place, stamp),
        }
        if let Some(tally) = self.slow.get(place).filter(|_| slow) {
            tally.add(stamp, 1);
        }
    }

    /// What the window has seen, if what went wrong in it is enough to be `worth` the sum over
    /// all who succeeded.
    pub(super) fn counts(
        &self,
        generation: u32,
        now: Tick,
        worth: impl Fn(&Counts) -> bool,
    ) -> Option<Counts> {
        let front = || self.front.load(Relaxed) >> PLACE_BITS;
        let mut number = front().max(now.0 / self.bucket);
        loop {
            let latest = stamp(number, generation, self.size);
            let sum = |tallies: &[Tally]| {
                let counts = tallies.iter().map(|tally| tally.within(latest, self.size));
                counts.fold(0, u32::saturating_add)
            };
            // In this order: see `# Orderings` of `window`.
            let slow = sum(&self.slow);
            let failures = sum(&self.failures);
            let mut counts = Counts {
                calls: failures,
                failures,
                slow,
                consecutive: 0,
            };
            let worth = worth(&counts);
            if worth {
                let successes = self.successes.sum(latest, self.size);
                counts.calls = counts.calls.saturating_add(successes);
            }
            // Whoever has put a newer bucket in the place of one of these has moved the front
            // before, and who sees the one sees the other.
            let reached = front();
            if reached <= number {
                return worth.then_some(counts);
            }
            number = reached;
        }
    }
}

fn front(number: u64, size: u32) -> u64 {
    (number << PLACE_BITS) | (number % u64::from(size))
}

#[inline]
fn stamp(number: u64, generation: u32, size: u32) -> u32 {
    (number as u32).wrapping_add(generation.wrapping_mul(size))
}
