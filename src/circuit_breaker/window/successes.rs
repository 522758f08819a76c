use super::{Relaxed, Release, Tally, is_newer, pack, unpack};
use crate::per_thread::{PerThread, SMALL, ThreadSlot};

/// How many succeeded in each bucket of a time window.
///
/// All count in the same words until these are hot: until two threads meet there, or until one
/// bucket has seen [`HOT`]. From then on every thread that has a [`ThreadSlot`] counts in words of its
/// own, which nobody else writes, with a load and a store.
#[derive(Debug)]
pub(super) struct Successes {
    pub(super) shared: Box<[Tally]>,
    /// What no success can be older than, for words that are made later.
    vacant: u32,
    pub(super) own: PerThread<Tally>,
}

/// From how many successes in one bucket on words of a thread's own are worth their memory.
pub(super) const HOT: i32 = match SMALL {
    true => 1,
    // Within reach of a short input.
    false if cfg!(fuzzing) => 4,
    false => 1_000,
};

impl Successes {
    pub(super) fn new(size: u32, vacant: u32) -> Self {
        Self {
            shared: (0..size).map(|_| Tally::new(vacant)).collect(),
            vacant,
            own: PerThread::new(size as usize),
        }
    }

    /// Only the thread that has this slot calls this with it.
    #[inline]
    pub(super) fn add(&self, slot: Option<ThreadSlot>, place: usize, stamp: u32) {
        if let Some(Tally(own)) = slot.and_then(|slot| self.own.get(slot, place)) {
            let word = own.load(Relaxed);
            let (theirs, count) = unpack(word);
            if theirs == stamp && count < i32::MAX {
                return own.store(word + 1, Release);
            }
        }
        self.add_slowly(slot, place, stamp);
    }

    #[inline(never)]
    fn add_slowly(&self, slot: Option<ThreadSlot>, place: usize, stamp: u32) {
        let Some(Tally(own)) = slot.and_then(|slot| self.own.get(slot, place)) else {
            return self.add_to_shared(slot, place, stamp);
        };
        // Another thread may have made the words since `add` looked for them.
        let (theirs, count) = unpack(own.load(Relaxed));
        if !is_newer(theirs, stamp) {
            let count = if theirs == stamp { count } else { 0 };
            own.store(pack(stamp, count.saturating_add(1)), Release);
        }
    }

    #[cold]
    fn add_to_shared(&self, slot: Option<ThreadSlot>, place: usize, stamp: u32) {
        let hot = self.shared[place].add_and_tell(stamp);
        if let Some(slot) = slot.filter(|_| hot) {
            self.own.make(slot, || Tally::new(self.vacant));
        }
    }

    /// Those of the `size` buckets up to `latest`.
    pub(super) fn sum(&self, latest: u32, size: u32) -> u32 {
        self.shared
            .iter()
            .chain(self.own.all())
            .fold(0, |sum: u32, tally| {
                sum.saturating_add(tally.within(latest, size))
            })
    }
}
