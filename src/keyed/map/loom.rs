use loom::sync::Arc;
use loom::thread;

use super::{Map, Rest};

// KY3: two newcomers for the last place, and one who gives his up.
#[test]
fn never_more_than_its_places() {
    loom::model(|| {
        let map: Arc<Map<u64, u64>> = Arc::new(Map::new(1));
        let threads: Vec<_> = [1_u64, 2]
            .into_iter()
            .map(|key| {
                let map = Arc::clone(&map);
                thread::spawn(move || map.insert(key, &key, key, |_| Rest::None).is_some())
            })
            .collect();
        let placed = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|placed| *placed)
            .count();
        assert_eq!(placed, 1);
        assert_eq!((map.used(), map.all().len()), (1, 1));
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
