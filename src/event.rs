//! What the policies tell: one terminal event per admission, and the breaker's transitions.
//!
//! A listener is called on the thread whose call caused the event, after the machine has moved
//! and outside every critical section, so that it may call the policy itself. What it sees
//! there is the state after the event or a later one. A listener that panics harms nobody: the
//! panic ends with it. With no listener an event costs one relaxed load.
//!
//! A listener hears of the calls that begin after it was added. One that began before may end
//! without a word, so that what nobody listens to need not remember who would be told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::circuit_breaker::Transition;
use crate::classify::FailureKind;
use crate::config::{ConfigError, Name};
use crate::rejection::Rejection;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};

/// Something that a policy did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The policy's name.
    pub policy: &'a Name,
    /// What it did.
    pub kind: EventKind<'a>,
    /// In the terminal event of a policy that makes several attempts: how many were made.
    pub attempts: Option<u32>,
}

/// What a policy did.
///
/// Every admission ends in exactly one of `Ended` and `Rejected`, also when its future is
/// dropped and when the call panics.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// An admission came to its end.
    Ended {
        /// How.
        ending: Ending,
        /// From the admission to its end. For a limiter, what the caller waited.
        elapsed: Duration,
    },
    /// A call was refused, or cut short.
    Rejected(&'a Rejection),
    /// A call would have been refused, had the policy not been in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode. The call goes on, and ends with an event
    /// of its own.
    WouldReject(&'a Rejection),
    /// A key found no place of its own in a [keyed](crate::keyed) policy, because all that have
    /// one are in use: the overflow policy serves this call. Of a limiter: a key in debt lost its
    /// place to this call's, which starts with that debt.
    Overflow,
    /// The policy of this call's key could not be made: the overflow policy serves this call.
    ConstructionFailed(&'a ConfigError),
    /// A hedge makes an extra attempt.
    Hedging {
        /// Its number; the call's own is 1.
        attempt: u32,
        /// How long after the call.
        delay: Duration,
    },
    /// A hedge would have made an extra attempt, had it not been in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode.
    WouldHedge {
        /// Its number.
        attempt: u32,
        /// How long after the call.
        delay: Duration,
    },
    /// A circuit breaker moved.
    Transition(&'a Transition),
    /// A call failed and will be made again. It is still the one call, and ends with an event
    /// of its own.
    Retrying {
        /// The number of the attempt to come; the first attempt is 1.
        attempt: u32,
        /// How long it waits before.
        delay: Duration,
        /// How the last one failed.
        kind: FailureKind,
    },
    /// A call would have been made again, had the policy not been in
    /// [`RecordOnly`](crate::Mode::RecordOnly) mode. It ends here, with an event of its own.
    WouldRetry {
        /// The number that the attempt would have had.
        attempt: u32,
        /// How long it would have waited before.
        delay: Duration,
        /// How the last one failed.
        kind: FailureKind,
    },
}

/// How an admission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// A limiter let the call go; what became of it is not the limiter's concern.
    Admitted,
    /// The call came back, whatever it brought: within its timeout, or to leave its bulkhead.
    Completed,
    /// The call came back, and was classified as a success.
    Success,
    /// The call came back, and was classified as a failure.
    Failure(FailureKind),
    /// The call came back, and says nothing of the service's health.
    Ignored,
    /// The caller went away before the call came back, or while it waited.
    Dropped,
    /// The call panicked.
    Panicked,
}

type Listener = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// The listeners of one policy.
#[derive(Default)]
pub(crate) struct Listeners(Arc<Inner>);

impl Clone for Listeners {
    /// A copy for a policy made from the same builder: who is added to one later does not hear
    /// the other.
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
    /// Whether `list` holds anything. A hint, nothing but itself: relaxed. A listener added
    /// while an event is under way may miss that one.
    any: AtomicBool,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    entries: Vec<(u64, Listener)>,
}

impl Listeners {
    /// Whether anybody listens; where telling costs a clock reading, ask first.
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
        if self.any() {
            self.deliver(&Event {
                policy,
                kind,
                attempts: None,
            });
        }
    }

    /// Tells how a call ended that took so many attempts.
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
            // The panic was reported by the hook; a listener is not worth a request.
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

/// Keeps a listener on its policy; dropping it takes the listener off.
#[must_use = "a listener is taken off when its subscription is dropped; `.forever()` keeps it"]
pub struct Subscription {
    listeners: Weak<Inner>,
    id: u64,
}

impl Subscription {
    /// Leaves the listener on for as long as the policy lives.
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
            // The listener's own drop may do anything, so it runs outside the lock.
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
