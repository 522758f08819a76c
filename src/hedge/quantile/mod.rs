//! A quantile of recent latencies, in fixed memory and without a lock.
//!
//! Latencies are counted in buckets whose width grows with the latency, in slices of time of which
//! the last six are the window. A latency that was cut short (a loser of the race, a failure, a
//! cancelled call) is *censored*: known to be longer than what was seen of it. To drop it would
//! keep the fast ones only, and the quantile would collapse; to count it as complete would be too
//! short as well. The quantile is that of the product-limit estimator (Kaplan and Meier,
//! "Nonparametric estimation from incomplete observations", 1958), which takes in each bucket the
//! share of the latencies that reached it and ended in it.
//!
//! The result is the upper edge of a bucket: never below the quantile of what was recorded, and
//! above it by at most a sixteenth, or 66 µs where that is more.
//!
//! # Memory ordering
//!
//! A cell publishes nothing but itself, so everything is relaxed. It carries the stamp of its
//! slice and is changed by compare-exchange: no latency is lost to another (model:
//! `no_latency_is_lost_to_another`), and a late one changes nothing in a newer slice (model:
//! `a_late_latency_never_lands_in_a_newer_slice`). The quantile found last is a hint: of two that
//! are found at once, either may stay until the next (model:
//! `the_quantile_found_last_is_one_of_those_found`).

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::{Tick, nanos};

/// The slices of a window. The current one is among them, so that a window covers between 5/6 and
/// all of its length.
const SLICES: u64 = 6;

/// The unit of the buckets: 66 µs, which is below the resolution of the timers.
const UNIT_BITS: u32 = 16;

/// Buckets per power of two: a bucket is at most a sixteenth of its latencies wide.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// The longest latency that is tracked.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// The buckets up to [`LONGEST`]. Loom needs no more than two.
#[cfg(not(all(test, seawall_loom)))]
const BUCKETS: usize = bucket(LONGEST.as_nanos() as u64) + 1;
#[cfg(all(test, seawall_loom))]
const BUCKETS: usize = 2;

/// How often the quantile is computed in a window.
const FINDS: u64 = 300;

/// No quantile.
const NONE: u64 = u64::MAX;

/// The latencies of one bucket in one slice:
/// `[stamp: 24 bits][censored: 20 bits][over: 20 bits]`
///
/// Written by every record. The counts stop at a million. Such a bucket counts for less than it
/// should and is the fullest by far, so that the quantile is too long, not too short.
#[derive(Debug)]
struct Cell(AtomicU64);

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const STAMPS: u64 = (1 << 24) - 1;

/// By how many slices a record can be late. A cell whose stamp is further ahead dates from before
/// the stamps wrapped, years ago.
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

    /// With one more in the slice of `stamp`; counts of another slice are dropped.
    fn add(self, stamp: u64, censored: bool) -> Self {
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

    /// An empty cell belongs to no slice.
    fn is_newer_than(self, stamp: u64) -> bool {
        let ahead = self.stamp.wrapping_sub(stamp) & STAMPS;
        ahead != 0 && ahead < LATEST && self.over + self.censored > 0
    }
}

impl Cell {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one latency in the slice of `stamp`, unless the cell is of a newer one.
    fn add(&self, stamp: u64, censored: bool) {
        let mut word = self.0.load(Relaxed);
        loop {
            let counts = Counts::unpack(word);
            let next = if counts.stamp == stamp && counts.over < COUNT && !censored {
                // The common case: no need to unpack the word.
                word + 1
            } else if counts.is_newer_than(stamp) {
                return;
            } else {
                counts.add(stamp, censored).pack()
            };
            match (self.0).compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// The counts, unless they are older than the window that ends with the slice of `latest`.
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

/// The latency that every latency of the bucket is below.
fn upper_edge(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let units = match bucket.checked_sub(STEPS) {
        None => bucket + 1,
        Some(above) => (STEPS + above % STEPS + 1) << (above / STEPS),
    };
    Duration::from_nanos(units << UNIT_BITS).min(LONGEST)
}

/// Which quantile, and how many samples it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Above 0, below 1.
    pub(super) quantile: f64,
    /// How many complete latencies it needs.
    pub(super) min_samples: u64,
}

/// The latencies of the window.
#[derive(Debug)]
pub(super) struct Latencies {
    /// In nanoseconds.
    slice: u64,
    /// 2^64 divided by the slice, rounded down: every call divides by the slice, and multiplying is
    /// cheaper.
    inverse: u64,
    /// One slice after the other, each with a cell for every bucket and one for longer latencies.
    cells: Box<[Cell]>,
    /// When the quantile is computed again, by the thread that moves this. Nothing but itself.
    due: AtomicU64,
    /// The quantile found last, in nanoseconds. Written by the thread that has moved `due`.
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
        // Too low by at most one.
        let slices = (u128::from(now.0) * u128::from(self.inverse)) >> 64;
        let slices = slices as u64;
        let rest = now.0 - slices * self.slice;
        slices + u64::from(rest >= self.slice)
    }

    /// Records a latency at `now`. `censored` is whether it is only known to be longer.
    pub(super) fn record(&self, now: Tick, latency: Duration, censored: bool) {
        let slices = self.slices(now);
        let bucket = match latency <= LONGEST {
            true => self::bucket(nanos(latency)).min(BUCKETS - 1),
            false => BUCKETS,
        };
        // By the number of the slice, not by its stamp: where that wraps, two slices of one window
        // would share their cells.
        let slice = (slices % SLICES) as usize;
        self.cells[slice * CELLS + bucket].add(stamp(slices), censored);
    }

    /// The quantile found last: at most a 300th of the window ago while calls are made.
    #[inline]
    pub(super) fn recent(&self, now: Tick, wanted: Wanted) -> Option<Duration> {
        let due = self.due.load(Relaxed);
        let found = match now.0 >= due {
            true => self.find(due, now, wanted),
            false => self.found.load(Relaxed),
        };
        (found != NONE).then(|| Duration::from_nanos(found))
    }

    #[cold]
    fn find(&self, due: u64, now: Tick, wanted: Wanted) -> u64 {
        let pause = (self.slice * SLICES / FINDS).max(1);
        let next = now.0.saturating_add(pause);
        if (self.due)
            .compare_exchange(due, next, Relaxed, Relaxed)
            .is_err()
        {
            // Another thread computes it.
            return self.found.load(Relaxed);
        }
        let found = self.quantile(now, wanted).map_or(NONE, nanos);
        self.found.store(found, Relaxed);
        found
    }

    /// The next call computes the quantile again.
    pub(super) fn forget_found(&self) {
        self.found.store(NONE, Relaxed);
        self.due.store(0, Relaxed);
    }

    /// How many latencies of the window are complete, and how many were cut short.
    pub(super) fn samples(&self, now: Tick) -> (u64, u64) {
        let window = self.window(now);
        let sum = |of: fn(&(u64, u64)) -> u64| window.iter().map(of).sum();
        (sum(|counts| counts.0), sum(|counts| counts.1))
    }

    /// For each bucket, how many latencies ended in it and how many were censored in it.
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

    /// The latency that the wanted share of calls is below. None with too few samples, and none if
    /// it is above [`LONGEST`] or above all complete latencies.
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
                // Those censored in this bucket count as if they had passed it: the result is too
                // long rather than too short.
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

/// The stamp of the slice with this number. It is 0, the stamp of empty cells, only by wrapping.
fn stamp(slices: u64) -> u64 {
    slices.wrapping_add(1) & STAMPS
}

/// The rounding error of a product of a few hundred fractions.
const ROUNDING: f64 = 1e-9;

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
