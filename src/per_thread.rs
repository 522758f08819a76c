//! A number for each thread, so that it may have words of its own among those that all share.
//!
//! # Orderings
//!
//! A thread that has a slot is the only one that writes what belongs to it, so it may do so with
//! plain loads and stores. The slot goes to another thread when it has ended: giving it back
//! releases what was written, taking it acquires that, so the next thread goes on from there
//! (model: `the_next_thread_of_a_slot_goes_on_where_the_last_one_ended`).

use crate::sync::{
    AtomicU64, CachePadded, Once,
    Ordering::{Acquire, Relaxed, Release},
};

/// How many threads can have a slot at once.
pub(crate) const SLOTS: usize = 64;

/// The number of a slot, below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadSlot(u8);

impl ThreadSlot {
    #[inline]
    #[cfg(not(all(test, seawall_loom)))]
    fn of(number: u8) -> Option<Self> {
        (usize::from(number) < SLOTS).then_some(Self(number))
    }

    /// Below [`SLOTS`].
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0) % SLOTS
    }

    /// For machines under test, which play the threads themselves.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn numbered(number: u8) -> Self {
        Self(number)
    }
}

/// Which slots are taken.
struct Taken(AtomicU64);

impl Taken {
    /// The lowest free slot, so that numbers stay small.
    fn take(&self) -> Option<ThreadSlot> {
        let mut taken = self.0.load(Relaxed);
        loop {
            let free = taken.trailing_ones();
            if free as usize >= SLOTS {
                return None;
            }
            let next = taken | 1 << free;
            match (self.0).compare_exchange_weak(taken, next, Acquire, Relaxed) {
                Ok(_) => return Some(ThreadSlot(free as u8)),
                Err(now) => taken = now,
            }
        }
    }

    fn give_back(&self, slot: ThreadSlot) {
        self.0.fetch_and(!(1 << slot.index()), Release);
    }
}

#[cfg(not(all(test, seawall_loom)))]
pub(crate) use self::of_threads::current;

/// No model has threads that begin and end by themselves.
#[cfg(all(test, seawall_loom))]
pub(crate) fn current() -> Option<ThreadSlot> {
    None
}

#[cfg(not(all(test, seawall_loom)))]
mod of_threads {
    use std::cell::Cell;

    use super::{AtomicU64, Taken, ThreadSlot};

    static TAKEN: Taken = Taken(AtomicU64::new(0));

    /// In place of a number: the thread has not asked, or all were taken when it did.
    const UNKNOWN: u8 = u8::MAX;
    /// In place of a number: the thread is about to end and has given its slot back.
    const ENDED: u8 = UNKNOWN - 1;

    thread_local! {
        /// The number of its slot.
        static OWN: Cell<u8> = const { Cell::new(UNKNOWN) };
        static KEEPER: Keeper = const { Keeper };
    }

    /// Gives the slot back when its thread ends. Apart from `OWN`, because what has a drop is
    /// dearer to look at.
    struct Keeper;

    impl Drop for Keeper {
        fn drop(&mut self) {
            if let Some(slot) = ThreadSlot::of(OWN.replace(ENDED)) {
                TAKEN.give_back(slot);
            }
        }
    }

    /// The slot of this thread; none if too many threads live, or where it is about to end.
    #[inline]
    pub(crate) fn current() -> Option<ThreadSlot> {
        match OWN.get() {
            UNKNOWN => ask(),
            own => ThreadSlot::of(own),
        }
    }

    #[cold]
    fn ask() -> Option<ThreadSlot> {
        // Nobody would give it back.
        KEEPER.try_with(|_| ()).ok()?;
        let slot = TAKEN.take()?;
        OWN.set(slot.0);
        Some(slot)
    }
}

/// Words that no other thread writes, for every thread that has a [`ThreadSlot`]: on cache lines of its
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
    pub(crate) fn get(&self, slot: ThreadSlot, word: usize) -> Option<&T> {
        let line = match self.each {
            // By a jump too: most have one line each, and to multiply takes its time.
            1 => slot.index() % GROUP,
            _ => self.line_of_many(slot, word),
        };
        Some(&self.group(slot)?.get(line)?[word % LINE])
    }

    #[cold]
    fn line_of_many(&self, slot: ThreadSlot, word: usize) -> usize {
        slot.index() % GROUP * self.each + word / LINE
    }

    /// The words of the thread with this slot, if they are there and fill one line.
    #[inline]
    pub(crate) fn line(&self, slot: ThreadSlot) -> Option<&[T; LINE]> {
        Some(self.group(slot)?.get(slot.index() % GROUP)?)
    }

    #[inline]
    fn group(&self, slot: ThreadSlot) -> Option<&[Line<T>]> {
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
    pub(crate) fn make(&self, slot: ThreadSlot, word: impl Fn() -> T) {
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

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_slot_belongs_to_one_thread_and_goes_on_when_that_has_ended() {
        let taken = Taken(AtomicU64::new(0));
        let slots: Vec<_> = (0..SLOTS).map(|_| taken.take()).collect();
        assert!(
            slots
                .iter()
                .enumerate()
                .all(|(at, slot)| slot.map(ThreadSlot::index) == Some(at))
        );
        assert_eq!(taken.take(), None);
        taken.give_back(ThreadSlot(7));
        assert_eq!(taken.take(), Some(ThreadSlot(7)));
    }

    #[test]
    fn a_thread_keeps_its_slot_while_it_lives() {
        let mine = current();
        assert_eq!(current(), mine);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(current(), current());
                assert!(mine.is_none() || current() != mine);
            });
        });
        // Far more threads than slots, one after the other: each gives its own back.
        for _ in 0..3 * SLOTS {
            // Other tests have threads too.
            let patient = || {
                (0..1_000_000).find_map(|_| {
                    current().or_else(|| {
                        thread::yield_now();
                        None
                    })
                })
            };
            assert!(thread::spawn(patient).join().unwrap().is_some());
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom {
    use ::loom::thread;

    use super::*;
    use crate::sync::Arc;

    #[test]
    fn the_next_thread_of_a_slot_goes_on_where_the_last_one_ended() {
        ::loom::model(|| {
            let all = Arc::new((Taken(AtomicU64::new(!3)), [0, 1].map(|_| AtomicU64::new(0))));
            let run = || {
                let all = Arc::clone(&all);
                move || {
                    let Some(slot) = all.0.take() else {
                        return 0;
                    };
                    let own = &all.1[slot.index()];
                    own.store(own.load(Relaxed) + 1, Relaxed);
                    all.0.give_back(slot);
                    1
                }
            };
            let others = [thread::spawn(run()), thread::spawn(run())];
            let mine = run()();
            let written = others.into_iter().map(|other| other.join().unwrap());
            let written = written.sum::<u64>() + mine;
            let held: u64 = all.1.iter().map(|own| own.load(Relaxed)).sum();
            assert_eq!(held, written);
        });
    }
}
