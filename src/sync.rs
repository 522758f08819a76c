//! The one place that names atomics and locks, so that loom can stand in for both.
#![allow(clippy::disallowed_types)]

#[cfg(not(all(test, seawall_loom)))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;

    thread_local! {
        /// This thread's number; 0 before it has one.
        static SLOT: Cell<usize> = const { Cell::new(0) };
    }

    /// A number of this thread's own, counted up, so that threads which are begun together
    /// differ in its low bits.
    #[inline]
    pub(crate) fn thread_slot() -> usize {
        match SLOT.get() {
            0 => number(),
            slot => slot,
        }
    }

    #[cold]
    fn number() -> usize {
        // Nothing but itself: relaxed.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let slot = NEXT.fetch_add(1, Ordering::Relaxed).max(1);
        SLOT.set(slot);
        slot
    }

    /// A mutex that knows no poison: nothing of a user's runs inside a critical section, so a
    /// panic there leaves no half-made state behind.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

    /// The same for all threads: a model says itself which are to meet.
    pub(crate) fn thread_slot() -> usize {
        0
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use imp::{AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, thread_slot};
// Made once or counted only; no model turns on them.
pub(crate) use std::sync::{Arc, OnceLock, Weak};
