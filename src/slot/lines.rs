//! Words of which each belongs to one thread.

use super::{SLOTS, Slot};
use crate::sync::{CachePadded, Once};

/// Words that no other thread writes, for every thread that has a [`Slot`]: on cache lines of its
/// own. Made for a few threads at a time, when the first of them wants them.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    /// How many lines the words of one thread fill.
    each: usize,
    /// Those of a few threads each, one after the other. So there is but one pointer on the way
    /// to a word, and that way is what a call waits for.
    groups: [Once<Box<[Line<T>]>>; GROUPS],
}

type Line<T> = CachePadded<[T; LINE]>;

/// As many words as fill the two lines that processors fetch at once.
const LINE: usize = if SMALL { 2 } else { 16 };

const GROUP: usize = if SMALL { 2 } else { 16 };
const GROUPS: usize = if SMALL { 1 } else { SLOTS / GROUP };

/// For models, which try every order of every access.
pub(crate) const SMALL: bool = cfg!(all(test, seawall_loom));

impl<T> Lines<T> {
    /// Of so many words for each thread.
    pub(crate) fn new(words: usize) -> Self {
        Self {
            each: words.div_ceil(LINE),
            groups: std::array::from_fn(|_| Once::new()),
        }
    }

    /// A word of the thread with this slot, if they are there.
    #[inline]
    pub(crate) fn get(&self, slot: Slot, word: usize) -> Option<&T> {
        let line = match self.each {
            // By a jump too: most have one line each, and to multiply takes its time.
            1 => slot.index() % GROUP,
            _ => self.line_of_many(slot, word),
        };
        Some(&self.group(slot)?.get(line)?[word % LINE])
    }

    #[cold]
    fn line_of_many(&self, slot: Slot, word: usize) -> usize {
        slot.index() % GROUP * self.each + word / LINE
    }

    /// The words of the thread with this slot, if they are there and fill one line.
    #[inline]
    pub(crate) fn line(&self, slot: Slot) -> Option<&[T; LINE]> {
        Some(self.group(slot)?.get(slot.index() % GROUP)?)
    }

    #[inline]
    fn group(&self, slot: Slot) -> Option<&[Line<T>]> {
        match slot.index() / GROUP {
            // By a jump, so that the way to the words does not wait for the slot.
            0 => Some(self.groups[0].get()?),
            later => self.later_group(later),
        }
    }

    #[cold]
    fn later_group(&self, number: usize) -> Option<&[Line<T>]> {
        Some(self.groups.get(number)?.get()?)
    }

    /// Makes those of this slot, and of a few others.
    pub(crate) fn make(&self, slot: Slot, word: impl Fn() -> T) {
        let line = || CachePadded::new(std::array::from_fn(|_| word()));
        if let Some(group) = self.groups.get(slot.index() / GROUP) {
            group.get_or_init(|| (0..GROUP * self.each).map(|_| line()).collect());
        }
    }

    /// All that are there.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let groups = self.groups.iter().filter_map(Once::get).flatten();
        groups.flat_map(|line| line.iter())
    }

    /// The first word of every slot that has some, by its slot's number.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (usize, &T)> {
        let groups = self.groups.iter().enumerate();
        let made = groups.filter_map(|(number, group)| Some((number * GROUP, group.get()?)));
        made.flat_map(|(from, group)| {
            let firsts = group.iter().step_by(self.each);
            (from..).zip(firsts.map(|line| &line[0]))
        })
    }
}
