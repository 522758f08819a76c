use std::time::Duration;

use super::count::Count;
use super::times::{self, Times};
use super::totals::Totals;
use crate::per_thread::{PerThread, ThreadSlot, current};
use crate::sync::{AtomicU64, Once, Ordering::Relaxed};
use crate::time::nanos;

/// The counts of a policy, or of the policies of a keyed one.
///
/// Each part is allocated when a thread first counts in it, for a few threads at once: a policy
/// that rejects nothing has no words for rejections.
#[derive(Debug)]
pub(crate) struct Cells {
    /// The first [`Count::HOT`] words.
    hot: PerThread<AtomicU64>,
    cold: PerThread<AtomicU64>,
    times: PerThread<AtomicU64>,
    /// Whether calls that go well are timed, so that the words for times are allocated with theirs.
    timed: bool,
    /// All of these words, for threads without a slot.
    shared: Once<Box<[AtomicU64]>>,
}

const COLD: usize = Count::ALL - Count::HOT;

/// Which of the three parts.
#[derive(Clone, Copy)]
enum Part {
    Hot,
    Cold,
    Times,
}

impl Cells {
    pub(crate) fn new(timed: bool) -> Self {
        Self {
            timed,
            hot: PerThread::new(Count::HOT),
            cold: PerThread::new(COLD),
            times: PerThread::new(times::WORDS),
            shared: Once::new(),
        }
    }
}

impl Default for Cells {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Cells {
    /// Counts one.
    #[inline]
    pub(crate) fn count(&self, word: Count) {
        match word.0.checked_sub(Count::HOT) {
            None => self.add(Part::Hot, word.0, 1),
            Some(cold) => self.add(Part::Cold, cold, 1),
        }
    }

    /// Takes back what was counted, on this thread or on another.
    #[cfg(feature = "tokio")]
    pub(crate) fn uncount(&self, word: Count) {
        match word.0.checked_sub(Count::HOT) {
            None => self.add(Part::Hot, word.0, u64::MAX),
            Some(cold) => self.add(Part::Cold, cold, u64::MAX),
        }
    }

    /// Counts a time that a call has taken or waited.
    pub(crate) fn time(&self, time: Duration) {
        let nanos = nanos(time);
        self.add(Part::Times, times::bucket(nanos), 1);
        self.add(Part::Times, times::SUM, nanos);
    }

    #[inline]
    fn add(&self, part: Part, word: usize, n: u64) {
        let slot = current();
        match slot.and_then(|slot| self.part(part).get(slot, word)) {
            // No other thread writes it. It wraps where a count is taken back on another thread.
            Some(own) => own.store(own.load(Relaxed).wrapping_add(n), Relaxed),
            None => self.add_otherwise(slot, part, word, n),
        }
    }

    #[inline]
    fn part(&self, part: Part) -> &PerThread<AtomicU64> {
        match part {
            Part::Hot => &self.hot,
            Part::Cold => &self.cold,
            Part::Times => &self.times,
        }
    }

    /// The first count of a few threads, or that of a thread without a slot.
    #[cold]
    fn add_otherwise(&self, slot: Option<ThreadSlot>, part: Part, word: usize, n: u64) {
        let Some(slot) = slot else {
            let first = match part {
                Part::Hot => 0,
                Part::Cold => Count::HOT,
                Part::Times => Count::ALL,
            };
            let words = || {
                (0..Count::ALL + times::WORDS)
                    .map(|_| AtomicU64::new(0))
                    .collect()
            };
            self.shared.get_or_init(words)[first + word].fetch_add(n, Relaxed);
            return;
        };
        if self.timed {
            self.times.make(slot, || AtomicU64::new(0));
        }
        let part = self.part(part);
        part.make(slot, || AtomicU64::new(0));
        if let Some(own) = part.get(slot, word) {
            own.store(own.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    /// The sums. They are read one after the other, so while calls run they may differ by those.
    pub(crate) fn totals(&self) -> Totals {
        let mut words = [0; Count::ALL];
        let (hot, cold) = words.split_at_mut(Count::HOT);
        self.hot.add_to(hot);
        self.cold.add_to(cold);
        let mut times = [0; times::WORDS];
        self.times.add_to(&mut times);
        if let Some(shared) = self.shared.get() {
            let all = words.iter_mut().chain(&mut times);
            all.zip(shared)
                .for_each(|(sum, word)| *sum = sum.wrapping_add(word.load(Relaxed)));
        }
        Totals::new(words, Times::new(times))
    }
}

impl PerThread<AtomicU64> {
    /// Adds the words of all threads to `sums`.
    fn add_to(&self, sums: &mut [u64]) {
        for words in self.each() {
            let words = words.zip(sums.iter_mut());
            words.for_each(|(word, sum)| *sum = sum.wrapping_add(word.load(Relaxed)));
        }
    }
}
