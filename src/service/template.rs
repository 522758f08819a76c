//! What a layer keeps that makes extra attempts.

use std::fmt;
use std::ops::Deref;

use crate::sync::{Arc, Mutex};

/// A service of which nothing is asked but clones, and what is shared by the calls that may need
/// one: all behind one reference, which is what a call clones in place of the stack below.
pub(crate) struct Template<S, T>(Arc<Inner<S, T>>);

struct Inner<S, T> {
    shared: T,
    /// Locked only for an extra attempt, and so that a service need not be `Sync`. Its `clone`
    /// is the one code of a user's that runs under a lock here; it cannot reach this one again.
    service: Mutex<S>,
}

impl<S, T> Template<S, T> {
    pub(crate) fn new(service: S, shared: T) -> Self {
        let service = Mutex::new(service);
        Self(Arc::new(Inner { shared, service }))
    }

    /// A service for one extra attempt. It has to be polled until it is ready.
    pub(crate) fn service(&self) -> S
    where
        S: Clone,
    {
        self.0.service.lock().clone()
    }

    /// A spare for calls that share something new. Those under way keep what they have.
    #[cold]
    pub(crate) fn sharing(&self, shared: T) -> Self
    where
        S: Clone,
    {
        Self::new(self.service(), shared)
    }
}

impl<S, T> Deref for Template<S, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.shared
    }
}

impl<S, T> Clone for Template<S, T> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, T: fmt::Debug> fmt::Debug for Template<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.shared, f)
    }
}
