use std::time::Duration;

use super::count::Count;
use super::times::{self, Times};
use super::totals::Totals;
use crate::per_thread::{PerThread, WORDS, current, taken};
use crate::sync::{AtomicU64, Once, Ordering::Relaxed};
use crate::time::nanos;

/// The counts of a policy, or of the policies of a keyed one.
///
/// Each line is allocated when a thread first counts in it, for a few threads at once: a policy
/// that rejects nothing has no words for rejections.
#[derive(Debug)]
pub(crate) struct Cells {
    /// [`Count`] by [`Count`], a cache line of each thread at a time.
    lines: [PerThread<AtomicU64>; LINES],
    times: PerThread<AtomicU64>,
    /// Whether calls that go well are timed, so that the words for times are allocated with theirs.
    timed: bool,
    /// All of these words, for threads without a slot.
    shared: Once<Box<[AtomicU64]>>,
}

const LINES: usize = Count::ALL.div_ceil(WORDS);

impl Cells {
    pub(crate) fn new(timed: bool) -> Self {
        Self {
            timed,
            lines: std::array::from_fn(|_| PerThread::new(WORDS)),
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
        self.add(word, 1);
    }

    /// Takes back what was counted, on this thread or on another.
    #[cfg(feature = "tokio")]
    pub(crate) fn uncount(&self, word: Count) {
        self.add(word, u64::MAX);
    }

    #[inline]
    fn add(&self, word: Count, n: u64) {
        let line = &self.lines[word.0 / WORDS];
        match taken().and_then(|slot| line.words(slot)) {
            Some(own) => add(&own[word.0 % WORDS], n),
            None => self.add_otherwise(word, n),
        }
    }

    /// The first count of a few threads in a line, or that of a thread without a slot.
    #[cold]
    #[inline(never)]
    fn add_otherwise(&self, word: Count, n: u64) {
        let Some(slot) = current() else {
            self.shared()[word.0].fetch_add(n, Relaxed);
            return;
        };
        if self.timed {
            self.times.make(slot, || AtomicU64::new(0));
        }
        let line = &self.lines[word.0 / WORDS];
        line.make(slot, || AtomicU64::new(0));
        if let Some(own) = line.words(slot) {
            add(&own[word.0 % WORDS], n);
        }
    }

    /// Counts a time that a call has taken or waited.
    pub(crate) fn time(&self, time: Duration) {
        let nanos = nanos(time);
        self.add_time(times::bucket(nanos), 1);
        self.add_time(times::SUM, nanos);
    }

    fn add_time(&self, word: usize, n: u64) {
        let Some(slot) = current() else {
            self.shared()[Count::ALL + word].fetch_add(n, Relaxed);
            return;
        };
        if self.times.get(slot, word).is_none() {
            self.times.make(slot, || AtomicU64::new(0));
        }
        if let Some(own) = self.times.get(slot, word) {
            add(own, n);
        }
    }

    fn shared(&self) -> &[AtomicU64] {
        let words = 0..Count::ALL + times::WORDS;
        self.shared
            .get_or_init(|| words.map(|_| AtomicU64::new(0)).collect())
    }

    /// The sums. They are read one after the other, so while calls run they may differ by those.
    pub(crate) fn totals(&self) -> Totals {
        let mut words = [0; Count::ALL];
        for (line, sums) in self.lines.iter().zip(words.chunks_mut(WORDS)) {
            line.add_to(sums);
        }
        let mut times = [0; times::WORDS];
        self.times.add_to(&mut times);
        if let Some(shared) = self.shared.get() {
            let all = words.iter_mut().chain(&mut times);
            all.zip(shared)
                .for_each(|(sum, word)| *sum = sum.wrapping_add(word.load(Relaxed)));
        }
        // Counted on one thread and taken back on another, between the reads of their words.
        let words = words.map(|sum| if sum > i64::MAX as u64 { 0 } else { sum });
        Totals::new(words, Times::new(times))
    }
}

/// Adds to a word that no other thread writes. It wraps where a count is taken back on another
/// thread.
#[inline]
fn add(own: &AtomicU64, n: u64) {
    own.store(own.load(Relaxed).wrapping_add(n), Relaxed);
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

#[cfg(all(test, feature = "tokio", not(seawall_loom)))]
mod tests {
    use super::{Cells, Count};

    #[test]
    fn ob1_a_count_that_is_taken_back_while_the_sums_are_read_leaves_none_below_zero() {
        let cells = Cells::default();
        // As it is read, if the words of the thread that counted it were read before.
        cells.uncount(Count::EXTRA);
        assert_eq!(cells.totals().extra(), 0);
        assert_eq!(cells.totals().attempts(), 0);
        cells.count(Count::EXTRA);
        cells.count(Count::EXTRA);
        assert_eq!(cells.totals().extra(), 1);
    }
}
