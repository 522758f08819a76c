use super::{Relaxed, Tally, is_newer, pack};
use crate::circuit_breaker::trip::Counts;
use crate::sync::AtomicU64;

/// The last so many calls: a ring of outcomes, and the sums over it.
///
/// Whoever takes the next place in the ring takes the outcome there out of the sums and puts
/// its own in, so the sums are always those of the ring.
#[derive(Debug)]
pub(in crate::circuit_breaker) struct CallWindow {
    /// Each `[era: 32 bits][slow][failed][taken]`, written by whoever holds the place.
    pub(super) ring: Box<[AtomicU64]>,
    pub(super) next: Tally,
    pub(super) calls: Tally,
    pub(super) failures: Tally,
    pub(super) slow: Tally,
}

pub(super) const TAKEN: u32 = 1;
pub(super) const FAILED: u32 = 2;
const SLOW: u32 = 4;

impl CallWindow {
    pub(super) fn new(calls: u32, era: u32) -> Self {
        let vacant = pack(era, 0);
        Self {
            ring: (0..calls).map(|_| AtomicU64::new(vacant)).collect(),
            next: Tally::new(era),
            calls: Tally::new(era),
            failures: Tally::new(era),
            slow: Tally::new(era),
        }
    }

    pub(super) fn record(&self, era: u32, failed: bool, slow: bool) {
        let size = self.ring.len();
        // At most a million places.
        let after = |at: i32| if at as usize + 1 == size { 0 } else { at + 1 };
        let Some(place) = self.next.update(era, after) else {
            return;
        };
        let outcome = TAKEN | if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
        let Some(evicted) = swap(&self.ring[place as usize], era, outcome) else {
            return;
        };
        let change = |bit| i32::from(outcome & bit != 0) - i32::from(evicted & bit != 0);
        for (tally, bit) in [
            (&self.calls, TAKEN),
            (&self.failures, FAILED),
            (&self.slow, SLOW),
        ] {
            match change(bit) {
                0 => {}
                n => tally.add(era, n),
            }
        }
    }

    pub(super) fn counts(&self, era: u32) -> Counts {
        // In this order: see `# Orderings`.
        let failures = self.failures.read_at(era);
        let slow = self.slow.read_at(era);
        let calls = self.calls.read_at(era);
        Counts {
            calls,
            // One that is being pushed out may not have been taken off yet.
            failures: failures.min(calls),
            slow: slow.min(calls),
            consecutive: 0,
        }
    }
}

/// Puts an outcome in a place of the ring and gives the one of the same era that was there;
/// none if a newer era has the place.
fn swap(cell: &AtomicU64, era: u32, outcome: u32) -> Option<u32> {
    let mut word = cell.load(Relaxed);
    loop {
        let theirs = (word >> 32) as u32;
        if is_newer(theirs, era) {
            return None;
        }
        let next = u64::from(era) << 32 | u64::from(outcome);
        match cell.compare_exchange_weak(word, next, Relaxed, Relaxed) {
            Ok(_) if theirs == era => return Some(word as u32),
            Ok(_) => return Some(0),
            Err(now) => word = now,
        }
    }
}
