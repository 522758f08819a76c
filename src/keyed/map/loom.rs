use loom::sync::Arc;
use loom::thread;

use super::{Map, PER_SHARD, Rest};

/// With two shards, so that no lock keeps apart those who count.
fn map(capacity: u64) -> Arc<Map<u64, u64>> {
    let map = Map {
        capacity,
        ..Map::new(2 * PER_SHARD)
    };
    assert_eq!(map.shards.len(), 2);
    Arc::new(map)
}

/// By turns in the one shard and in the other.
fn hash(key: u64) -> u64 {
    key << 40
}

fn insert(map: &Map<u64, u64>, key: u64) -> bool {
    let made = map.insert(hash(key), &key, key, |_| Rest::None);
    made.is_some()
}

// KY3: two newcomers for the last place.
#[test]
fn never_more_than_its_places() {
    loom::model(|| {
        let map = map(1);
        let threads: Vec<_> = [1, 2]
            .into_iter()
            .map(|key| {
                let map = Arc::clone(&map);
                thread::spawn(move || insert(&map, key))
            })
            .collect();
        assert!(map.used() <= map.capacity());
        let placed = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|placed| *placed)
            .count();
        assert_eq!(placed, 1);
        assert_eq!((map.used(), map.all().len()), (1, 1));
    });
}

// KY3: one comes while another is forgotten.
#[test]
fn a_place_given_back_is_there_again() {
    loom::model(|| {
        let map = map(2);
        assert!(insert(&map, 1));
        let other = Arc::clone(&map);
        let thread = thread::spawn(move || other.remove(hash(1), &1));
        assert!(insert(&map, 2));
        assert_eq!(thread.join().unwrap(), Some(1));
        assert_eq!((map.used(), map.all().len()), (1, 1));
    });
}

// KY2, KY3: the same newcomer twice, for whom two give way: one place is given back.
#[test]
fn one_place_for_one_key() {
    loom::model(|| {
        let map: Arc<Map<u64, u64>> = Arc::new(Map::new(2));
        assert!(insert(&map, 1) && insert(&map, 2));
        let rest = |policy: &u64| match policy {
            1 | 2 => Rest::Sound,
            _ => Rest::None,
        };
        let other = Arc::clone(&map);
        let thread = thread::spawn(move || other.insert(hash(3), &3, 10, rest));
        let mine = map.insert(hash(3), &3, 20, rest);
        assert!(mine.is_some());
        assert_eq!(mine, thread.join().unwrap());
        assert_eq!(map.used(), map.all().len() as u64);
    });
}

// KY2: the same newcomer twice has one policy, and takes one place.
#[test]
fn one_policy_for_one_key() {
    loom::model(|| {
        let map: Arc<Map<u64, u64>> = Arc::new(Map::new(1));
        let other = Arc::clone(&map);
        let thread = thread::spawn(move || other.insert(1, &1, 10, |_| Rest::None));
        let mine = map.insert(1, &1, 20, |_| Rest::None);
        let theirs = thread.join().unwrap();
        assert!(mine.is_some());
        assert_eq!(mine, theirs);
        assert_eq!((map.used(), map.all().len()), (1, 1));
    });
}
