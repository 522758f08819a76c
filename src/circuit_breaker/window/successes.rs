use super::tally::{Tally, is_newer, pack, unpack};
use crate::per_thread::{PerThread, SMALL, ThreadSlot};
use crate::sync::Ordering::{Relaxed, Release};

/// The successes in each bucket of a time window.
///
/// All threads count in the same words until these are hot: until two threads meet there, or a
/// bucket has counted [`HOT`]. From then on a thread with a [`ThreadSlot`] counts in words of its
/// own, which no other thread writes, with a load and a store.
#[derive(Debug)]
pub(super) struct Successes {
    pub(super) shared: Box<[Tally]>,
    /// A stamp that no success is older than, for words that are made later.
    vacant: u32,
    pub(super) own: PerThread<Tally>,
}

/// From this number of successes in one bucket on, words of a thread's own are worth their memory.
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

    /// Only the thread with this slot may pass it.
    #[inline]
    pub(super) fn add(&self, slot: Option<ThreadSlot>, index: usize, stamp: u32) {
        let Some(Tally(own)) = slot.and_then(|slot| self.own.get(slot, index)) else {
            return self.add_to_shared(slot, index, stamp);
        };
        let word = own.load(Relaxed);
        let (theirs, count) = unpack(word);
        let next = match theirs == stamp {
            true => word + u64::from(count < i32::MAX),
            false if is_newer(theirs, stamp) => return,
            false => pack(stamp, 1),
        };
        own.store(next, Release);
    }

    #[cold]
    fn add_to_shared(&self, slot: Option<ThreadSlot>, index: usize, stamp: u32) {
        let one_more = |count: i32| count.saturating_add(1);
        let (before, met) = self.shared[index].update_contended(stamp, one_more);
        let hot = met || before.is_some_and(|count| count >= HOT);
        if let Some(slot) = slot.filter(|_| hot) {
            self.own.make(slot, || Tally::new(self.vacant));
        }
    }

    /// The sum over the `size` buckets up to `latest`.
    pub(super) fn sum(&self, latest: u32, size: u32) -> u32 {
        self.shared
            .iter()
            .chain(self.own.all())
            .fold(0, |sum: u32, tally| {
                sum.saturating_add(tally.within(latest, size))
            })
    }
}
