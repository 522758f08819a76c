//! The one place that names atomics and locks, so that loom can stand in for both.
#![allow(clippy::disallowed_types)]

#[cfg(not(all(test, seawall_loom)))]
mod imp {
    /// A value made by whoever needs it first, and seen by others only after that.
    pub(crate) use std::sync::OnceLock as Once;
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

    /// Std's, whose order loom does not see: with an order that it does.
    #[derive(Debug)]
    pub(crate) struct Once<T> {
        ready: AtomicBool,
        making: loom::sync::Mutex<()>,
        value: std::sync::OnceLock<T>,
    }

    impl<T> Once<T> {
        pub(crate) fn new() -> Self {
            Self {
                ready: AtomicBool::new(false),
                making: loom::sync::Mutex::new(()),
                value: std::sync::OnceLock::new(),
            }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.value
                .get()
                .filter(|_| self.ready.load(Ordering::Acquire))
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let _making = self.making.lock();
            let value = self.value.get_or_init(make);
            self.ready.store(true, Ordering::Release);
            value
        }
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
pub(crate) use imp::{AtomicBool, AtomicU8, AtomicU64, Mutex, Once, Ordering, thread_slot};
// Made once or counted only; no model turns on them.
pub(crate) use std::sync::{Arc, OnceLock, Weak};
