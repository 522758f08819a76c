use std::thread;

use super::*;

#[test]
fn a_slot_is_taken_by_one_thread_at_a_time() {
    let taken = Taken(AtomicU64::new(0));
    let slots: Vec<_> = (0..SLOTS).map(|_| taken.take()).collect();
    assert!(
        slots
            .iter()
            .enumerate()
            .all(|(at, slot)| slot.map(ThreadSlot::index) == Some(at))
    );
    assert_eq!(taken.take(), None);
    taken.give_back(ThreadSlot(7));
    assert_eq!(taken.take(), Some(ThreadSlot(7)));
}

#[test]
fn a_thread_keeps_its_slot_while_it_is_alive() {
    let mine = current();
    assert_eq!(current(), mine);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(current(), current());
            assert!(mine.is_none() || current() != mine);
        });
    });
    // More threads than slots, one after the other: each gives its slot back.
    for _ in 0..3 * SLOTS {
        // Other tests take slots too.
        let patient = || {
            (0..1_000_000).find_map(|_| {
                current().or_else(|| {
                    thread::yield_now();
                    None
                })
            })
        };
        assert!(thread::spawn(patient).join().unwrap().is_some());
    }
}

#[test]
fn threads_without_a_slot_are_spread() {
    // At least as many as there are slots, alive together.
    let all_alive = std::sync::Barrier::new(2 * SLOTS);
    let stripes = thread::scope(|scope| {
        let stripe = || {
            all_alive.wait();
            let stripe = stripe() % 8;
            all_alive.wait();
            stripe
        };
        let threads: Vec<_> = (0..2 * SLOTS).map(|_| scope.spawn(stripe)).collect();
        let stripes = threads.into_iter().map(|thread| thread.join().unwrap());
        stripes.collect::<Vec<_>>()
    });
    for stripe in 0..8 {
        let threads = stripes.iter().filter(|&&s| s == stripe).count();
        assert!((1..=SLOTS).contains(&threads), "{threads} on {stripe}");
    }
}
