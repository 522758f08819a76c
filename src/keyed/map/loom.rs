use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;

use super::{Idle, Inserted, Map, PER_SHARD};

/// With two shards, so that no lock keeps two counting threads apart.
fn map(capacity: u64) -> Arc<Map<u64, u64>> {
    let map = Map {
        capacity,
        ..Map::new(2 * PER_SHARD)
    };
    assert_eq!(map.shards.len(), 2);
    Arc::new(map)
}

/// Alternates between the two shards.
fn hash(key: u64) -> u64 {
    key << 40
}

fn insert(map: &Map<u64, u64>, key: u64, policy: u64, idle: impl Fn(&u64) -> Idle) -> Option<u64> {
    match map.insert(hash(key), &key, policy, map.version(), idle) {
        Inserted::Entry(policy) => Some(policy),
        Inserted::Full => None,
        Inserted::Outdated => unreachable!("nothing was changed"),
    }
}

fn in_use(_: &u64) -> Idle {
    Idle::No
}

// KY3: two new keys and one entry.
#[test]
fn the_capacity_is_never_exceeded() {
    loom::model(|| {
        let map = map(1);
        let threads = [1, 2].map(|key| {
            let map = Arc::clone(&map);
            thread::spawn(move || insert(&map, key, key, in_use).is_some())
        });
        assert!(map.len() <= 1);
        let inserted = threads.map(|thread| thread.join().unwrap());
        assert!(inserted[0] != inserted[1]);
        assert_eq!((map.len(), map.entries().len()), (1, 1));
    });
}

// KY3: one key is inserted while another is evicted.
#[test]
fn an_evicted_entry_can_be_used_again() {
    loom::model(|| {
        let map = map(2);
        assert!(insert(&map, 1, 1, in_use).is_some());
        let other = Arc::clone(&map);
        let thread = thread::spawn(move || other.remove(hash(1), &1));
        assert!(insert(&map, 2, 2, in_use).is_some());
        assert_eq!(thread.join().unwrap(), Some(1));
        assert_eq!((map.len(), map.entries().len()), (1, 1));
    });
}

// KY2, KY3: two threads insert the same new key, and both evict an entry for it.
#[test]
fn a_new_key_inserted_twice_uses_one_entry() {
    loom::model(|| {
        let map: Arc<Map<u64, u64>> = Arc::new(Map::new(2));
        assert!(insert(&map, 1, 1, in_use).is_some() && insert(&map, 2, 2, in_use).is_some());
        let idle = |policy: &u64| match policy {
            1 | 2 => Idle::Fresh,
            _ => Idle::No,
        };
        let other = Arc::clone(&map);
        let thread = thread::spawn(move || insert(&other, 3, 10, idle));
        let mine = insert(&map, 3, 20, idle);
        assert!(mine.is_some());
        assert_eq!(mine, thread.join().unwrap());
        assert_eq!(map.len(), map.entries().len());
    });
}

// KY2: two threads insert the same new key.
#[test]
fn a_new_key_inserted_twice_has_one_policy() {
    loom::model(|| {
        let map: Arc<Map<u64, u64>> = Arc::new(Map::new(1));
        let other = Arc::clone(&map);
        let thread = thread::spawn(move || insert(&other, 1, 10, in_use));
        let mine = insert(&map, 1, 20, in_use);
        let theirs = thread.join().unwrap();
        assert!(mine.is_some());
        assert_eq!(mine, theirs);
        assert_eq!((map.len(), map.entries().len()), (1, 1));
    });
}

// CX19: all policies are changed while one is under construction.
#[test]
fn a_change_reaches_a_policy_under_construction() {
    type Policy = Arc<AtomicU64>;
    loom::model(|| {
        let config = Arc::new(AtomicU64::new(1));
        let map: Arc<Map<u64, Policy>> = Arc::new(Map::new(1));
        let (changed, other) = (Arc::clone(&config), Arc::clone(&map));
        let thread = thread::spawn(move || {
            changed.store(2, Relaxed);
            for policy in other.start_change() {
                policy.store(2, Relaxed);
            }
        });
        let policy = loop {
            let version = map.version();
            let policy = Arc::new(AtomicU64::new(config.load(Relaxed)));
            match map.insert(1, &1, policy, version, |_| Idle::No) {
                Inserted::Entry(policy) => break policy,
                Inserted::Outdated => {}
                Inserted::Full => unreachable!("it is the only key"),
            }
        };
        thread.join().unwrap();
        assert_eq!(policy.load(Relaxed), 2);
    });
}
