use std::fmt;
use std::ops::Deref;

use crate::sync::{Arc, Mutex};

/// The template service, from which the service of each extra attempt is cloned, together with the
/// data that the calls share. A call clones one reference instead of all layers below.
pub(crate) struct Template<S, T>(Arc<Inner<S, T>>);

struct Inner<S, T> {
    shared: T,
    /// Locked only for an extra attempt, so that a service need not be `Sync`. The user's `clone`
    /// runs under this lock; it cannot reach this template.
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

    /// A template with other shared data. Calls under way keep the old one.
    #[cold]
    pub(crate) fn with_shared(&self, shared: T) -> Self
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
