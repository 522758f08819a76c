//! Where the policies of all keys are kept.

use super::Key;
use super::map::{Inserted, Map};
use super::per_key::{PerKey, Picked, Store};
use crate::config::{ConfigError, Mode, Name};
use crate::event::{EventKind, Listeners};
use crate::rejection::Rejection;
use crate::sync::{AtomicU64, Ordering};

pub(super) type Make<K, P> = Box<dyn Fn(&K) -> Result<P, ConfigError> + Send + Sync>;

/// Policies that are objects of their own for each key.
pub struct Policies<K: ?Sized + Key, P: PerKey> {
    pub(super) name: Name,
    pub(super) map: Map<K::Owned, P>,
    pub(super) make: Make<K, P>,
    pub(super) overflow: P,
    pub(super) listeners: Listeners,
    /// Publishes nothing: relaxed.
    pub(super) overflowed: AtomicU64,
}

impl<K: ?Sized + Key, P: PerKey> Policies<K, P> {
    /// Constructs the policy of a new key.
    #[cold]
    fn insert(&self, hash: u64, key: &K) -> P {
        let failure = loop {
            let version = self.map.version();
            let policy = match (self.make)(key) {
                Ok(policy) => policy,
                Err(error) => break Some(error),
            };
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
        self.listeners.emit(&self.name, event);
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

    fn emit(&self, kind: EventKind<'_>) {
        self.listeners.emit(&self.name, kind);
    }

    fn rejects(&self, rejection: &Rejection, mode: Mode) -> bool {
        let (event, rejects) = match mode {
            Mode::Enforce => (EventKind::Rejected(rejection), true),
            Mode::RecordOnly => (EventKind::WouldReject(rejection), false),
            Mode::Off => return false,
        };
        self.listeners.emit(&self.name, event);
        rejects
    }
}
