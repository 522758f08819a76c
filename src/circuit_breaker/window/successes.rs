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

    /// The words of the thread that has this slot, if there are any.
    #[inline]
    fn own(&self, slot: Slot) -> Option<Own<'_>> {
        let group = self.own[slot.index() / GROUP].get()?;
        let from = slot.index() % GROUP * self.lines;
        Some(Own(&group[from..from + self.lines]))
    }

    #[inline]
    pub(super) fn add(&self, slot: Option<Slot>, place: usize, stamp: u32) {
        match slot.and_then(|slot| self.own(slot)) {
            Some(own) => own.add(place, stamp),
            None => self.add_to_shared(slot, place, stamp),
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

/// The words of one thread.
#[derive(Clone, Copy)]
struct Own<'a>(&'a [Line]);

impl Own<'_> {
    /// Only the thread whose words these are calls this.
    #[inline]
    fn add(self, place: usize, stamp: u32) {
        let word = &self.0[place / LINE][place % LINE].0;
        let (theirs, count) = unpack(word.load(Relaxed));
        if is_newer(theirs, stamp) {
            return;
        }
        let count = if theirs == stamp { count } else { 0 };
        word.store(pack(stamp, count.saturating_add(1)), Release);
    }
}
