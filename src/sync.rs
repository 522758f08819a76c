//! The one place that names atomics and locks, so that loom can stand in for both.
#![allow(clippy::disallowed_types)]

#[cfg(not(all(test, seawall_loom)))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

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
pub(crate) use imp::{AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering};
// Made once or counted only; no model turns on them.
pub(crate) use std::sync::{Arc, OnceLock, Weak};
