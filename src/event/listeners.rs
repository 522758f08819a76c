use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::gate::Gate;
use super::{Event, EventKind, trace};
use crate::config::{Live, Name};
use crate::macros::debug_fields;
use crate::per_thread::{in_listener, is_in_listener};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Weak};

type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// One listener of one policy.
struct Entry {
    id: u64,
    gate: Gate,
    listener: Listener,
}

/// The listeners of one policy.
#[derive(Default)]
pub(crate) struct Listeners(Arc<Inner>);

impl Clone for Listeners {
    /// A copy for another policy made from the same builder. A listener that is added to one of
    /// them later does not receive the events of the other.
    fn clone(&self) -> Self {
        let copy = Self::default();
        for entry in self.0.list.load().iter() {
            copy.insert(Arc::clone(&entry.listener));
        }
        copy
    }
}

#[derive(Default)]
struct Inner {
    /// Whether `list` is not empty. Relaxed, because it publishes no other memory: a listener that
    /// is added during an event may miss that event.
    any: AtomicBool,
    /// Held while `any` is set.
    setting: Mutex<()>,
    /// The id of the next listener. Publishes nothing: relaxed.
    next: AtomicU64,
    /// An event reads it without a lock. One that has read it before a removal meets the gate of
    /// the listener that was removed.
    list: Live<Vec<Arc<Entry>>>,
}

impl Inner {
    /// Changes the list, and returns the previous one.
    fn change(&self, change: impl Fn(&mut Vec<Arc<Entry>>)) -> Arc<Vec<Arc<Entry>>> {
        let next = |list: &Vec<Arc<Entry>>| {
            let mut list = list.clone();
            change(&mut list);
            Ok::<_, Infallible>(list)
        };
        let Ok((before, _)) = self.list.change(next);
        // After two changes at once, what the later one has left.
        let _setting = self.setting.lock();
        self.any
            .store(!self.list.load().is_empty(), Ordering::Relaxed);
        before
    }
}

impl Listeners {
    /// Whether there is a listener. Check it before a clock is read for an event.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
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
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let gate = Gate::default();
        let entry = Arc::new(Entry { id, gate, listener });
        self.0.change(|list| list.push(Arc::clone(&entry)));
        id
    }

    /// Emits an event of a policy without a number of attempts.
    #[inline]
    pub(crate) fn emit(&self, policy: &Name, kind: EventKind<'_>) {
        trace::emit(policy, kind);
        self.deliver(&Event {
            policy,
            kind,
            attempts: None,
            key: None,
        });
    }

    /// Calls the listeners.
    #[inline]
    pub(crate) fn deliver(&self, event: &Event<'_>) {
        if self.any() {
            self.deliver_to_all(event);
        }
    }

    #[cold]
    fn deliver_to_all(&self, event: &Event<'_>) {
        for entry in self.0.list.load().iter() {
            let Some(_passing) = entry.gate.pass() else {
                continue;
            };
            // The panic hook has reported the panic. It must not fail the call.
            in_listener(|| drop(catch_unwind(AssertUnwindSafe(|| (entry.listener)(event)))));
        }
    }
}

debug_fields!(Listeners, this: any = this.any());

/// Keeps a listener on its policy. Dropping it removes the listener: once the drop has returned,
/// no call of the listener begins or runs. It blocks the thread while another thread is in the
/// listener.
///
/// Inside a listener, of any policy, the drop does not wait: two listeners that remove each other
/// would wait for ever. A call on another thread may then end after it.
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
            let before = inner.change(|list| list.retain(|entry| entry.id != self.id));
            // Outside the lock, because the listener's calls and its drop are the user's code.
            if let Some(entry) = before.iter().find(|entry| entry.id == self.id) {
                entry.gate.remove();
                // Inside a listener it would wait for itself, or for one that waits for it.
                if !is_in_listener() {
                    entry.gate.wait();
                }
            }
        }
    }
}

debug_fields!(Subscription, this: id = this.id);

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::Listeners;
    use crate::config::Name;
    use crate::event::{Ending, EventKind, Subscription};
    use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

    fn emit(listeners: &Listeners) {
        let (ending, elapsed) = (Ending::Admitted, std::time::Duration::ZERO);
        listeners.emit(&Name::from("policy"), EventKind::Ended { ending, elapsed });
    }

    #[test]
    fn cx14_a_listener_neither_runs_nor_starts_once_its_subscription_is_dropped() {
        let listeners = Listeners::default();
        let (stopped, called) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
        let late = Arc::new(AtomicU64::new(0));
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    while !stopped.load(Ordering::Relaxed) {
                        emit(&listeners);
                    }
                });
            }
            start.wait();
            for _ in 0..500 {
                let dropped = Arc::new(AtomicBool::new(false));
                let (seen, called, late) =
                    (Arc::clone(&dropped), Arc::clone(&called), Arc::clone(&late));
                let subscription = listeners.add(move |_| {
                    called.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    late.fetch_add(u64::from(seen.load(Ordering::SeqCst)), Ordering::Relaxed);
                });
                thread::yield_now();
                drop(subscription);
                dropped.store(true, Ordering::SeqCst);
            }
            stopped.store(true, Ordering::Relaxed);
        });
        assert_eq!(late.load(Ordering::Relaxed), 0);
        assert!(called.load(Ordering::Relaxed) > 0);
    }

    // Each waits at the barrier for the other to run.
    #[test]
    fn cx14_listeners_that_remove_themselves_or_each_other_end() {
        let both = Arc::new([Listeners::default(), Listeners::default()]);
        let subscriptions = Arc::new(Mutex::new([None::<Subscription>, None]));
        let running = Arc::new(Barrier::new(2));
        for (own, other) in [(0, 1), (1, 0)] {
            let (kept, running) = (Arc::clone(&subscriptions), Arc::clone(&running));
            let subscription = both[own].add(move |_| {
                running.wait();
                let removed = kept.lock()[other].take();
                drop(removed);
            });
            subscriptions.lock()[own] = Some(subscription);
        }
        thread::scope(|scope| {
            for listeners in &*both {
                scope.spawn(|| emit(listeners));
            }
        });
        assert!(both.iter().all(|listeners| !listeners.any()));

        let own = Listeners::default();
        let kept = Arc::new(Mutex::new(None::<Subscription>));
        let to = Arc::clone(&kept);
        let subscription = own.add(move |_| drop(to.lock().take()));
        *kept.lock() = Some(subscription);
        emit(&own);
        assert!(!own.any());
    }
}
