//! Policies by number: what is carried by every call and needed by few is a number, because a
//! handle would count a reference for each of them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::sync::{Arc, Mutex, OnceLock, Weak};

/// Which policy of its kind it is; no two of a kind in the life of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyId(NonZeroU64);

/// All policies of one kind that somebody has. Locked when one is made and dropped, and when one
/// is looked up.
pub(crate) struct Registry<T>(OnceLock<Mutex<Table<T>>>);

struct Table<T> {
    made: u64,
    policies: BTreeMap<PolicyId, Weak<T>>,
}

impl<T> Registry<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn table(&self) -> &Mutex<Table<T>> {
        self.0.get_or_init(|| {
            Mutex::new(Table {
                made: 0,
                policies: BTreeMap::new(),
            })
        })
    }

    /// Adds what is made with a number of its own. Its drop has to [`remove`](Self::remove) it.
    pub(crate) fn add(&self, make: impl FnOnce(PolicyId) -> T) -> Arc<T> {
        let mut table = self.table().lock();
        table.made += 1;
        let number = PolicyId(NonZeroU64::new(table.made).expect("counted up from zero"));
        let policy = Arc::new(make(number));
        table.policies.insert(number, Arc::downgrade(&policy));
        policy
    }

    /// The policy, if anybody still has it.
    pub(crate) fn find(&self, number: PolicyId) -> Option<Arc<T>> {
        // Nothing is dropped under the lock: the last reference may be this one, and its drop
        // locks again.
        let table = self.table().lock();
        table.policies.get(&number).and_then(Weak::upgrade)
    }

    pub(crate) fn remove(&self, number: PolicyId) {
        self.table().lock().policies.remove(&number);
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{PolicyId, Registry};
    use crate::sync::Arc;

    struct Policy(PolicyId);

    static REGISTRY: Registry<Policy> = Registry::new();

    impl Drop for Policy {
        fn drop(&mut self) {
            REGISTRY.remove(self.0);
        }
    }

    #[test]
    fn a_policy_is_known_for_as_long_as_somebody_has_it() {
        let policy = REGISTRY.add(Policy);
        let (number, clone) = (policy.0, Arc::clone(&policy));
        assert_ne!(REGISTRY.add(Policy).0, number);
        drop(policy);
        assert!(REGISTRY.find(number).is_some_and(|found| found.0 == number));
        drop(clone);
        assert!(REGISTRY.find(number).is_none());
        assert!(REGISTRY.table().lock().policies.is_empty());
    }
}
