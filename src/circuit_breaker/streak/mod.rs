//! Failures in a row, and the times of the last failures: the memory of the rules without a rate.
//!
//! # Memory ordering
//!
//! Every word carries its generation and publishes nothing but itself, so all is relaxed (models:
//! `a_late_failure_never_lengthens_a_newer_streak`,
//! `one_of_as_many_failures_as_configured_finds_the_others`,
//! `a_streak_that_is_cut_counts_no_failure_twice`).

use super::window::Tally;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::Tick;

/// Failures in a row and the time of the first: one word, so that both change at once.
///
/// `[generation: 12 bits][count: 12 bits][first failure: 40 bits, ms]`
///
/// Twelve bits of generation wrap soon. Therefore every transition [begins](Self::begin) the
/// streak, and an outcome is never more than a few generations late.
#[derive(Debug)]
pub(super) struct Streak {
    word: AtomicU64,
    times: Times,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct StreakWord {
    generation: u32,
    count: u32,
    first: u64,
}

const COUNT_BITS: u32 = 12;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
const FIRST_MASK: u64 = (1 << 40) - 1;

impl StreakWord {
    fn pack(self) -> u64 {
        u64::from(self.generation & COUNT_MASK) << 52
            | u64::from(self.count) << 40
            | self.first & FIRST_MASK
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 52) as u32,
            count: (word >> 40) as u32 & COUNT_MASK,
            first: word & FIRST_MASK,
        }
    }

    /// Whether this word belongs to a later generation.
    fn is_newer_than(self, generation: u32) -> bool {
        let ahead = self.generation.wrapping_sub(generation) & COUNT_MASK;
        ahead != 0 && ahead < 1 << (COUNT_BITS - 1)
    }
}

const MILLI: u64 = 1_000_000;

/// The time from `then` to `now`, both cut to the bits of `mask`; zero if `now` is earlier.
fn ago(now: u64, then: u64, mask: u64) -> u64 {
    let passed = now.wrapping_sub(then) & mask;
    // More than half of the range means that the clock has stepped back.
    if passed > mask / 2 { 0 } else { passed }
}

impl Streak {
    /// For a rule without a time.
    pub(super) fn new(generation: u32) -> Self {
        Self::with(Times::of(0), generation)
    }

    /// For a rule for `failures` within a time.
    pub(super) fn within(failures: u32, generation: u32) -> Self {
        Self::with(Times::of((failures - 1).max(LEAST_TIMES)), generation)
    }

    fn with(times: Times, generation: u32) -> Self {
        let word = AtomicU64::new(0);
        let streak = Self { word, times };
        streak.begin(generation);
        streak
    }

    pub(super) fn begin(&self, generation: u32) {
        let word = StreakWord {
            generation,
            count: 0,
            first: 0,
        };
        self.word.swap(word.pack(), Relaxed);
    }

    /// Whether there is no failure in it, of any generation.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        StreakWord::unpack(self.word.load(Relaxed)).count == 0
    }

    /// Ends the streak. Where there is none, this is one load.
    #[inline]
    pub(super) fn success(&self, generation: u32) {
        let word = self.word.load(Relaxed);
        if StreakWord::unpack(word).count > 0 {
            self.end(generation, word);
        }
    }

    #[cold]
    fn end(&self, generation: u32, mut word: u64) {
        loop {
            let streak = StreakWord::unpack(word);
            if streak.count == 0 || streak.generation != generation & COUNT_MASK {
                return;
            }
            let ended = StreakWord {
                count: 0,
                first: 0,
                ..streak
            };
            match (self.word).compare_exchange_weak(word, ended.pack(), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Adds a failure. If the streak is older than `within`, only the failures within that time
    /// stay. Returns the streak's length and how long it has lasted, in whole milliseconds.
    pub(super) fn failure(&self, generation: u32, now: Tick, within: Option<u64>) -> (u32, u64) {
        let now = (now.0 / MILLI) & FIRST_MASK;
        let mut word = self.word.load(Relaxed);
        loop {
            let streak = StreakWord::unpack(word);
            if streak.is_newer_than(generation) {
                return (0, 0);
            }
            let starts = streak.generation != generation & COUNT_MASK || streak.count == 0;
            let lasted = ago(now, streak.first, FIRST_MASK);
            let next = match within {
                _ if starts => StreakWord {
                    generation,
                    count: 1,
                    first: now,
                },
                Some(most) if lasted > most => {
                    let (kept, oldest) = self.times.within(now, most);
                    StreakWord {
                        count: (kept + 1).min(COUNT_MASK),
                        first: now.wrapping_sub(oldest) & FIRST_MASK,
                        ..streak
                    }
                }
                _ => StreakWord {
                    count: (streak.count + 1).min(COUNT_MASK),
                    ..streak
                },
            };
            match (self.word).compare_exchange_weak(word, next.pack(), Relaxed, Relaxed) {
                Ok(_) => {
                    self.times.add(now, starts);
                    return (next.count, ago(now, next.first, FIRST_MASK));
                }
                Err(now) => word = now,
            }
        }
    }

    pub(super) fn length(&self, generation: u32) -> u32 {
        let streak = StreakWord::unpack(self.word.load(Relaxed));
        if streak.generation == generation & COUNT_MASK {
            streak.count
        } else {
            0
        }
    }
}

/// How many times a streak keeps at least, so that a change to a few more failures finds them.
const LEAST_TIMES: u32 = 7;

/// The times of a streak's last failures, for when the streak is older than its rule looks back.
///
/// A time is stored after its failure is in the streak's word. So a streak that is cut while other
/// threads fail may miss one of their failures, and counts none twice.
#[derive(Debug)]
struct Times {
    next: AtomicU64,
    /// The first of this streak.
    start: AtomicU64,
    /// In milliseconds, as in the streak's word. Empty for a rule without a time.
    ring: Box<[AtomicU64]>,
}

impl Times {
    fn of(failures: u32) -> Self {
        Self {
            next: AtomicU64::new(0),
            start: AtomicU64::new(0),
            ring: (0..failures).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn cell(&self, at: u64) -> &AtomicU64 {
        &self.ring[(at % self.ring.len() as u64) as usize]
    }

    fn add(&self, now: u64, starts: bool) {
        if self.ring.is_empty() {
            return;
        }
        let at = self.next.fetch_add(1, Relaxed);
        if starts {
            self.start.store(at, Relaxed);
        }
        self.cell(at).store(now, Relaxed);
    }

    /// The number of this streak's failures in the last `most` milliseconds, and the age of the
    /// oldest of them.
    fn within(&self, now: u64, most: u64) -> (u32, u64) {
        let next = self.next.load(Relaxed);
        let of_this_streak = next.saturating_sub(self.start.load(Relaxed));
        let known = of_this_streak.min(self.ring.len() as u64);
        let ages = (next - known..next)
            .map(|at| ago(now, self.cell(at).load(Relaxed), FIRST_MASK))
            .filter(|age| *age <= most);
        ages.fold((0, 0), |(kept, oldest), age| (kept + 1, age.max(oldest)))
    }
}

/// The times of the last failures: one fewer than the rule needs.
///
/// A failure swaps its own time for the one in its cell. That is the time of the first of as many
/// failures as the rule needs, of which this one is the last. It never reads a cell of a failure
/// after that first one. If two failures that are a whole ring apart meet at their cell, the second
/// one finds the first, so none is missed.
#[derive(Debug)]
pub(super) struct Recent {
    next: Tally,
    /// Each `[generation: 16 bits][time: 48 bits, microseconds]`.
    ring: Box<[AtomicU64]>,
}

const MICRO: u64 = 1_000;
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

impl Recent {
    pub(super) fn new(failures: u32, generation: u32) -> Self {
        // A generation that no failure of this one has.
        let vacant = u64::from(generation.wrapping_sub(1)) << TIME_BITS;
        Self {
            next: Tally::new(generation),
            ring: (1..failures).map(|_| AtomicU64::new(vacant)).collect(),
        }
    }

    /// How many of the stored failures are at most this old, in microseconds.
    pub(super) fn count(&self, generation: u32, now: Tick, most: u64) -> u32 {
        let now = (now.0 / MICRO) & TIME_MASK;
        let stamp = u64::from(generation & 0xFFFF) << TIME_BITS;
        let counts =
            |word: u64| word & !TIME_MASK == stamp && ago(now, word & TIME_MASK, TIME_MASK) <= most;
        let held = self.ring.iter().filter(|cell| counts(cell.load(Relaxed)));
        held.count() as u32
    }

    /// Adds a failure. Returns the age, in microseconds, of the first of as many failures as the rule
    /// needs, this one included; none while there are fewer.
    pub(super) fn failure(&self, generation: u32, now: Tick) -> Option<u64> {
        let size = self.ring.len();
        let after = |at: i32| if at as usize + 1 >= size { 0 } else { at + 1 };
        let at = self.next.update(generation, after)? as usize;
        let now = (now.0 / MICRO) & TIME_MASK;
        let stamp = u64::from(generation & 0xFFFF) << TIME_BITS;
        let Some(cell) = self.ring.get(at) else {
            // The rule needs one failure.
            return Some(0);
        };
        let mut word = cell.load(Relaxed);
        loop {
            let ahead = ((word >> TIME_BITS) as u16).wrapping_sub(generation as u16) as i16;
            if ahead > 0 {
                return None;
            }
            match cell.compare_exchange_weak(word, stamp | now, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(newer) => word = newer,
            }
        }
        (word & !TIME_MASK == stamp).then(|| ago(now, word & TIME_MASK, TIME_MASK))
    }

    /// Forgets everything: a generation begins.
    pub(super) fn begin(&self, generation: u32) {
        let vacant = u64::from(generation.wrapping_sub(1)) << TIME_BITS;
        for cell in &self.ring {
            cell.swap(vacant, Relaxed);
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
