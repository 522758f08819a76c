use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "tracing")]
use super::trace;
use super::{Event, EventKind};
use crate::config::Name;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};

type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// The listeners of one policy.
#[derive(Default)]
pub(crate) struct Listeners(Arc<Inner>);

impl Clone for Listeners {
    /// A copy for another policy made from the same builder. A listener that is added to one of
    /// them later does not receive the events of the other.
    fn clone(&self) -> Self {
        let copy = Self::default();
        for listener in self.listed() {
            copy.insert(listener);
        }
        copy
    }
}

#[derive(Default)]
struct Inner {
    /// Whether `list` is not empty. Relaxed, because it publishes no other memory: a listener that
    /// is added during an event may miss that event.
    any: AtomicBool,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    entries: Vec<(u64, Listener)>,
}

impl Listeners {
    /// Whether there is a listener. Check it before a clock is read for an event.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Whether a rejection would reach a listener or `tracing`. Check it before a rejection is made
    /// only for an event.
    #[inline]
    pub(crate) fn observes_rejections(&self) -> bool {
        #[cfg(feature = "tracing")]
        if trace::observes_rejections() {
            return true;
        }
        self.any()
    }

    pub(crate) fn add(
        &self,
        listener: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Subscription {
        Subscription {
            id: self.insert(Arc::new(listener)),
            listeners: Arc::downgrade(&self.0),
        }
    }

    fn insert(&self, listener: Listener) -> u64 {
        let mut list = self.0.list.lock();
        let id = list.next;
        list.next += 1;
        list.entries.push((id, listener));
        self.0.any.store(true, Ordering::Relaxed);
        id
    }

    fn listed(&self) -> Vec<Listener> {
        let list = self.0.list.lock();
        list.entries.iter().map(|(_, l)| Arc::clone(l)).collect()
    }

    #[inline]
    pub(crate) fn emit(&self, policy: &Name, kind: EventKind<'_>) {
        #[cfg(feature = "tracing")]
        trace::emit(policy, kind);
        if self.any() {
            self.deliver(&Event {
                policy,
                kind,
                attempts: None,
            });
        }
    }

    /// Emits the terminal event of a call that took several attempts.
    #[cfg(feature = "tokio")]
    pub(crate) fn emit_after(&self, policy: &Name, kind: EventKind<'_>, attempts: u32) {
        if self.any() {
            self.deliver(&Event {
                policy,
                kind,
                attempts: Some(attempts),
            });
        }
    }

    #[cold]
    fn deliver(&self, event: &Event<'_>) {
        for listener in self.listed() {
            // The panic hook has reported the panic. It must not fail the call.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(event)));
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("any", &self.any())
            .finish_non_exhaustive()
    }
}

/// Keeps a listener on its policy. Dropping it removes the listener.
#[must_use = "dropping a subscription removes its listener; `.forever()` keeps it"]
pub struct Subscription {
    listeners: Weak<Inner>,
    id: u64,
}

impl Subscription {
    /// Keeps the listener for as long as the policy lives.
    pub fn forever(mut self) {
        self.listeners = Weak::new();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(inner) = self.listeners.upgrade() {
            let removed = {
                let mut list = inner.list.lock();
                let at = list.entries.iter().position(|(id, _)| *id == self.id);
                let removed = at.map(|at| list.entries.remove(at));
                inner.any.store(!list.entries.is_empty(), Ordering::Relaxed);
                removed
            };
            // Dropped outside the lock, because the listener's drop is the user's code.
            drop(removed);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
