use super::{Relaxed, Release, Tally, is_newer, pack, unpack};
use crate::slot::{SLOTS, Slot};
use crate::sync::{CachePadded, Once};

/// How many succeeded in each bucket of a time window.
///
/// All count in the same words until these are hot: until two threads meet there, or until one
/// bucket has seen [`HOT`]. From then on every thread that has a [`Slot`] counts in words of its
/// own, which nobody else writes, with a load and a store.
#[derive(Debug)]
pub(super) struct Successes {
    pub(super) shared: Box<[Tally]>,
    /// How many lines the words of one thread fill.
    lines: usize,
    /// What no success can be older than, for words that are made later.
    vacant: u32,
    /// Those of a few threads each, one after the other. So there is but one pointer on the way
    /// to a word, and that way is what a success waits for.
    pub(super) own: [Once<Box<[Line]>>; GROUPS],
}

/// Words that no other thread writes, on cache lines that hold nothing else.
type Line = CachePadded<[Tally; LINE]>;

/// As many words as fill the two lines that processors fetch at once.
const LINE: usize = if SMALL { 2 } else { 16 };

const GROUP: usize = if SMALL { 2 } else { 16 };
const GROUPS: usize = if SMALL { 1 } else { SLOTS / GROUP };

/// From how many successes in one bucket on words of a thread's own are worth their memory.
pub(super) const HOT: i32 = match SMALL {
    true => 1,
    // Within reach of a short input.
    false if cfg!(fuzzing) => 4,
    false => 1_000,
};

/// For models, which try every order of every access.
const SMALL: bool = cfg!(all(test, seawall_loom));

impl Successes {
    pub(super) fn new(size: u32, vacant: u32) -> Self {
        Self {
            shared: (0..size).map(|_| Tally::new(vacant)).collect(),
            lines: (size as usize).div_ceil(LINE),
            vacant,
            own: std::array::from_fn(|_| Once::new()),
        }
    }

    /// The word that only the thread with this slot counts in, if there is one.
    #[inline]
    fn own(&self, slot: Slot, place: usize) -> Option<&Tally> {
        let group = match slot.index() / GROUP {
            // By a jump, so that the way to the word does not wait for the slot.
            0 => self.own[0].get()?,
            later => self.later_group(later)?,
        };
        let line = slot.index() % GROUP * self.lines + place / LINE;
        Some(&group.get(line)?[place % LINE])
    }

    #[cold]
    fn later_group(&self, number: usize) -> Option<&[Line]> {
        Some(self.own[number].get()?)
    }

    /// Only the thread that has this slot calls this with it.
    #[inline]
    pub(super) fn add(&self, slot: Option<Slot>, place: usize, stamp: u32) {
        if let Some(Tally(own)) = slot.and_then(|slot| self.own(slot, place)) {
            let word = own.load(Relaxed);
            let (theirs, count) = unpack(word);
            if theirs == stamp && count < i32::MAX {
                return own.store(word + 1, Release);
            }
        }
        self.add_slowly(slot, place, stamp);
    }

    #[inline(never)]
    fn add_slowly(&self, slot: Option<Slot>, place: usize, stamp: u32) {
        let Some(Tally(own)) = slot.and_then(|slot| self.own(slot, place)) else {
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
    fn add_to_shared(&self, slot: Option<Slot>, place: usize, stamp: u32) {
        let hot = self.shared[place].add_and_tell(stamp);
        if let Some(slot) = slot.filter(|_| hot) {
            let word = || Tally::new(self.vacant);
            let line = || CachePadded::new(std::array::from_fn(|_| word()));
            self.own[slot.index() / GROUP]
                .get_or_init(|| (0..GROUP * self.lines).map(|_| line()).collect());
        }
    }

    /// Those of the `size` buckets up to `latest`.
    pub(super) fn sum(&self, latest: u32, size: u32) -> u32 {
        let own = self.own.iter().filter_map(Once::get).flatten();
        let all = self.shared.iter().chain(own.flat_map(|line| line.iter()));
        all.fold(0, |sum: u32, tally| {
            sum.saturating_add(tally.within(latest, size))
        })
    }
}
