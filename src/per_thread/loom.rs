use ::loom::thread;

use super::*;
use crate::sync::Arc;

#[test]
fn the_next_thread_of_a_slot_continues_from_the_last_one() {
    ::loom::model(|| {
        let all = Arc::new((Taken(AtomicU64::new(!3)), [0, 1].map(|_| AtomicU64::new(0))));
        let run = || {
            let all = Arc::clone(&all);
            move || {
                let Some(slot) = all.0.take() else {
                    return 0;
                };
                let own = &all.1[slot.index()];
                own.store(own.load(Relaxed) + 1, Relaxed);
                all.0.give_back(slot);
                1
            }
        };
        let others = [thread::spawn(run()), thread::spawn(run())];
        let mine = run()();
        let written = others.into_iter().map(|other| other.join().unwrap());
        let written = written.sum::<u64>() + mine;
        let held: u64 = all.1.iter().map(|own| own.load(Relaxed)).sum();
        assert_eq!(held, written);
    });
}
