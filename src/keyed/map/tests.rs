use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Idle, Inserted, Map};
use crate::sync::{Arc, Mutex};

fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A policy that is as idle as the test sets it.
#[derive(Clone)]
struct Policy(Arc<Mutex<Idle>>);

impl Policy {
    fn new(idle: Idle) -> Self {
        Self(Arc::new(Mutex::new(idle)))
    }

    fn idle(&self) -> Idle {
        *self.0.lock()
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Map<u64, Policy> {
    fn get(&self, key: u64) -> Option<Policy> {
        self.find(hash(key), &key)
    }

    fn put(&self, key: u64, policy: &Policy) -> Option<Policy> {
        let version = self.version();
        match self.insert(hash(key), &key, policy.clone(), version, Policy::idle) {
            Inserted::Entry(policy) => Some(policy),
            Inserted::Full => None,
            Inserted::Outdated => unreachable!("nothing was changed"),
        }
    }
}

#[test]
fn ky3_the_least_recently_used_of_the_most_idle_entries_is_evicted() {
    let map = Map::new(4);
    let idle = [Idle::No, Idle::WithHistory, Idle::Fresh, Idle::Fresh];
    let policies = idle.map(Policy::new);
    for (key, policy) in (0..).zip(&policies) {
        assert!(map.put(key, policy).is_some());
    }
    // 2 and 3 are the most idle ones, and 3 is not used again.
    assert!(map.get(2).is_some());
    let insert = |key| map.put(key, &Policy::new(Idle::No)).is_some();
    assert!(insert(10));
    assert!(map.get(3).is_none());
    assert!(insert(11));
    assert!(map.get(2).is_none());
    // Then the one with a history.
    assert!(insert(12));
    assert!(map.get(1).is_none());
    // The others are in use.
    assert!(!insert(13));
    assert_eq!(map.len(), 4);
    assert!(map.get(0).unwrap().is(&policies[0]));
}

#[test]
fn ky3_keys_seen_once_evict_keys_seen_once_first() {
    let map = Map::new(200);
    let existing: Vec<_> = (0..100).map(|_| Policy::new(Idle::WithHistory)).collect();
    for (key, policy) in (0..).zip(&existing) {
        assert!(map.put(key, policy).is_some());
        assert!(map.get(key).is_some());
    }
    for key in 1_000..50_000 {
        let made_up = Policy::new(Idle::WithHistory);
        assert!(map.put(key, &made_up).is_some());
    }
    for (key, policy) in (0..).zip(&existing) {
        assert!(map.get(key).is_some_and(|found| found.is(policy)), "{key}");
    }
}

#[test]
fn ky3_the_whole_capacity_can_be_used_however_the_keys_hash() {
    for capacity in [1_usize, 2, 7, 8, 9, 100, 1_000] {
        let map = Map::new(capacity);
        for key in 0..capacity as u64 {
            let inserted = map.put(key, &Policy::new(Idle::No));
            assert!(inserted.is_some(), "{key} of {capacity}");
        }
        assert_eq!(map.len(), capacity);
        assert!(map.put(u64::MAX, &Policy::new(Idle::No)).is_none());
    }
}

#[test]
fn ky2_a_second_insertion_of_a_key_returns_the_first_policy() {
    let map = Map::new(8);
    let (first, second) = (Policy::new(Idle::Fresh), Policy::new(Idle::Fresh));
    assert!(map.put(1, &first).unwrap().is(&first));
    assert!(map.put(1, &second).unwrap().is(&first));
    assert_eq!(map.len(), 1);
}

proptest! {
    // KY2, KY3: compared with a map that keeps every key. No key in use is evicted or gets the
    // policy of another, and the capacity is not exceeded.
    #[test]
    fn ky3_no_key_in_use_is_evicted(
        capacity in 1_usize..40,
        steps in prop::collection::vec((0_u64..60, 0_u8..4), 1..400),
    ) {
        let map = Map::new(capacity);
        let mut model: BTreeMap<u64, Policy> = BTreeMap::new();
        for (key, step) in steps {
            if step == 3 {
                let removed = map.remove(hash(key), &key);
                let expected = model.remove(&key);
                if let Some(removed) = &removed {
                    prop_assert!(expected.is_some_and(|expected| expected.is(removed)));
                }
                continue;
            }
            let found = map.get(key);
            if let Some(found) = &found {
                prop_assert!(model[&key].is(found), "the policy of another key");
            } else if let Some(evicted) = model.remove(&key) {
                prop_assert_ne!(evicted.idle(), Idle::No);
            }
            let idle = [Idle::Fresh, Idle::WithHistory, Idle::No][step as usize];
            match found {
                Some(found) => *found.0.lock() = idle,
                None => {
                    let policy = Policy::new(idle);
                    match map.put(key, &policy) {
                        Some(_) => {
                            model.insert(key, policy);
                        }
                        None => {
                            let all = map.entries();
                            prop_assert_eq!(all.len(), capacity);
                            prop_assert!(all.iter().all(|(_, policy)| policy.idle() == Idle::No));
                        }
                    }
                }
            }
            prop_assert!(map.len() <= capacity);
            prop_assert_eq!(map.len(), map.entries().len());
        }
        for (key, policy) in model {
            if policy.idle() == Idle::No {
                prop_assert!(map.get(key).is_some_and(|found| found.is(&policy)));
            }
        }
    }
}

#[test]
fn ky2_threads_that_insert_the_same_keys_get_one_policy_for_each() {
    let map = Map::new(64);
    let start = std::sync::Barrier::new(8);
    let seen: Vec<Vec<Policy>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let policy_of = |key| match map.get(key) {
                        Some(found) => found,
                        None => map.put(key, &Policy::new(Idle::No)).unwrap(),
                    };
                    (0..64).map(policy_of).collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for others in &seen[1..] {
        assert!(seen[0].iter().zip(others).all(|(a, b)| a.is(b)));
    }
    assert_eq!(map.len(), 64);
}
