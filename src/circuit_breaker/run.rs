//! Failures in a row, and the last so many failures: what the rules without a rate remember.
//!
//! # Orderings
//!
//! As in `window`: every word carries its era and publishes nothing but itself, so all but the
//! [`Hint`] is relaxed (models: `a_late_failure_never_lengthens_a_newer_run`,
//! `as_many_failures_as_asked_for_are_seen_by_one_of_them`,
//! `a_run_that_is_cut_counts_no_failure_twice`).

use super::window::Tally;
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::time::Tick;

/// Failures in a row, and when the run began: one word, so that both move at once.
///
/// `[era: 12 bits][count: 12 bits][first failure: 40 bits, ms]`
///
/// Twelve bits of era would wrap within reach; the machine therefore begins a new era here with
/// every transition, and an outcome is never more than a few eras late.
#[derive(Debug)]
pub(super) struct Run {
    word: AtomicU64,
    times: Times,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct RunWord {
    era: u32,
    count: u32,
    first: u64,
}

const RUN_BITS: u32 = 12;
const RUN_MASK: u32 = (1 << RUN_BITS) - 1;
const FIRST_MASK: u64 = (1 << 40) - 1;

impl RunWord {
    fn pack(self) -> u64 {
        u64::from(self.era & RUN_MASK) << 52 | u64::from(self.count) << 40 | self.first & FIRST_MASK
    }

    fn unpack(word: u64) -> Self {
        Self {
            era: (word >> 52) as u32,
            count: (word >> 40) as u32 & RUN_MASK,
            first: word & FIRST_MASK,
        }
    }

    /// Whether this word is of an era later than `era`.
    fn is_newer_than(self, era: u32) -> bool {
        let ahead = self.era.wrapping_sub(era) & RUN_MASK;
        ahead != 0 && ahead < 1 << (RUN_BITS - 1)
    }
}

const MILLI: u64 = 1_000_000;

/// From `then` to `now`, both kept in as many bits as `mask` has: zero if `now` is earlier.
fn ago(now: u64, then: u64, mask: u64) -> u64 {
    let passed = now.wrapping_sub(then) & mask;
    // What would be more than half of what can be told is a step back.
    if passed > mask / 2 { 0 } else { passed }
}

impl Run {
    /// Of a rule that looks back over no time.
    pub(super) fn new(era: u32) -> Self {
        Self::with(Times::of(0), era)
    }

    /// Of a rule for so many failures within a time.
    pub(super) fn cut(failures: u32, era: u32) -> Self {
        Self::with(Times::of((failures - 1).max(LEAST_TIMES)), era)
    }

    fn with(times: Times, era: u32) -> Self {
        let word = AtomicU64::new(0);
        let run = Self { word, times };
        run.begin(era);
        run
    }

    pub(super) fn begin(&self, era: u32) {
        let word = RunWord {
            era,
            count: 0,
            first: 0,
        };
        self.word.swap(word.pack(), Relaxed);
    }

    /// A success ends the run. Without one it costs a load.
    pub(super) fn success(&self, era: u32) {
        let mut word = self.word.load(Relaxed);
        loop {
            let run = RunWord::unpack(word);
            if run.count == 0 || run.era != era & RUN_MASK {
                return;
            }
            let ended = RunWord {
                count: 0,
                first: 0,
                ..run
            };
            match (self.word).compare_exchange_weak(word, ended.pack(), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// A failure makes the run longer. Where the run has grown older than `within`, only the
    /// failures stay that are not. Gives its length and how long it has lasted, both in whole
    /// milliseconds of the clock.
    pub(super) fn failure(&self, era: u32, now: Tick, within: Option<u64>) -> (u32, u64) {
        let now = (now.0 / MILLI) & FIRST_MASK;
        let mut word = self.word.load(Relaxed);
        loop {
            let run = RunWord::unpack(word);
            if run.is_newer_than(era) {
                return (0, 0);
            }
            let starts = run.era != era & RUN_MASK || run.count == 0;
            let lasted = ago(now, run.first, FIRST_MASK);
            let next = match within {
                _ if starts => RunWord {
                    era,
                    count: 1,
                    first: now,
                },
                Some(most) if lasted > most => {
                    let (kept, oldest) = self.times.within(now, most);
                    RunWord {
                        count: (kept + 1).min(RUN_MASK),
                        first: now.wrapping_sub(oldest) & FIRST_MASK,
                        ..run
                    }
                }
                _ => RunWord {
                    count: (run.count + 1).min(RUN_MASK),
                    ..run
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

    pub(super) fn length(&self, era: u32) -> u32 {
        let run = RunWord::unpack(self.word.load(Relaxed));
        if run.era == era & RUN_MASK {
            run.count
        } else {
            0
        }
    }
}

/// How many times a run remembers at least: a change to a few more failures finds them.
const LEAST_TIMES: u32 = 7;

/// When the last failures of a run came, for when the run has grown too old.
///
/// A time is put here after its failure is in the run's word. So a run that is cut while other
/// threads fail may miss one of them, and counts none twice.
#[derive(Debug)]
struct Times {
    next: AtomicU64,
    /// The first of this run.
    start: AtomicU64,
    /// In milliseconds, as in the run's word. Empty where the rule looks back over no time.
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

    /// How many of this run came within the last `most` milliseconds, and how long ago the oldest
    /// of them did.
    fn within(&self, now: u64, most: u64) -> (u32, u64) {
        let next = self.next.load(Relaxed);
        let of_this_run = next.saturating_sub(self.start.load(Relaxed));
        let known = of_this_run.min(self.ring.len() as u64);
        let ages = (next - known..next)
            .map(|at| ago(now, self.cell(at).load(Relaxed), FIRST_MASK))
            .filter(|age| *age <= most);
        ages.fold((0, 0), |(kept, oldest), age| (kept + 1, age.max(oldest)))
    }
}

/// How many calls have failed in a row, whatever the rules are: it looks back over no time.
#[derive(Debug)]
pub(super) struct Row(Tally);

impl Row {
    pub(super) fn new(era: u32) -> Self {
        Self(Tally::new(era))
    }

    pub(super) fn failure(&self, era: u32) {
        self.0.add(era, 1);
    }

    /// A success ends the row. Without one it costs a load.
    pub(super) fn success(&self, era: u32) {
        if self.length(era) > 0 {
            self.0.update(era, |_| 0);
        }
    }

    pub(super) fn length(&self, era: u32) -> u32 {
        self.0.read_at(era)
    }
}

/// When each of the last failures came: one fewer than the rule asks for.
///
/// A failure swaps its own time for the one in its cell, which is that of the first of as many
/// failures as the rule asks for, itself among them. It never reads a cell of a failure that came
/// after that one. Of two failures that are a whole ring apart and meet at their cell, the second
/// one there finds the first, so none is missed.
#[derive(Debug)]
pub(super) struct Recent {
    next: Tally,
    /// Each `[era: 16 bits][time: 48 bits, microseconds]`.
    ring: Box<[AtomicU64]>,
}

const MICRO: u64 = 1_000;
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

impl Recent {
    pub(super) fn new(failures: u32, era: u32) -> Self {
        // Sixteen bits of an era that no failure of this one can have.
        let vacant = u64::from(era.wrapping_sub(1)) << TIME_BITS;
        Self {
            next: Tally::new(era),
            ring: (1..failures).map(|_| AtomicU64::new(vacant)).collect(),
        }
    }

    /// How many of the failures that it knows came within this time, in microseconds.
    pub(super) fn within(&self, era: u32, now: Tick, most: u64) -> u32 {
        let now = (now.0 / MICRO) & TIME_MASK;
        let stamp = u64::from(era & 0xFFFF) << TIME_BITS;
        let counts =
            |word: u64| word & !TIME_MASK == stamp && ago(now, word & TIME_MASK, TIME_MASK) <= most;
        let held = self.ring.iter().filter(|cell| counts(cell.load(Relaxed)));
        held.count() as u32
    }

    /// A failure. Gives how long ago, in microseconds, the first of as many failures as the rule
    /// asks for came, this one counted; none before there were so many.
    pub(super) fn failure(&self, era: u32, now: Tick) -> Option<u64> {
        let size = self.ring.len();
        let after = |at: i32| if at as usize + 1 >= size { 0 } else { at + 1 };
        let place = self.next.update(era, after)? as usize;
        let now = (now.0 / MICRO) & TIME_MASK;
        let stamp = u64::from(era & 0xFFFF) << TIME_BITS;
        let Some(cell) = self.ring.get(place) else {
            // The rule asks for one failure.
            return Some(0);
        };
        let mut word = cell.load(Relaxed);
        loop {
            let ahead = ((word >> TIME_BITS) as u16).wrapping_sub(era as u16) as i16;
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

    /// Forgets everything: `era` has begun.
    pub(super) fn begin(&self, era: u32) {
        let vacant = u64::from(era.wrapping_sub(1)) << TIME_BITS;
        for cell in &self.ring {
            cell.swap(vacant, Relaxed);
        }
    }
}

/// Whether a run of failures may be going on, told to successes by one load.
///
/// `[era + 1 of the latest failure: 64 bits]`, zero for none. A failure sets it after the run has
/// grown, a success clears it before it ends the run, and clears nothing that a later era has
/// set: so no run is left standing with this clear, and a success that finds it clear has
/// nothing to end. Clearing acquires what every set before it has released, through the
/// read-modify-writes in between, so that the success finds the run (model:
/// `no_run_is_left_standing_unseen`).
#[derive(Debug, Default)]
pub(super) struct Hint(AtomicU64);

impl Hint {
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    pub(super) fn set(&self, era: u32) {
        self.0.swap(u64::from(era) + 1, Release);
    }

    pub(super) fn clear(&self, era: u32) {
        let mut word = self.0.load(Relaxed);
        while word != 0 {
            let ahead = (word as u32).wrapping_sub(era.wrapping_add(1)) as i32;
            if ahead > 0 {
                return;
            }
            match (self.0).compare_exchange_weak(word, 0, Acquire, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
