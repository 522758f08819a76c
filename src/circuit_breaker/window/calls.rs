use super::{Acquire, Relaxed, Release, Tally};
use crate::circuit_breaker::trip::Counts;
use crate::sync::AtomicU64;

/// The last so many calls: a ring of outcomes, and a word with the sum over it.
///
/// One exchange of the head counts a new outcome and takes off the one that it evicts, so that a
/// reader sees both or neither (model: `a_window_of_calls_counts_no_failure_that_is_evicted`).
/// For that the evicted outcome has to be known before: the head keeps the latest outcome itself,
/// and the next call writes it to its cell before it moves the head. All cells but the latest are
/// therefore written, whichever thread stands still.
#[derive(Debug)]
pub(in crate::circuit_breaker) struct CallWindow {
    /// Each `[generation: 32 bits][lap: 30 bits][slow][failed]`.
    ring: Box<[AtomicU64]>,
    head: AtomicU64,
    /// How many bits of the head a number of calls takes.
    bits: u32,
    /// What the head counts: slow calls if a rule asks for them, else failures.
    counted: u32,
    /// The failures of a window whose head counts slow calls: no rule decides by them.
    failures: Tally,
}

const FAILED: u32 = 1;
const SLOW: u32 = 2;
const OUTCOME: u32 = FAILED | SLOW;
const CELL_LAP: u64 = (1 << 30) - 1;

/// `[generation: 16 bits][full][outcome: 2 bits][lap][place][counted]`, the last two as wide as a
/// number of calls; the lap takes what is left, which is 5 bits for a million calls.
///
/// An exchange mistakes a head for its own reading only after as many laps as there are numbers,
/// and then only with the same sum and outcome. [`CallWindow::begin`] keeps generations apart that
/// 16 bits cannot.
#[derive(Clone, Copy)]
struct Head {
    generation: u16,
    /// Whether every cell has an outcome of this generation.
    full: bool,
    /// The latest outcome, which may not be in its cell yet.
    latest: u32,
    /// How often the ring has been gone round.
    lap: u64,
    /// Where the next outcome goes.
    place: u32,
    counted: u32,
}

impl Head {
    fn empty(generation: u32) -> Self {
        Self {
            generation: generation as u16,
            full: false,
            latest: 0,
            lap: 0,
            place: 0,
            counted: 0,
        }
    }
}

fn cell(generation: u32, lap: u64, outcome: u32) -> u64 {
    u64::from(generation) << 32 | (lap & CELL_LAP) << 2 | u64::from(outcome)
}

impl CallWindow {
    /// `slow`: whether a rule asks for slow calls.
    pub(super) fn new(calls: u32, slow: bool, generation: u32) -> Self {
        let vacant = cell(generation.wrapping_sub(1), 0, 0);
        let window = Self {
            ring: (0..calls).map(|_| AtomicU64::new(vacant)).collect(),
            head: AtomicU64::new(0),
            bits: u32::BITS - calls.leading_zeros(),
            counted: if slow { SLOW } else { FAILED },
            failures: Tally::new(generation),
        };
        window.begin(generation);
        window
    }

    /// Forgets everything: a generation begins.
    pub(super) fn begin(&self, generation: u32) {
        let head = self.pack(Head::empty(generation));
        self.head.swap(head, Release);
    }

    fn lap_bits(&self) -> u32 {
        45 - 2 * self.bits
    }

    fn pack(&self, head: Head) -> u64 {
        let lap = head.lap & ((1 << self.lap_bits()) - 1);
        let counts = u64::from(head.place) << self.bits | u64::from(head.counted);
        u64::from(head.generation) << 48
            | u64::from(head.full) << 47
            | u64::from(head.latest) << 45
            | lap << (2 * self.bits)
            | counts
    }

    fn unpack(&self, word: u64) -> Head {
        let number = (1 << self.bits) - 1;
        Head {
            generation: (word >> 48) as u16,
            full: word >> 47 & 1 == 1,
            latest: (word >> 45) as u32 & OUTCOME,
            lap: word >> (2 * self.bits) & ((1 << self.lap_bits()) - 1),
            place: (word >> self.bits & number) as u32,
            counted: (word & number) as u32,
        }
    }

    /// The lap before, in the bits that the head has for it.
    fn lap_before(&self, lap: u64) -> u64 {
        lap.wrapping_sub(1) & ((1 << self.lap_bits()) - 1)
    }

    pub(super) fn record(&self, generation: u32, failed: bool, slow: bool) {
        let outcome = if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
        let (mut word, mut head, mut evicted);
        loop {
            // `settle` acquires what the head was released with.
            word = self.head.load(Relaxed);
            head = self.unpack(word);
            match (head.generation.wrapping_sub(generation as u16)) as i16 {
                0 if self.settle(word, head, generation) => {}
                // Another call has moved the head.
                0 => continue,
                1.. => return,
                _ => head = Head::empty(generation),
            }
            evicted = 0;
            if head.full {
                // That of the lap before, unless the head has moved; it was written before the head
                // that `settle` has acquired.
                evicted = self.ring[head.place as usize].load(Relaxed) as u32 & OUTCOME;
            }
            let next = self.pack(self.step(head, outcome, evicted));
            let moved = (self.head).compare_exchange_weak(word, next, Release, Relaxed);
            if moved.is_ok() {
                break;
            }
        }
        if self.counted == SLOW {
            match i32::from(failed) - i32::from(evicted & FAILED != 0) {
                0 => {}
                n => self.failures.add(generation, n),
            }
        }
    }

    /// The head after `outcome` has come and `evicted` has gone.
    fn step(&self, head: Head, outcome: u32, evicted: u32) -> Head {
        let counts = |outcome: u32| u32::from(outcome & self.counted != 0);
        let laps = head.place as usize + 1 == self.ring.len();
        Head {
            latest: outcome,
            full: head.full || laps,
            lap: head.lap + u64::from(laps),
            place: if laps { 0 } else { head.place + 1 },
            // Saturating only where the head has moved and the exchange fails.
            counted: (head.counted + counts(outcome)).saturating_sub(counts(evicted)),
            ..head
        }
    }

    /// Writes the latest outcome of `head`, read as `word`, to its cell; false if the head has
    /// moved before that.
    fn settle(&self, word: u64, head: Head, generation: u32) -> bool {
        let (place, lap) = match head.place {
            0 if !head.full => return true,
            0 => (self.ring.len() - 1, self.lap_before(head.lap)),
            place => (place as usize - 1, head.lap),
        };
        let latest = cell(generation, lap, head.latest);
        let mut held = self.ring[place].load(Acquire);
        while held != latest {
            // A later outcome is in the cell only if the head has moved before.
            if self.head.load(Acquire) != word {
                return false;
            }
            let put = self.ring[place].compare_exchange_weak(held, latest, Release, Acquire);
            match put {
                Ok(_) => break,
                // Also a late call of an earlier generation may have written it.
                Err(now) => held = now,
            }
        }
        true
    }

    pub(super) fn counts(&self, generation: u32) -> Counts {
        let head = self.unpack(self.head.load(Relaxed));
        if head.generation != generation as u16 {
            return Counts::default();
        }
        let calls = match head.full {
            true => self.ring.len() as u32,
            false => head.place,
        };
        let (failures, slow) = match self.counted {
            // One that is evicted may not have been taken off yet.
            SLOW => (self.failures.read_at(generation).min(calls), head.counted),
            _ => (head.counted, 0),
        };
        Counts {
            calls,
            failures,
            slow,
            consecutive: 0,
        }
    }

    /// All words, those of the ring first, with the latest outcome in its cell.
    #[cfg(test)]
    pub(super) fn words(&self, generation: u32) -> Vec<u64> {
        let head = self.head.load(Relaxed);
        assert!(self.settle(head, self.unpack(head), generation));
        let ring = self.ring.iter().map(|cell| cell.load(Relaxed));
        ring.chain([head]).collect()
    }

    /// How many cells of this generation hold a call, and a failure.
    #[cfg(test)]
    pub(super) fn held(&self, generation: u32) -> (u32, u32) {
        let words = self.words(generation);
        let cells = words[..self.ring.len()].iter();
        let (mut calls, mut failures) = (0, 0);
        for cell in cells.filter(|cell| (**cell >> 32) as u32 == generation) {
            calls += 1;
            failures += u32::from(*cell as u32 & FAILED != 0);
        }
        (calls, failures)
    }
}
