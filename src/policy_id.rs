//! Policies by id, in the order in which they were made. A call context carries an id, because most
//! calls do not need the policy and a handle would count a reference for each of them. The
//! [registry](crate::observe::registry) lists them.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::per_thread::is_in_group;
use crate::sync::{Arc, Mutex, OnceLock, Weak};

/// The id of a policy. It is not used again in the life of the process, and grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyId(NonZeroU64);

impl PolicyId {
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}

type Shared = dyn Any + Send + Sync;

/// All policies that have an id and a handle. Adding, finding and removing one takes a lock.
#[derive(Default)]
struct Table {
    last_id: u64,
    policies: BTreeMap<PolicyId, Entry>,
}

struct Entry {
    policy: Weak<Shared>,
    /// Whether the registry shows it.
    listed: bool,
}

fn table() -> &'static Mutex<Table> {
    static TABLE: OnceLock<Mutex<Table>> = OnceLock::new();
    TABLE.get_or_init(Mutex::default)
}

/// An id, which a policy keeps for as long as it lives. The drop of the policy frees the entry.
#[derive(Debug)]
pub(crate) struct Registration(Option<PolicyId>);

impl Registration {
    fn new() -> Self {
        let mut table = table().lock();
        table.last_id += 1;
        Self(NonZeroU64::new(table.last_id).map(PolicyId))
    }

    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    #[inline]
    pub(crate) fn id(&self) -> Option<PolicyId> {
        self.0
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            table().lock().policies.remove(&id);
        }
    }
}

/// Makes a policy, and lists it unless it is made for a keyed policy or as a part of another one.
pub(crate) fn list<T: Send + Sync + 'static>(make: impl FnOnce(Registration) -> T) -> Arc<T> {
    match is_in_group() {
        true => Arc::new(make(Registration(None))),
        false => add(make),
    }
}

/// The same for a policy that is found by its id, listed or not.
pub(crate) fn add<T: Send + Sync + 'static>(make: impl FnOnce(Registration) -> T) -> Arc<T> {
    let registration = Registration::new();
    let id = registration.id();
    let policy = Arc::new(make(registration));
    let shared: Arc<Shared> = policy.clone();
    let entry = Entry {
        policy: Arc::downgrade(&shared),
        listed: !is_in_group(),
    };
    if let Some(id) = id {
        table().lock().policies.insert(id, entry);
    }
    policy
}

/// The policy, if it still has a handle.
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
pub(crate) fn find<T: Send + Sync + 'static>(id: PolicyId) -> Option<Arc<T>> {
    // The handle is dropped outside the lock: it may be the last one, and its drop takes the
    // lock again.
    let found = {
        let table = table().lock();
        table
            .policies
            .get(&id)
            .and_then(|entry| entry.policy.upgrade())
    };
    found?.downcast().ok()
}

/// Everything that is listed and has a handle, in the order in which it was made.
pub(crate) fn listed() -> Vec<Arc<Shared>> {
    // As in `find`: the handles outlive the lock.
    let table = table().lock();
    let listed = table.policies.values().filter(|entry| entry.listed);
    listed.filter_map(|entry| entry.policy.upgrade()).collect()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::{Registration, add, find, list, listed};
    use crate::per_thread::in_group;
    use crate::sync::Arc;

    struct Policy(Registration);

    fn is_listed(policy: &Arc<Policy>) -> bool {
        let listed = listed().into_iter().filter_map(|any| any.downcast().ok());
        listed
            .into_iter()
            .any(|other: Arc<Policy>| Arc::ptr_eq(policy, &other))
    }

    #[test]
    fn a_policy_is_found_for_as_long_as_it_has_a_handle() {
        let policy = add(Policy);
        let (id, clone) = (policy.0.id().unwrap(), Arc::clone(&policy));
        assert!(add(Policy).0.id() > Some(id));
        drop(policy);
        assert!(find::<Policy>(id).is_some_and(|found| Arc::ptr_eq(&found, &clone)));
        assert!(find::<u32>(id).is_none());
        drop(clone);
        assert!(find::<Policy>(id).is_none());
        assert!(!super::table().lock().policies.contains_key(&id));
    }

    #[test]
    fn what_is_made_in_a_group_is_not_listed() {
        let policy = list(Policy);
        assert!(is_listed(&policy));
        in_group(Arc::new(()), || {
            let part = list(Policy);
            assert_eq!(part.0.id(), None);
            let part = add(Policy);
            assert!(find::<Policy>(part.0.id().unwrap()).is_some());
            assert!(!is_listed(&part));
        });
        assert!(is_listed(&list(Policy)));
    }
}
