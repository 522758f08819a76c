use super::tally::Tally;
use crate::circuit_breaker::counts::Counts;
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The last calls: a ring of outcomes, and a word with the sum over it.
///
/// One exchange of the head counts a new outcome and takes off the one that it evicts, so that a
/// reader sees both or neither (model: `a_window_of_calls_counts_no_failure_that_is_evicted`).
/// Therefore the evicted outcome must be readable before: the head keeps the latest outcome itself,
/// and the next call writes it to its cell before it exchanges the head. All cells but the latest
/// are written, whichever thread stops.
#[derive(Debug)]
pub(crate) struct CallWindow {
    /// Each `[generation: 32 bits][lap: 30 bits][slow][failed]`.
    ring: Box<[AtomicU64]>,
    head: AtomicU64,
    /// How many bits of the head hold a number of calls.
    bits: u32,
    /// What the head counts: slow calls if a rule counts them, else failures.
    counted: u32,
    /// The failures of a window whose head counts slow calls: no rule decides by them.
    failures: Tally,
}

const FAILED: u32 = 1;
const SLOW: u32 = 2;
const OUTCOME: u32 = FAILED | SLOW;
const CELL_LAP: u64 = (1 << 30) - 1;

/// `[generation: 16 bits][full][outcome: 2 bits][lap][next][counted]`, the last two as wide as a
/// number of calls; the lap has the other bits, which are 5 for a million calls.
///
/// An exchange mistakes another head for the one it has read only after all laps have passed, and
/// then only with the same sum and outcome. [`CallWindow::begin`] separates generations that 16 bits
/// cannot.
#[derive(Clone, Copy)]
struct Head {
    generation: u16,
    /// Whether every cell has an outcome of this generation.
    full: bool,
    /// The latest outcome, which may not be in its cell yet.
    latest: u32,
    /// How many times the ring has been filled.
    lap: u64,
    /// The cell of the next outcome.
    next: u32,
    counted: u32,
}

impl Head {
    fn empty(generation: u32) -> Self {
        Self {
            generation: generation as u16,
            full: false,
            latest: 0,
            lap: 0,
            next: 0,
            counted: 0,
        }
    }
}

fn cell(generation: u32, lap: u64, outcome: u32) -> u64 {
    u64::from(generation) << 32 | (lap & CELL_LAP) << 2 | u64::from(outcome)
}

impl CallWindow {
    /// `slow`: whether a rule counts slow calls.
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
        let counts = u64::from(head.next) << self.bits | u64::from(head.counted);
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
            next: (word >> self.bits & number) as u32,
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
            // `write_latest` acquires what was released before this head.
            word = self.head.load(Relaxed);
            head = self.unpack(word);
            match (head.generation.wrapping_sub(generation as u16)) as i16 {
                0 if self.write_latest(word, head, generation) => {}
                // Another call has exchanged the head.
                0 => continue,
                1.. => return,
                _ => head = Head::empty(generation),
            }
            evicted = 0;
            if head.full {
                // The outcome of the lap before, unless the head has changed. It was written before
                // the head that `write_latest` has acquired.
                evicted = self.ring[head.next as usize].load(Relaxed) as u32 & OUTCOME;
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

    /// The head with `outcome` and without `evicted`.
    fn step(&self, head: Head, outcome: u32, evicted: u32) -> Head {
        let counts = |outcome: u32| u32::from(outcome & self.counted != 0);
        let laps = head.next as usize + 1 == self.ring.len();
        Head {
            latest: outcome,
            full: head.full || laps,
            lap: head.lap + u64::from(laps),
            next: if laps { 0 } else { head.next + 1 },
            // It saturates only where the head has changed and the exchange fails.
            counted: (head.counted + counts(outcome)).saturating_sub(counts(evicted)),
            ..head
        }
    }

    /// Writes the latest outcome of `head`, read as `word`, to its cell. Returns false if the head
    /// has changed before that.
    fn write_latest(&self, word: u64, head: Head, generation: u32) -> bool {
        let (index, lap) = match head.next {
            0 if !head.full => return true,
            0 => (self.ring.len() - 1, self.lap_before(head.lap)),
            next => (next as usize - 1, head.lap),
        };
        let latest = cell(generation, lap, head.latest);
        let mut held = self.ring[index].load(Acquire);
        while held != latest {
            // A later outcome is in the cell only if the head has changed before.
            if self.head.load(Acquire) != word {
                return false;
            }
            let put = self.ring[index].compare_exchange_weak(held, latest, Release, Acquire);
            match put {
                Ok(_) => break,
                // A late call of an earlier generation may have written it too.
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
            false => head.next,
        };
        let (failures, slow) = match self.counted {
            // An evicted failure may not have been taken off yet.
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
        assert!(self.write_latest(head, self.unpack(head), generation));
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
