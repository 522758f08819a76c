//! What a pattern implements so that its policy comes keyed.

use std::fmt;

use super::Key;
use crate::config::{ConfigError, Mode, PolicyKind};
use crate::event::EventKind;
use crate::rejection::Rejection;
#[cfg(feature = "serde")]
use crate::sync::Arc;

/// A policy that can be kept per key: [`RateLimiter`](crate::RateLimiter),
/// [`CircuitBreaker`](crate::CircuitBreaker), [`Bulkhead`](crate::Bulkhead),
/// [`Budget`](crate::Budget), [`Hedge`](crate::Hedge). Sealed.
pub trait PerKey: Clone + Send + Sync + 'static {
    /// Where the policies of all keys are kept.
    #[doc(hidden)]
    type Store<K: ?Sized + Key>: Store<K, Self>;

    /// The part of a shared policy that is one key's. `()` for a policy that is an object of its
    /// own for each key.
    #[doc(hidden)]
    type Entry: Copy;

    /// Whether the policy rejects calls.
    #[doc(hidden)]
    const REJECTS: bool;

    #[doc(hidden)]
    const KIND: PolicyKind;

    #[doc(hidden)]
    fn mode(&self) -> Mode;

    #[doc(hidden)]
    fn set_mode(&self, mode: Mode);

    /// A policy that is switched off, for requests that skip the policy.
    #[doc(hidden)]
    fn off() -> Result<Self, ConfigError>;

    /// Whether a [`Map`](super::map::Map) may evict it.
    #[doc(hidden)]
    fn idle(&self) -> Idle {
        Idle::No
    }

    /// A handle to one key's part of it.
    #[doc(hidden)]
    #[must_use]
    fn at(self, entry: Self::Entry) -> Self {
        let _ = entry;
        self
    }
}

/// What is lost if an entry is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idle {
    /// Nothing: it is as good as new.
    Fresh,
    /// Counts that decide nothing yet.
    WithHistory,
    /// It is in use, or holds a state that must not be lost.
    No,
}

/// What a policy gets from the settings of its keyed one.
#[cfg(feature = "serde")]
pub(crate) type Change<P> = Arc<dyn Fn(&P) -> Result<(), ConfigError> + Send + Sync>;

/// What each entry is given to: the text of its key, and its policy.
pub(super) type Each<'a, P> = dyn FnMut(&dyn Fn() -> Option<String>, &P) + 'a;

/// Keeps the policies of all keys. It cannot be named outside of the crate.
pub trait Store<K: ?Sized, P: PerKey>: Send + Sync + 'static {
    /// The policy of `key`, which gets one if it is new.
    fn pick(&self, hash: u64, key: &K) -> Picked<'_, P>;

    /// The number of entries.
    fn len(&self) -> usize;

    fn overflowed(&self) -> u64;

    /// Calls `f` with the policy of each entry, and with what its key shows of itself. Nothing for
    /// a store that keeps no keys.
    fn each(&self, f: &mut Each<'_, P>) {
        let _ = f;
    }

    /// The policy that new keys share while every entry is in use, if there is one.
    fn overflow(&self) -> Option<&P> {
        None
    }

    /// Sets the mode of all entries, and of those to come.
    fn set_mode(&self, mode: Mode);

    /// The policies that it has made, to be changed: those of all keys, `anonymous` and the overflow
    /// policy, unless they were built elsewhere. One that is under construction is constructed
    /// again.
    #[cfg(feature = "serde")]
    fn start_change(&self, anonymous: &P) -> Vec<P>;

    /// Changes each policy that it makes from now on. Its mode is what `change` makes of it, until
    /// another one is set.
    #[cfg(feature = "serde")]
    fn change_new(&self, change: Change<P>) {
        let _ = change;
    }

    /// Emits an event of all keys together.
    fn emit(&self, kind: EventKind<'_>);

    /// Emits or records the rejection of a request without a key, as `mode` says. Returns whether
    /// the request is rejected.
    fn rejects(&self, rejection: &Rejection, mode: Mode) -> bool;
}

/// The policy of one request.
#[non_exhaustive]
pub enum Picked<'a, P: PerKey> {
    /// A policy that is not the key's alone.
    Shared(&'a P),
    /// One key's part of a shared policy.
    #[doc(hidden)]
    Entry(&'a P, P::Entry),
    /// The policy of the key.
    Own(P),
}

impl<P: PerKey> Picked<'_, P> {
    /// The policy, and which part of it is the request's.
    #[inline]
    pub(crate) fn parts(&self) -> (&P, Option<P::Entry>) {
        match self {
            Self::Shared(policy) => (policy, None),
            Self::Entry(policy, entry) => (policy, Some(*entry)),
            Self::Own(policy) => (policy, None),
        }
    }

    /// A handle to the policy.
    #[inline]
    pub(crate) fn into_policy(self) -> P {
        match self {
            Self::Shared(policy) => policy.clone(),
            Self::Entry(policy, entry) => policy.clone().at(entry),
            Self::Own(policy) => policy,
        }
    }
}

impl<P: PerKey> fmt::Debug for Picked<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Picked(..)")
    }
}
