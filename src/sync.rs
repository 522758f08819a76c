//! The one file that names atomics and locks, so that models replace them by loom's.
#![allow(clippy::disallowed_types)]

#[cfg(not(all(test, seawall_loom)))]
mod imp {
    /// A value that is made on first use, and visible to others after that.
    pub(crate) use std::sync::OnceLock as Once;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

    /// A mutex without poisoning: no user code runs inside a critical section, so no panic there
    /// leaves a broken state.
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

    /// A condition variable for [`Mutex`].
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(std::sync::Condvar);

    impl Condvar {
        pub(crate) fn wait<'a, T>(
            &self,
            guard: std::sync::MutexGuard<'a, T>,
        ) -> std::sync::MutexGuard<'a, T> {
            let woken = self.0.wait(guard);
            woken.unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod imp {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

    /// Std's, with a memory ordering that loom sees.
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

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn wait<'a, T>(
            &self,
            guard: loom::sync::MutexGuard<'a, T>,
        ) -> loom::sync::MutexGuard<'a, T> {
            let woken = self.0.wait(guard);
            woken.unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use imp::{AtomicBool, AtomicU8, AtomicU64, Condvar, Mutex, Once, Ordering, fence};
// For statics: loom's exist only inside of a model.
#[allow(unused_imports)]
pub(crate) use std::sync::atomic::{AtomicBool as StaticBool, AtomicU64 as StaticU64};
// No model depends on their memory ordering.
pub(crate) use std::sync::{Arc, OnceLock, Weak};
