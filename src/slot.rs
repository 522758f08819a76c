//! A number for each thread, so that it may have words of its own among those that all share.
//!
//! # Orderings
//!
//! A thread that has a slot is the only one that writes what belongs to it, so it may do so with
//! plain loads and stores. The slot goes to another thread when it has ended: giving it back
//! releases what was written, taking it acquires that, so the next thread goes on from there
//! (model: `the_next_thread_of_a_slot_goes_on_where_the_last_one_ended`).

mod lines;

pub(crate) use lines::{Lines, SMALL};

use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// How many threads can have a slot at once.
pub(crate) const SLOTS: usize = 64;

/// The number of a slot, below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u8);

impl Slot {
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
    fn take(&self) -> Option<Slot> {
        let mut taken = self.0.load(Relaxed);
        loop {
            let free = taken.trailing_ones();
            if free as usize >= SLOTS {
                return None;
            }
            let next = taken | 1 << free;
            match (self.0).compare_exchange_weak(taken, next, Acquire, Relaxed) {
                Ok(_) => return Some(Slot(free as u8)),
                Err(now) => taken = now,
            }
        }
    }

    fn give_back(&self, slot: Slot) {
        self.0.fetch_and(!(1 << slot.index()), Release);
    }
}

#[cfg(not(all(test, seawall_loom)))]
pub(crate) use self::of_threads::current;

/// No model has threads that begin and end by themselves.
#[cfg(all(test, seawall_loom))]
pub(crate) fn current() -> Option<Slot> {
    None
}

#[cfg(not(all(test, seawall_loom)))]
mod of_threads {
    use std::cell::Cell;

    use super::{AtomicU64, Slot, Taken};

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
            if let Some(slot) = Slot::of(OWN.replace(ENDED)) {
                TAKEN.give_back(slot);
            }
        }
    }

    /// The slot of this thread; none if too many threads live, or where it is about to end.
    #[inline]
    pub(crate) fn current() -> Option<Slot> {
        match OWN.get() {
            UNKNOWN => ask(),
            own => Slot::of(own),
        }
    }

    #[cold]
    fn ask() -> Option<Slot> {
        // Nobody would give it back.
        KEEPER.try_with(|_| ()).ok()?;
        let slot = TAKEN.take()?;
        OWN.set(slot.0);
        Some(slot)
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
                .all(|(at, slot)| slot.map(Slot::index) == Some(at))
        );
        assert_eq!(taken.take(), None);
        taken.give_back(Slot(7));
        assert_eq!(taken.take(), Some(Slot(7)));
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
