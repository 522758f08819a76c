//! A keyed policy as one that the registry lists.

use std::any::Any;

use super::erased::Erased;
#[cfg(feature = "serde")]
use super::per_key::Change;
use super::per_key::{Each, Idle, PerKey, Store};
use super::policy::Shared;
use super::{Key, Keyed};
use crate::common::Group;
#[cfg(feature = "serde")]
use crate::config::ConfigError;
use crate::config::{Mode, Name, PolicyKind};
use crate::sync::{Arc, Ordering};

impl<K: ?Sized + Key, P: PerKey> Erased for Shared<K, P> {
    fn handle(self: Arc<Self>) -> Box<dyn Any> {
        Box::new(Keyed::<K, P>::from_shared(self))
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn kind(&self) -> PolicyKind {
        P::KIND
    }

    fn group(&self) -> &Arc<Group> {
        &self.group
    }

    fn mode(&self) -> Mode {
        self.anonymous.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.anonymous.set_mode(mode);
        self.store.set_mode(mode);
    }

    #[cfg(feature = "serde")]
    fn change(&self, change: &Change<dyn Any>) -> Result<(), ConfigError> {
        let policies = self.store.start_change(&self.anonymous);
        let changes = policies
            .iter()
            .map(|policy| self.group.make(|| change(policy)));
        changes.collect()
    }

    #[cfg(feature = "serde")]
    fn change_new(&self, change: Change<dyn Any>) {
        let change: Change<P> = Arc::new(move |policy| change(policy));
        self.store.change_new(change);
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn len(&self) -> usize {
        self.store.len()
    }

    fn overflowed(&self) -> u64 {
        self.store.overflowed()
    }

    fn keyless(&self) -> u64 {
        self.keyless.load(Ordering::Relaxed)
    }

    fn anonymous(&self) -> &dyn Any {
        &self.anonymous
    }

    fn overflow(&self) -> Option<&dyn Any> {
        let overflow: &dyn Any = self.store.overflow()?;
        Some(overflow)
    }

    fn shared_in_use(&self) -> [Option<&dyn Any>; 2] {
        let in_use = |policy, calls| {
            let policy: Option<&P> = policy;
            let used = policy.filter(|policy| calls > 0 || policy.idle() != Idle::Fresh)?;
            Some(used as &dyn Any)
        };
        let anonymous = in_use(Some(&self.anonymous), self.keyless());
        [anonymous, in_use(self.store.overflow(), self.overflowed())]
    }

    fn each(&self, f: &mut Each<'_, dyn Any>) {
        self.store.each(&mut |key, policy| f(key, policy));
    }
}
