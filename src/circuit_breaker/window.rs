//! What a breaker remembers of its calls, in fixed memory and without a lock.
//!
//! # Orderings
//!
//! Every word here carries the stamp of the era it belongs to and is moved by compare-exchange,
//! newest era first: an outcome of an earlier era finds a newer stamp and changes nothing
//! (model: `a_late_outcome_never_lands_in_a_newer_era`).
//!
//! A call is counted before its failure is, and failures are read before calls, release on the
//! one and acquire on the other: a failure is never seen without its call, which would make a
//! rate too high (model: `no_failure_is_seen_without_its_call`). Nothing else is published, so
//! all else is relaxed; what decides over the breaker's state is the machine's own word.

use super::trip::{Counts, Span, Window};
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::time::{Tick, nanos};

/// A count that belongs to a stamp: `[stamp: 32 bits][count: 32 bits, signed]`.
///
/// Stamps wrap; a word is newer than an outcome only if it is ahead by no more than an outcome
/// can be late ([`LATEST`]), else it is left from long ago. The count of a sliding window may be
/// below zero for a moment, while an evicted outcome has been taken off whose own arrival is
/// still to be counted.
#[derive(Debug)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn new(stamp: u32) -> Self {
        Self(AtomicU64::new(pack(stamp, 0)))
    }

    /// Moves the count by what `step` makes of it, from zero where the stamp is newer than the
    /// word's. Gives the count before, or none where the word's stamp is newer.
    pub(super) fn update(&self, stamp: u32, step: impl Fn(i32) -> i32) -> Option<i32> {
        let mut word = self.0.load(Relaxed);
        loop {
            let (theirs, count) = unpack(word);
            if is_newer(theirs, stamp) {
                return None;
            }
            let count = if theirs == stamp { count } else { 0 };
            let next = pack(stamp, step(count));
            match self.0.compare_exchange_weak(word, next, Release, Relaxed) {
                Ok(_) => return Some(count),
                Err(now) => word = now,
            }
        }
    }

    fn add(&self, stamp: u32, n: i32) {
        self.update(stamp, |count| count.saturating_add(n));
    }

    /// The stamp and the count.
    fn read(&self) -> (u32, u32) {
        let (stamp, count) = unpack(self.0.load(Acquire));
        (stamp, u32::try_from(count).unwrap_or(0))
    }

    fn read_at(&self, stamp: u32) -> u32 {
        match self.read() {
            (theirs, count) if theirs == stamp => count,
            _ => 0,
        }
    }
}

const fn pack(stamp: u32, count: i32) -> u64 {
    (stamp as u64) << 32 | count as u32 as u64
}

const fn unpack(word: u64) -> (u32, i32) {
    ((word >> 32) as u32, word as u32 as i32)
}

/// By how many stamps an outcome can be late: a minute of the shortest buckets, and more eras
/// than pass while a thread is between two instructions. No more, because what is left from
/// almost a whole round of stamps ago looks newer too.
const LATEST: u32 = 1 << 16;

/// Whether `theirs` is newer than `mine`.
const fn is_newer(theirs: u32, mine: u32) -> bool {
    let ahead = theirs.wrapping_sub(mine);
    ahead != 0 && ahead < LATEST
}

/// A window over calls or over time.
#[derive(Debug)]
pub(super) enum Memory {
    Calls(CallWindow),
    Time(TimeWindow),
}

impl Memory {
    pub(super) fn new(window: Window, era: u32, now: Tick) -> Self {
        match window.0 {
            Span::Calls(calls) => Self::Calls(CallWindow::new(calls, era)),
            Span::Time { length, buckets } => {
                let bucket = (nanos(length) / u64::from(buckets)).max(1);
                Self::Time(TimeWindow::new(bucket, buckets, era, now))
            }
        }
    }

    pub(super) fn record(&self, era: u32, now: Tick, failed: bool, slow: bool) {
        match self {
            Self::Calls(window) => window.record(era, failed, slow),
            Self::Time(window) => window.record(era, now, failed, slow),
        }
    }

    pub(super) fn counts(&self, era: u32, now: Tick) -> Counts {
        match self {
            Self::Calls(window) => window.counts(era),
            Self::Time(window) => window.counts(era, now),
        }
    }
}

/// The last so many calls: a ring of outcomes, and the sums over it.
///
/// Whoever takes the next place in the ring takes the outcome there out of the sums and puts
/// its own in, so the sums are always those of the ring.
#[derive(Debug)]
pub(super) struct CallWindow {
    /// Each `[era: 32 bits][slow][failed][taken]`, written by whoever holds the place.
    ring: Box<[AtomicU64]>,
    next: Tally,
    calls: Tally,
    failures: Tally,
    slow: Tally,
}

const TAKEN: u32 = 1;
const FAILED: u32 = 2;
const SLOW: u32 = 4;

impl CallWindow {
    fn new(calls: u32, era: u32) -> Self {
        let vacant = pack(era, 0);
        Self {
            ring: (0..calls).map(|_| AtomicU64::new(vacant)).collect(),
            next: Tally::new(era),
            calls: Tally::new(era),
            failures: Tally::new(era),
            slow: Tally::new(era),
        }
    }

    fn record(&self, era: u32, failed: bool, slow: bool) {
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

    fn counts(&self, era: u32) -> Counts {
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

/// The calls of the last so many buckets of time, the current one among them.
///
/// A bucket's stamp is its number since the origin of time, moved on by the size of the window
/// with every era: so the buckets of an earlier era always lie outside of the window. Time stands
/// still for it while the clock is behind what it has shown before, so that no stamp comes twice.
#[derive(Debug)]
pub(super) struct TimeWindow {
    /// In nanoseconds.
    bucket: u64,
    /// The highest number of a bucket so far. Nothing but itself: relaxed.
    latest: AtomicU64,
    buckets: Box<[Bucket]>,
}

#[derive(Debug)]
struct Bucket {
    calls: Tally,
    failures: Tally,
    slow: Tally,
}

impl TimeWindow {
    fn new(bucket: u64, buckets: u32, era: u32, now: Tick) -> Self {
        let number = now.0 / bucket;
        let vacant = || Tally::new(stamp(number, era, buckets));
        Self {
            bucket,
            latest: AtomicU64::new(number),
            buckets: (0..buckets)
                .map(|_| Bucket {
                    calls: vacant(),
                    failures: vacant(),
                    slow: vacant(),
                })
                .collect(),
        }
    }

    fn size(&self) -> u32 {
        self.buckets.len() as u32
    }

    fn record(&self, era: u32, now: Tick, failed: bool, slow: bool) {
        let number = now.0 / self.bucket;
        let mut latest = self.latest.load(Relaxed);
        if latest < number {
            latest = number.max(self.latest.fetch_max(number, Relaxed));
        }
        let stamp = stamp(latest, era, self.size());
        // By the number, not by the stamp: that wraps, and the buckets would be shuffled.
        let bucket = &self.buckets[(latest % u64::from(self.size())) as usize];
        bucket.calls.add(stamp, 1);
        if failed {
            bucket.failures.add(stamp, 1);
        }
        if slow {
            bucket.slow.add(stamp, 1);
        }
    }

    fn counts(&self, era: u32, now: Tick) -> Counts {
        let size = self.size();
        let number = (now.0 / self.bucket).max(self.latest.load(Relaxed));
        let latest = stamp(number, era, size);
        let mut counts = Counts::default();
        for bucket in &self.buckets {
            // In this order: see `# Orderings`.
            let failures = bucket.failures.read();
            let slow = bucket.slow.read();
            let (stamp, calls) = bucket.calls.read();
            if latest.wrapping_sub(stamp) >= size {
                continue;
            }
            // Another stamp is of calls that have just been forgotten.
            let of_these = |(theirs, count)| if theirs == stamp { count } else { 0 };
            counts.failures = counts.failures.saturating_add(of_these(failures));
            counts.slow = counts.slow.saturating_add(of_these(slow));
            counts.calls = counts.calls.saturating_add(calls);
        }
        counts
    }
}

fn stamp(number: u64, era: u32, buckets: u32) -> u32 {
    (number as u32).wrapping_add(era.wrapping_mul(buckets))
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
