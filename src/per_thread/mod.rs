//! A number for each thread, and words that only this thread writes.
//!
//! # Memory ordering
//!
//! Only the thread that has a slot writes the words of that slot, so it may use plain loads and
//! stores. When a thread ends, another one takes its slot. Giving the slot back is a Release and
//! taking it an Acquire, so the next thread continues from what the last one wrote
//! (model: `the_next_thread_of_a_slot_continues_from_the_last_one`).

#[cfg(all(feature = "http", feature = "tower"))]
mod kept;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::any::Any;
use std::cell::{Cell, RefCell};

use crate::sync::{
    Arc, AtomicU64, CachePadded, Once,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(all(feature = "http", feature = "tower"))]
pub(crate) use kept::{Kept, kept};

thread_local! {
    /// How many listeners run on this thread, one inside another.
    static LISTENERS: Cell<u32> = const { Cell::new(0) };
    /// The group that the policies made on this thread belong to.
    static GROUP_MADE: RefCell<Option<Group>> = const { RefCell::new(None) };
}

type Group = Arc<dyn Any + Send + Sync>;

/// Runs `make`, which makes policies of this group.
pub(crate) fn in_group<T>(group: Group, make: impl FnOnce() -> T) -> T {
    struct Restore(Option<Group>);

    impl Drop for Restore {
        fn drop(&mut self) {
            let group = GROUP_MADE.replace(self.0.take());
            drop(group);
        }
    }

    let _restore = Restore(GROUP_MADE.replace(Some(group)));
    make()
}

/// Whether the policies made on this thread belong to a group.
pub(crate) fn is_in_group() -> bool {
    GROUP_MADE.with_borrow(Option::is_some)
}

/// The group that the policies made on this thread belong to, if it is a `T`.
pub(crate) fn group<T: Send + Sync + 'static>() -> Option<Arc<T>> {
    let group = GROUP_MADE.with_borrow(Option::clone);
    group?.downcast().ok()
}

/// Runs a listener, which does not panic.
pub(crate) fn in_listener(call: impl FnOnce()) {
    LISTENERS.set(LISTENERS.get() + 1);
    call();
    LISTENERS.set(LISTENERS.get() - 1);
}

/// Whether this thread is in a listener.
pub(crate) fn is_in_listener() -> bool {
    LISTENERS.get() > 0
}

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

    /// For tests of machines, which play the threads themselves.
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
pub(crate) use self::threads::{current, stripe, taken};

/// The threads of a model take no slots by themselves.
#[cfg(all(test, seawall_loom))]
pub(crate) fn current() -> Option<ThreadSlot> {
    None
}

#[cfg(all(test, seawall_loom))]
pub(crate) fn taken() -> Option<ThreadSlot> {
    None
}

/// The same for all threads of a model, so that they meet.
#[cfg(all(test, seawall_loom))]
pub(crate) fn stripe() -> usize {
    0
}

#[cfg(not(all(test, seawall_loom)))]
mod threads {
    use std::cell::Cell;

    use super::{AtomicU64, Taken, ThreadSlot};

    static TAKEN: Taken = Taken(AtomicU64::new(0));

    /// Instead of a number: the thread has no slot yet, or all were taken when it needed one.
    const NONE: u8 = u8::MAX;
    /// Instead of a number: the thread is about to end and has given its slot back.
    const ENDED: u8 = NONE - 1;

    thread_local! {
        /// The number of this thread's slot.
        static OWN: Cell<u8> = const { Cell::new(NONE) };
        static KEEPER: Keeper = const { Keeper };
    }

    /// Gives the slot back when its thread ends. It is not in `OWN`, because a thread-local with a
    /// drop is slower to read.
    struct Keeper;

    impl Drop for Keeper {
        fn drop(&mut self) {
            if let Some(slot) = ThreadSlot::of(OWN.replace(ENDED)) {
                TAKEN.give_back(slot);
            }
        }
    }

    /// The slot of this thread. None if too many threads are alive, or this one is about to end.
    #[inline]
    pub(crate) fn current() -> Option<ThreadSlot> {
        match taken() {
            None => take(),
            slot => slot,
        }
    }

    /// The same for a thread that has its slot already; otherwise call [`current`].
    #[inline]
    pub(crate) fn taken() -> Option<ThreadSlot> {
        ThreadSlot::of(OWN.get())
    }

    #[cold]
    fn take() -> Option<ThreadSlot> {
        if OWN.get() == ENDED {
            return None;
        }
        // Without a keeper it would never be given back.
        KEEPER.try_with(|_| ()).ok()?;
        let slot = TAKEN.take()?;
        OWN.set(slot.0);
        Some(slot)
    }

    /// A number that spreads threads over stripes that they share: by its low bits, threads that
    /// are alive together differ.
    #[inline]
    pub(crate) fn stripe() -> usize {
        match taken() {
            Some(slot) => slot.index(),
            None => new_stripe(),
        }
    }

    /// For a thread that gets no slot: the hash of an address that is its own.
    #[cold]
    fn new_stripe() -> usize {
        if let Some(slot) = take() {
            return slot.index();
        }
        let address = OWN.with(|own| std::ptr::from_ref(own).addr() as u64);
        (address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize
    }
}

/// Words that no other thread writes, for each thread that has a [`ThreadSlot`], in cache lines of
/// their own. They are allocated for a few threads at a time, when the first of these needs them.
#[derive(Debug)]
pub(crate) struct PerThread<T> {
    /// How many cache lines the words of one thread fill.
    cache_lines: usize,
    /// The cache lines of a few threads each, in the order of their slots. So only one pointer is
    /// on the path to a word, which a call waits for.
    groups: [Once<Box<[CacheLine<T>]>>; GROUPS],
}

type CacheLine<T> = CachePadded<[T; WORDS]>;

/// The words in the two cache lines that processors fetch together.
pub(crate) const WORDS: usize = if SMALL { 2 } else { 16 };

const GROUP: usize = if SMALL { 2 } else { 16 };
const GROUPS: usize = if SMALL { 1 } else { SLOTS / GROUP };

/// For models, which try every order of all accesses.
pub(crate) const SMALL: bool = cfg!(all(test, seawall_loom));

impl<T> PerThread<T> {
    /// With `words` words for each thread.
    pub(crate) fn new(words: usize) -> Self {
        Self {
            cache_lines: words.div_ceil(WORDS),
            groups: std::array::from_fn(|_| Once::new()),
        }
    }

    /// A word of the thread with this slot, if it is allocated.
    #[inline]
    pub(crate) fn get(&self, slot: ThreadSlot, word: usize) -> Option<&T> {
        let at = match self.cache_lines {
            // Most have one cache line each. A branch is faster than the multiplication.
            1 => slot.index() % GROUP,
            each => slot.index() % GROUP * each + word / WORDS,
        };
        Some(&self.group(slot)?.get(at)?[word % WORDS])
    }

    /// All words of the thread with this slot, if they are allocated and fill one cache line.
    #[inline]
    pub(crate) fn words(&self, slot: ThreadSlot) -> Option<&[T; WORDS]> {
        Some(self.group(slot)?.get(slot.index() % GROUP)?)
    }

    #[inline]
    fn group(&self, slot: ThreadSlot) -> Option<&[CacheLine<T>]> {
        match slot.index() / GROUP {
            // By a branch, so that the path to the words does not wait for the slot.
            0 => Some(self.groups[0].get()?),
            later => self.later_group(later),
        }
    }

    #[cold]
    #[inline(never)]
    fn later_group(&self, number: usize) -> Option<&[CacheLine<T>]> {
        Some(self.groups.get(number)?.get()?)
    }

    /// Allocates the words of this slot, and those of a few others.
    pub(crate) fn make(&self, slot: ThreadSlot, word: impl Fn() -> T) {
        let words = || CachePadded::new(std::array::from_fn(|_| word()));
        if let Some(group) = self.groups.get(slot.index() / GROUP) {
            group.get_or_init(|| (0..GROUP * self.cache_lines).map(|_| words()).collect());
        }
    }

    /// The words of each thread that has some.
    pub(crate) fn each(&self) -> impl Iterator<Item = impl Iterator<Item = &T>> {
        let groups = self.groups.iter().filter_map(Once::get);
        let threads = groups.flat_map(|group| group.chunks(self.cache_lines));
        threads.map(|words| words.iter().flat_map(|few| few.iter()))
    }

    /// All words that are allocated.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let groups = self.groups.iter().filter_map(Once::get).flatten();
        groups.flat_map(|words| words.iter())
    }

    /// The first word of each slot that has words, by the slot's number.
    pub(crate) fn first_words(&self) -> impl Iterator<Item = (usize, &T)> {
        let groups = self.groups.iter().enumerate();
        let made = groups.filter_map(|(number, group)| Some((number * GROUP, group.get()?)));
        made.flat_map(|(from, group)| {
            let firsts = group.iter().step_by(self.cache_lines);
            (from..).zip(firsts.map(|words| &words[0]))
        })
    }
}
