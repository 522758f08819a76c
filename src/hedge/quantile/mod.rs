//! A quantile of recent latencies, in fixed memory and without a lock.
//!
//! Latencies are counted in buckets whose width grows with them, in slices of time of which the
//! last few make the window. A latency that was cut short (a loser of the race, a failure, a
//! caller who left) is not thrown away, which would leave the fast ones only and let the quantile
//! collapse, nor taken for a whole one: it is *censored*, known to be longer than what was seen
//! of it. The quantile is then that of the product-limit estimator (Kaplan and Meier,
//! "Nonparametric estimation from incomplete observations", 1958): in each bucket, the share of
//! those not over before it that ended in it.
//!
//! It is the upper edge of a bucket: never below the quantile of what was recorded, and above it
//! by at most a sixteenth, or 66 µs where that is more.
//!
//! # Orderings
//!
//! A cell publishes nothing but itself, so all is relaxed. It carries the stamp of its slice and
//! is moved by compare-exchange: no latency is lost to another (model:
//! `no_latency_is_lost_to_another`), and one that comes late changes nothing in a newer slice
//! (model: `a_late_latency_never_lands_in_a_newer_slice`). The quantile last found is a hint: of
//! two that are found at once either may stay until the next (model:
//! `what_was_found_last_is_one_of_those_found`).

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::{Tick, nanos};

/// Of which the last few make the window; the current one is among them, so that the window is
/// between 5/6 and all of its length.
const SLICES: u64 = 6;

/// The unit of the buckets: 66 µs, below which a timer of milliseconds cannot tell.
const UNIT_BITS: u32 = 16;

/// Buckets to a power of two: the width of one is at most a sixteenth of what is in it.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// The longest latency that is told from longer ones.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// The buckets up to [`LONGEST`]; loom's threads have few enough places to meet as it is.
#[cfg(not(all(test, seawall_loom)))]
const BUCKETS: usize = bucket(LONGEST.as_nanos() as u64) + 1;
#[cfg(all(test, seawall_loom))]
const BUCKETS: usize = 2;

/// How many times a window the quantile is looked for anew.
const LOOKS: u64 = 300;

/// In place of a quantile, where there is none.
const NONE: u64 = u64::MAX;

/// What was recorded of one bucket in one slice:
/// `[stamp: 24 bits][censored: 20 bits][over: 20 bits]`
///
/// Written by every record. The counts stop at a million, which makes the bucket count for less
/// than it should: that bucket is then far the fullest, and the quantile too long, not too short.
#[derive(Debug)]
struct Cell(AtomicU64);

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const STAMPS: u64 = (1 << 24) - 1;

/// By how many slices a record can be late. A cell that is further ahead than that was left
/// from before the stamps wrapped, years ago.
const LATEST: u64 = 1 << 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    stamp: u64,
    over: u64,
    censored: u64,
}

impl Counts {
    fn unpack(word: u64) -> Self {
        Self {
            stamp: word >> (2 * COUNT_BITS),
            over: word & COUNT,
            censored: word >> COUNT_BITS & COUNT,
        }
    }

    fn pack(self) -> u64 {
        self.stamp << (2 * COUNT_BITS) | self.censored << COUNT_BITS | self.over
    }

    /// With one more in the slice of `stamp`, from nothing where they are of another.
    fn and_one(self, stamp: u64, censored: bool) -> Self {
        let (over, known) = match self.stamp == stamp {
            true => (self.over, self.censored),
            false => (0, 0),
        };
        Self {
            stamp,
            over: (over + u64::from(!censored)).min(COUNT),
            censored: (known + u64::from(censored)).min(COUNT),
        }
    }

    /// One in which nothing was recorded is of no time.
    fn is_newer_than(self, stamp: u64) -> bool {
        let ahead = self.stamp.wrapping_sub(stamp) & STAMPS;
        ahead != 0 && ahead < LATEST && self.over + self.censored > 0
    }
}

impl Cell {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one latency in the slice of `stamp`; nothing if the cell is of a newer one.
    fn add(&self, stamp: u64, censored: bool) {
        let mut word = self.0.load(Relaxed);
        loop {
            let counts = Counts::unpack(word);
            let next = if counts.stamp == stamp && counts.over < COUNT && !censored {
                // The common one, which need not be put together again.
                word + 1
            } else if counts.is_newer_than(stamp) {
                return;
            } else {
                counts.and_one(stamp, censored).pack()
            };
            match (self.0).compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// What it holds, unless that is older than the window that ends with the slice of `latest`.
    fn read(&self, latest: u64) -> Option<Counts> {
        let counts = Counts::unpack(self.0.load(Relaxed));
        let behind = latest.wrapping_sub(counts.stamp) & STAMPS;
        (behind < SLICES).then_some(counts)
    }
}

/// The bucket of a latency of at most [`LONGEST`].
const fn bucket(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < STEPS {
        return units as usize;
    }
    let power = units.ilog2();
    let step = units >> (power - STEP_BITS) & (STEPS - 1);
    ((power - STEP_BITS + 1) as u64 * STEPS + step) as usize
}

/// What every latency of a bucket is below of.
fn upper_edge(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let units = match bucket.checked_sub(STEPS) {
        None => bucket + 1,
        Some(above) => (STEPS + above % STEPS + 1) << (above / STEPS),
    };
    Duration::from_nanos(units << UNIT_BITS).min(LONGEST)
}

/// Which quantile, and what it takes to know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Above 0, below 1.
    pub(super) quantile: f64,
    /// How many latencies that were seen to their end it takes.
    pub(super) min_samples: u64,
}

/// The latencies of the last while.
#[derive(Debug)]
pub(super) struct Latencies {
    /// In nanoseconds.
    slice: u64,
    /// 2^64 by the slice, less at most one: every call divides by it, and to multiply is cheaper.
    inverse: u64,
    /// One slice after the other; in each a cell for every bucket, and one for what is longer.
    cells: Box<[Cell]>,
    /// From when on the quantile is looked for anew, by whoever moves this. Nothing but itself.
    due: AtomicU64,
    /// The quantile that was found last, in nanoseconds. Written by whoever has moved `due`.
    found: AtomicU64,
}

/// Cells of one slice.
const CELLS: usize = BUCKETS + 1;

impl Latencies {
    pub(super) fn new(window: Duration) -> Self {
        let slice = (nanos(window) / SLICES).max(1);
        Self {
            slice,
            inverse: u64::MAX / slice,
            cells: (0..SLICES as usize * CELLS).map(|_| Cell::new()).collect(),
            due: AtomicU64::new(0),
            found: AtomicU64::new(NONE),
        }
    }

    /// How many whole slices there are in `now`.
    #[inline]
    fn slices(&self, now: Tick) -> u64 {
        // Too few by at most one.
        let slices = (u128::from(now.0) * u128::from(self.inverse)) >> 64;
        let slices = slices as u64;
        let rest = now.0 - slices * self.slice;
        slices + u64::from(rest >= self.slice)
    }

    /// One latency, known at `now`; `censored` if all that is known is that it is longer.
    pub(super) fn record(&self, now: Tick, latency: Duration, censored: bool) {
        let slices = self.slices(now);
        let place = match latency <= LONGEST {
            true => bucket(nanos(latency)).min(BUCKETS - 1),
            false => BUCKETS,
        };
        // By the number, not by the stamp: that wraps, and slices of the window would meet.
        let slice = (slices % SLICES) as usize;
        self.cells[slice * CELLS + place].add(stamp(slices), censored);
    }

    /// The quantile as it was found last, a 300th of the window ago at most where calls go on.
    #[inline]
    pub(super) fn recent(&self, now: Tick, wanted: Wanted) -> Option<Duration> {
        let due = self.due.load(Relaxed);
        let found = match now.0 >= due {
            true => self.look(due, now, wanted),
            false => self.found.load(Relaxed),
        };
        (found != NONE).then(|| Duration::from_nanos(found))
    }

    #[cold]
    fn look(&self, due: u64, now: Tick, wanted: Wanted) -> u64 {
        let pause = (self.slice * SLICES / LOOKS).max(1);
        let next = now.0.saturating_add(pause);
        if (self.due)
            .compare_exchange(due, next, Relaxed, Relaxed)
            .is_err()
        {
            // Somebody else is at it.
            return self.found.load(Relaxed);
        }
        let found = self.quantile(now, wanted).map_or(NONE, nanos);
        self.found.store(found, Relaxed);
        found
    }

    /// Has the next call look anew.
    pub(super) fn forget_found(&self) {
        self.found.store(NONE, Relaxed);
        self.due.store(0, Relaxed);
    }

    /// How many latencies of the window were seen to their end, and how many were cut short.
    pub(super) fn samples(&self, now: Tick) -> (u64, u64) {
        let window = self.window(now);
        let sum = |of: fn(&(u64, u64)) -> u64| window.iter().map(of).sum();
        (sum(|counts| counts.0), sum(|counts| counts.1))
    }

    /// For each bucket what was over in it, and what was censored in it.
    fn window(&self, now: Tick) -> [(u64, u64); CELLS] {
        let latest = stamp(self.slices(now));
        let mut window = [(0, 0); CELLS];
        for slice in self.cells.chunks_exact(CELLS) {
            for (sum, cell) in window.iter_mut().zip(slice) {
                if let Some(counts) = cell.read(latest) {
                    sum.0 += counts.over;
                    sum.1 += counts.censored;
                }
            }
        }
        window
    }

    /// The latency that the wanted share of calls is below of; none with too few samples, and
    /// none where it is above [`LONGEST`] or so few were seen to their end that it is above all
    /// of these.
    #[allow(clippy::cast_precision_loss)] // Counts; 2^53 of them are exact.
    pub(super) fn quantile(&self, now: Tick, wanted: Wanted) -> Option<Duration> {
        let window = self.window(now);
        let over: u64 = window.iter().map(|counts| counts.0).sum();
        if over < wanted.min_samples {
            return None;
        }
        let mut at_risk: u64 = window.iter().map(|counts| counts.0 + counts.1).sum();
        let mut surviving = 1.0;
        for (bucket, &(over, censored)) in window[..BUCKETS].iter().enumerate() {
            if over > 0 {
                // Those censored in this bucket were there for all of it: too long rather than
                // too short.
                surviving *= (at_risk - over) as f64 / at_risk as f64;
                if surviving <= 1.0 - wanted.quantile + ROUNDING {
                    return Some(upper_edge(bucket));
                }
            }
            at_risk -= over + censored;
        }
        None
    }
}

/// Of a slice, by its number. Never 0 but by wrapping: the stamp of cells that nothing was recorded
/// in.
fn stamp(slices: u64) -> u64 {
    slices.wrapping_add(1) & STAMPS
}

/// What a product of a few hundred fractions may be off by.
const ROUNDING: f64 = 1e-9;

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
