use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Map, Rest};
use crate::sync::{Arc, Mutex};

fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A policy that rests as it is told.
#[derive(Clone)]
struct Told(Arc<Mutex<Rest>>);

impl Told {
    fn new(rest: Rest) -> Self {
        Self(Arc::new(Mutex::new(rest)))
    }

    fn rest(&self) -> Rest {
        *self.0.lock()
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

// KY3
#[test]
fn ky3_the_soundest_that_was_not_asked_for_longest_gives_way() {
    let map: Map<u64, Told> = Map::new(4);
    let rests = [Rest::None, Rest::Light, Rest::Sound, Rest::Sound];
    let told: Vec<_> = rests.into_iter().map(Told::new).collect();
    for (key, told) in (0..).zip(&told) {
        assert!(
            map.insert(hash(key), &key, told.clone(), Told::rest)
                .is_some()
        );
    }
    // Of the two that rest best, 3 has not been asked for since.
    assert!(map.find(hash(2), &2).is_some());
    let newcomer = |key: u64| {
        let made = Told::new(Rest::None);
        map.insert(hash(key), &key, made, Told::rest).is_some()
    };
    assert!(newcomer(10));
    assert!(map.find(hash(3), &3).is_none());
    assert!(newcomer(11));
    assert!(map.find(hash(2), &2).is_none());
    // Then one that would lose a little.
    assert!(newcomer(12));
    assert!(map.find(hash(1), &1).is_none());
    // And then nobody.
    assert!(!newcomer(13));
    assert_eq!(map.used(), 4);
    assert!(map.find(hash(0), &0).unwrap().is(&told[0]));
}

#[test]
fn all_places_can_be_used_however_the_keys_fall() {
    for capacity in [1_usize, 2, 7, 8, 9, 100, 1_000] {
        let map: Map<u64, Told> = Map::new(capacity);
        for key in 0..capacity as u64 {
            let made = Told::new(Rest::None);
            assert!(
                map.insert(hash(key), &key, made, Told::rest).is_some(),
                "{key} of {capacity}"
            );
        }
        assert_eq!(map.used(), capacity as u64);
        let made = Told::new(Rest::None);
        let one_more = u64::MAX;
        assert!(
            map.insert(hash(one_more), &one_more, made, Told::rest)
                .is_none()
        );
    }
}

#[test]
fn who_comes_second_has_what_the_first_one_made() {
    let map: Map<u64, Told> = Map::new(8);
    let (first, second) = (Told::new(Rest::Sound), Told::new(Rest::Sound));
    assert!(
        map.insert(hash(1), &1, first.clone(), Told::rest)
            .unwrap()
            .is(&first)
    );
    assert!(
        map.insert(hash(1), &1, second, Told::rest)
            .unwrap()
            .is(&first)
    );
    assert_eq!(map.used(), 1);
}

proptest! {
    // KY2, KY3: against a map that keeps every key, no key that does not rest is ever forgotten
    // or given another's policy, and no more have a place than there are.
    #[test]
    fn no_key_in_use_is_forgotten(
        capacity in 1_usize..40,
        steps in prop::collection::vec((0_u64..60, 0_u8..4), 1..400),
    ) {
        let map: Map<u64, Told> = Map::new(capacity);
        let mut model: BTreeMap<u64, Told> = BTreeMap::new();
        for (key, what) in steps {
            if what == 3 {
                let removed = map.remove(hash(key), &key);
                let expected = model.remove(&key);
                if let Some(removed) = &removed {
                    prop_assert!(expected.is_some_and(|expected| expected.is(removed)));
                }
                continue;
            }
            let found = map.find(hash(key), &key);
            if let Some(found) = &found {
                prop_assert!(model[&key].is(found), "the policy of another key");
            } else if let Some(forgotten) = model.remove(&key) {
                prop_assert_ne!(forgotten.rest(), Rest::None);
            }
            let rest = [Rest::Sound, Rest::Light, Rest::None][what as usize];
            match found {
                Some(found) => *found.0.lock() = rest,
                None => {
                    let made = Told::new(rest);
                    match map.insert(hash(key), &key, made.clone(), Told::rest) {
                        Some(_) => {
                            model.insert(key, made);
                        }
                        None => {
                            let all = map.all();
                            prop_assert_eq!(all.len(), capacity);
                            prop_assert!(all.iter().all(|(_, told)| told.rest() == Rest::None));
                        }
                    }
                }
            }
            prop_assert!(map.used() <= capacity as u64);
            prop_assert_eq!(map.used(), map.all().len() as u64);
        }
        for (key, told) in model {
            if told.rest() == Rest::None {
                prop_assert!(map.find(hash(key), &key).is_some_and(|found| found.is(&told)));
            }
        }
    }
}

#[test]
fn threads_that_insert_the_same_keys_have_one_policy_each() {
    let map: Map<u64, Told> = Map::new(64);
    let start = std::sync::Barrier::new(8);
    let seen: Vec<Vec<Told>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..64_u64)
                        .map(|key| {
                            let made = Told::new(Rest::None);
                            let found = map.find(hash(key), &key);
                            found.unwrap_or_else(|| {
                                map.insert(hash(key), &key, made, Told::rest).unwrap()
                            })
                        })
                        .collect()
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
    assert_eq!(map.used(), 64);
}
