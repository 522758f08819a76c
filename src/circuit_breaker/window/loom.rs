use ::loom::thread;

use super::*;
use crate::sync::Arc;

const NOW: Tick = Tick(0);

fn calls(n: u32) -> Memory {
    Memory::Calls(CallWindow::new(n, 1))
}

/// Buckets of ten ticks.
fn time(buckets: u32) -> Memory {
    Memory::Time(TimeWindow::new(10, buckets, 1, NOW))
}

fn seen(memory: &Memory, era: u32, now: Tick) -> (u32, u32) {
    let counts = memory.counts(era, now);
    (counts.calls, counts.failures)
}

#[test]
fn no_failure_is_seen_without_its_call() {
    for make in [|| calls(3), || time(2)] {
        ::loom::model(move || {
            let memory = Arc::new(make());
            memory.record(1, NOW, false, false);
            let fail = || {
                let memory = Arc::clone(&memory);
                move || memory.record(1, NOW, true, true)
            };
            let reader = {
                let memory = Arc::clone(&memory);
                thread::spawn(move || {
                    let counts = memory.counts(1, NOW);
                    assert!(counts.failures < counts.calls, "{counts:?}");
                    assert!(counts.slow < counts.calls, "{counts:?}");
                })
            };
            let other = thread::spawn(fail());
            fail()();
            reader.join().unwrap();
            other.join().unwrap();
            // And none is lost.
            assert_eq!(seen(&memory, 1, NOW), (3, 2));
        });
    }
}

#[test]
fn no_failure_is_seen_without_its_call_where_a_bucket_is_reused() {
    ::loom::model(|| {
        let memory = Arc::new(time(2));
        memory.record(1, NOW, false, false);
        memory.record(1, NOW, true, false);
        memory.record(1, Tick(10), false, false);
        let next = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.record(1, Tick(20), false, false))
        };
        let (calls, failures) = seen(&memory, 1, Tick(10));
        assert!(
            matches!((calls, failures), (3, 1) | (1 | 2, 0)),
            "{failures} of {calls}"
        );
        next.join().unwrap();
        assert_eq!(seen(&memory, 1, Tick(20)), (2, 0));
    });
}

#[test]
fn a_late_outcome_never_lands_in_a_newer_era() {
    for make in [|| calls(2), || time(1)] {
        ::loom::model(move || {
            let memory = Arc::new(make());
            let late = {
                let memory = Arc::clone(&memory);
                thread::spawn(move || memory.record(1, NOW, true, true))
            };
            memory.record(2, NOW, false, false);
            memory.record(2, NOW, false, false);
            late.join().unwrap();
            assert_eq!(seen(&memory, 2, NOW), (2, 0));
            assert_eq!(memory.counts(2, NOW).slow, 0);
            // Nor does it sit in the ring, where it would be taken off once more.
            (0..2).for_each(|_| memory.record(2, NOW, false, false));
            let calls = match &*memory {
                Memory::Calls(_) => 2,
                Memory::Time(_) => 4,
            };
            assert_eq!(seen(&memory, 2, NOW), (calls, 0));
        });
    }
}

#[test]
fn a_window_of_calls_never_forgets_what_is_in_its_ring() {
    ::loom::model(|| {
        let memory = Arc::new(calls(2));
        let record = |failed| {
            let memory = Arc::clone(&memory);
            move || memory.record(1, NOW, failed, false)
        };
        let others = [thread::spawn(record(true)), thread::spawn(record(true))];
        record(false)();
        for other in others {
            other.join().unwrap();
        }
        let Memory::Calls(window) = &*memory else {
            unreachable!()
        };
        let failed = (window.ring.iter())
            .filter(|cell| cell.load(Relaxed) as u32 & FAILED != 0)
            .count();
        assert_eq!(seen(&memory, 1, NOW), (2, failed as u32));
    });
}
