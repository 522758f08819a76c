//! Policies by id. A call context carries the id, because most calls do not need the policy and a
//! handle would count a reference for each of them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::sync::{Arc, Mutex, OnceLock, Weak};

/// The id of a policy of one kind. It is not used again in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyId(NonZeroU64);

/// All policies of one kind that have a handle. Adding, finding and removing one takes a lock.
pub(crate) struct Registry<T>(OnceLock<Mutex<Table<T>>>);

struct Table<T> {
    last_id: u64,
    policies: BTreeMap<PolicyId, Weak<T>>,
}

impl<T> Registry<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn table(&self) -> &Mutex<Table<T>> {
        self.0.get_or_init(|| {
            Mutex::new(Table {
                last_id: 0,
                policies: BTreeMap::new(),
            })
        })
    }

    /// Adds a policy that is made with its id. Its drop has to [`remove`](Self::remove) it.
    pub(crate) fn add(&self, make: impl FnOnce(PolicyId) -> T) -> Arc<T> {
        let mut table = self.table().lock();
        table.last_id += 1;
        let id = PolicyId(NonZeroU64::new(table.last_id).expect("counted up from zero"));
        let policy = Arc::new(make(id));
        table.policies.insert(id, Arc::downgrade(&policy));
        policy
    }

    /// The policy, if it still has a handle.
    pub(crate) fn find(&self, id: PolicyId) -> Option<Arc<T>> {
        // The handle is dropped outside the lock: it may be the last one, and its drop takes the
        // lock again.
        let table = self.table().lock();
        table.policies.get(&id).and_then(Weak::upgrade)
    }

    pub(crate) fn remove(&self, id: PolicyId) {
        self.table().lock().policies.remove(&id);
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
    fn a_policy_is_found_for_as_long_as_it_has_a_handle() {
        let policy = REGISTRY.add(Policy);
        let (id, clone) = (policy.0, Arc::clone(&policy));
        assert_ne!(REGISTRY.add(Policy).0, id);
        drop(policy);
        assert!(REGISTRY.find(id).is_some_and(|found| found.0 == id));
        drop(clone);
        assert!(REGISTRY.find(id).is_none());
        assert!(REGISTRY.table().lock().policies.is_empty());
    }
}
