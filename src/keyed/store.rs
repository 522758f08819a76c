//! Where the policies of all keys are kept.

use std::borrow::Borrow;

use super::Key;
use super::map::{Inserted, Map};
#[cfg(feature = "serde")]
use super::per_key::Change;
use super::per_key::{Each, PerKey, Picked, Store};
use crate::common::Group;
use crate::config::{ConfigError, Mode, Name};
use crate::counters::Count;
use crate::event::{Event, EventKind, Listeners};
use crate::rejection::Rejection;
#[cfg(feature = "serde")]
use crate::sync::Mutex;
use crate::sync::{Arc, AtomicU8, AtomicU64, Ordering};

pub(super) type Make<K, P> = Box<dyn Fn(&K) -> Result<P, ConfigError> + Send + Sync>;

/// Policies that are objects of their own for each key.
pub struct Policies<K: ?Sized + Key, P: PerKey> {
    pub(super) name: Name,
    pub(super) map: Map<K::Owned, P>,
    pub(super) make: Make<K, P>,
    pub(super) overflow: P,
    pub(super) listeners: Listeners,
    pub(super) group: Arc<Group>,
    /// Whether events carry the text of the key.
    pub(super) shows_keys: bool,
    /// The mode that all policies were given, or [`NOT_SET`]. Relaxed: the map's version says
    /// whether a policy was constructed before a change.
    pub(super) mode: AtomicU8,
    /// Publishes nothing: relaxed.
    pub(super) overflowed: AtomicU64,
    /// Changes each policy after `make`. The map's version says whether one was constructed before
    /// it came.
    #[cfg(feature = "serde")]
    pub(super) change: Mutex<Option<Change<P>>>,
    /// Whether the anonymous and the overflow policy were constructed by `make`.
    #[cfg(feature = "serde")]
    pub(super) has_made: (bool, bool),
}

/// No mode.
pub(super) const NOT_SET: u8 = u8::MAX;

impl<K: ?Sized + Key, P: PerKey> Policies<K, P> {
    fn emit(&self, kind: EventKind<'_>) {
        self.listeners.emit(&self.name, kind);
        self.group.listeners.deliver(&Event {
            policy: &self.name,
            kind,
            attempts: None,
            key: None,
        });
    }

    /// Forgets the section of settings that was applied to it. Whether one gave the mode of new
    /// policies.
    #[cfg(feature = "tower")]
    pub(super) fn forget_section(&self) -> bool {
        #[cfg(feature = "serde")]
        {
            let section = self.change.lock().take();
            section.is_some() && self.mode.load(Ordering::Relaxed) == NOT_SET
        }
        #[cfg(not(feature = "serde"))]
        false
    }

    /// Constructs a policy as it is now configured.
    fn make(&self, key: &K) -> Result<P, ConfigError> {
        let policy = (self.make)(key)?;
        #[cfg(feature = "serde")]
        {
            let change = self.change.lock().clone();
            change.map_or(Ok(()), |change| change(&policy))?;
        }
        Ok(policy)
    }

    /// Constructs the policy of a new key.
    #[cold]
    fn insert(&self, hash: u64, key: &K) -> P {
        let failure = loop {
            let version = self.map.version();
            let shown = self.shows_keys.then(|| key.text()).flatten();
            let policy = match self.group.make_for(shown, || self.make(key)) {
                Ok(policy) => policy,
                Err(error) => break Some(error),
            };
            let mode = self.mode.load(Ordering::Relaxed);
            if mode != NOT_SET {
                policy.set_mode(Mode::from_bits(mode.into()));
            }
            match self.map.insert(hash, key, policy, version, P::idle) {
                Inserted::Entry(policy) => return policy,
                Inserted::Outdated => {}
                Inserted::Full => break None,
            }
        };
        let event = match &failure {
            Some(error) => EventKind::ConstructionFailed(error),
            None => EventKind::Overflow,
        };
        self.emit(event);
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        self.overflow.clone()
    }
}

impl<K: ?Sized + Key, P: PerKey> Store<K, P> for Policies<K, P> {
    fn pick(&self, hash: u64, key: &K) -> Picked<'_, P> {
        let found = self.map.find(hash, key);
        Picked::Own(found.unwrap_or_else(|| self.insert(hash, key)))
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    fn each(&self, f: &mut Each<'_, P>) {
        self.map
            .each(|key, policy| f(&|| key.borrow().text(), policy));
    }

    fn overflow(&self) -> Option<&P> {
        Some(&self.overflow)
    }

    fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
        self.overflow.set_mode(mode);
        let policies = self.map.start_change();
        policies.iter().for_each(|policy| policy.set_mode(mode));
    }

    #[cfg(feature = "serde")]
    fn start_change(&self, anonymous: &P) -> Vec<P> {
        let (has_anonymous, has_overflow) = self.has_made;
        let anonymous = has_anonymous.then_some(anonymous).into_iter();
        let overflow = has_overflow.then_some(&self.overflow);
        let mut policies: Vec<P> = anonymous.chain(overflow).cloned().collect();
        policies.extend(self.map.start_change());
        policies
    }

    #[cfg(feature = "serde")]
    fn change_new(&self, change: Change<P>) {
        *self.change.lock() = Some(change);
        self.mode.store(NOT_SET, Ordering::Relaxed);
    }

    fn emit(&self, kind: EventKind<'_>) {
        self.emit(kind);
    }

    fn rejects(&self, rejection: &Rejection, mode: Mode) -> bool {
        let (event, rejects) = match mode {
            Mode::Enforce => (EventKind::Rejected(rejection), true),
            Mode::RecordOnly => (EventKind::WouldReject(rejection), false),
            Mode::Off => return false,
        };
        self.group.cells.count(match rejects {
            true => Count::rejected(&rejection.kind()),
            false => Count::would_reject(&rejection.kind()),
        });
        self.emit(event);
        rejects
    }
}
