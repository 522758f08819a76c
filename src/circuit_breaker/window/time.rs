use super::successes::Successes;
use super::tally::Tally;
use crate::circuit_breaker::counts::Counts;
use crate::per_thread::ThreadSlot;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::Tick;

/// The calls of the last `size` buckets of time, with the current one.
///
/// A bucket's stamp is its number since the origin of time plus the size of the window times the
/// generation: so the buckets of an earlier generation always lie outside of the window. While the
/// clock is behind what it has shown before, time stands still, so that no stamp comes twice.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    /// In nanoseconds, at least [`SHORTEST`].
    bucket: u64,
    size: u32,
    /// The latest bucket so far: `[number: 54 bits][number modulo size: 10 bits]`. Moved before
    /// anything is counted in that bucket; see [`TimeWindow::counts`].
    pub(super) front: AtomicU64,
    pub(super) successes: Successes,
    pub(super) failures: Box<[Tally]>,
    /// Empty where no rule counts slow calls.
    pub(super) slow: Box<[Tally]>,
}

const INDEX_BITS: u32 = 10;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// The shortest bucket, in nanoseconds: numbers must fit their bits. Rules have buckets of at least
/// a millisecond; only the window of a ramp of microseconds is coarser for it.
pub(super) const SHORTEST: u64 = 1 << INDEX_BITS;

impl TimeWindow {
    pub(super) fn new(bucket: u64, size: u32, slow: bool, generation: u32, now: Tick) -> Self {
        let number = now.0 / bucket;
        let stamp = stamp(number, generation, size);
        let tallies = |n: u32| (0..n).map(|_| Tally::new(stamp)).collect();
        Self {
            bucket,
            size,
            front: AtomicU64::new(front_at(number, size)),
            successes: Successes::new(size, stamp),
            failures: tallies(size),
            slow: tallies(if slow { size } else { 0 }),
        }
    }

    /// The number of the latest bucket and its index.
    #[inline]
    fn reach(&self, now: Tick) -> (u64, usize) {
        let mut front = self.front.load(Relaxed);
        // A product is faster than the division, and in most calls enough.
        if now.0 >= end_of(front, self.bucket) {
            let next = front_at(now.0 / self.bucket, self.size);
            front = next.max(self.front.fetch_max(next, Relaxed));
        }
        (front >> INDEX_BITS, (front & INDEX_MASK) as usize)
    }

    #[inline]
    pub(super) fn record(
        &self,
        generation: u32,
        now: Tick,
        failed: bool,
        slow: bool,
        slot: Option<ThreadSlot>,
    ) {
        let (number, index) = self.reach(now);
        let stamp = stamp(number, generation, self.size);
        // Before it is counted as slow: see `# Memory ordering` of `window`.
        match failed {
            true => self.failures[index].add(stamp, 1),
            false => self.successes.add(slot, index, stamp),
        }
        if let Some(tally) = self.slow.get(index).filter(|_| slow) {
            tally.add(stamp, 1);
        }
    }

    /// The counts, if the failures and slow calls are `worth` the sum over all successes.
    pub(super) fn counts(
        &self,
        generation: u32,
        now: Tick,
        worth: impl Fn(&Counts) -> bool,
    ) -> Option<Counts> {
        let front = || self.front.load(Relaxed) >> INDEX_BITS;
        let mut number = front().max(now.0 / self.bucket);
        loop {
            let latest = stamp(number, generation, self.size);
            let sum = |tallies: &[Tally]| {
                let counts = tallies.iter().map(|tally| tally.within(latest, self.size));
                counts.fold(0, u32::saturating_add)
            };
            // In this order: see `# Memory ordering` of `window`.
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
            // A thread that reuses one of these buckets has moved the front before: if this sum
            // contains the one, this load sees the other.
            let reached = front();
            if reached <= number {
                return worth.then_some(counts);
            }
            number = reached;
        }
    }
}

fn front_at(number: u64, size: u32) -> u64 {
    (number << INDEX_BITS) | (number % u64::from(size))
}

/// When the bucket of this front ends.
#[inline]
fn end_of(front: u64, bucket: u64) -> u64 {
    ((front >> INDEX_BITS) + 1).saturating_mul(bucket)
}

#[inline]
fn stamp(number: u64, generation: u32, size: u32) -> u32 {
    (number as u32).wrapping_add(generation.wrapping_mul(size))
}
