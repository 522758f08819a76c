use ::loom::thread;

use super::*;
use crate::sync::{Arc, Ordering::Relaxed};

const NOW: Tick = Tick(0);

fn calls(n: u32) -> Outcomes {
    Outcomes::Calls(CallWindow::new(n, false, 1))
}

/// Buckets of ten ticks.
fn time(buckets: u32) -> Outcomes {
    Outcomes::Time(TimeWindow::new(10, buckets, true, 1, NOW))
}

/// With words for two threads of their own, and no outcome of generation 1 or later.
fn hot(buckets: u32) -> Outcomes {
    let window = TimeWindow::new(10, buckets, true, 0, NOW);
    for _ in 0..=successes::HOT {
        window.record(0, NOW, false, false, SLOTS[0]);
    }
    assert!(window.successes.own.all().next().is_some());
    Outcomes::Time(window)
}

/// A thread that reads once. Loom tries it before a write only if it runs after the writer and
/// the writer does not read the word itself in between: so the one that writes goes first.
fn reader(
    memory: &Arc<Outcomes>,
    now: Tick,
    check: impl FnOnce((u32, u32)) + 'static,
) -> thread::JoinHandle<()> {
    let memory = Arc::clone(memory);
    thread::spawn(move || check(seen(&memory, 1, now)))
}

const SLOTS: [Option<ThreadSlot>; 2] =
    [Some(ThreadSlot::numbered(0)), Some(ThreadSlot::numbered(1))];

fn seen(memory: &Outcomes, generation: u32, now: Tick) -> (u32, u32) {
    let counts = memory.counts(generation, now);
    (counts.calls, counts.failures)
}

#[test]
fn no_failure_is_seen_without_its_call() {
    for make in [|| calls(3), || time(2)] {
        ::loom::model(move || {
            let memory = Arc::new(make());
            memory.record(1, NOW, false, false, None);
            let fail = || {
                let memory = Arc::clone(&memory);
                move || memory.record(1, NOW, true, true, None)
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
        memory.record(1, NOW, false, false, None);
        memory.record(1, NOW, true, false, None);
        memory.record(1, Tick(10), false, false, None);
        let reader = reader(&memory, Tick(10), |seen| {
            assert!(matches!(seen, (3, 1) | (1 | 2, 0)), "{seen:?}");
        });
        memory.record(1, Tick(20), false, false, None);
        reader.join().unwrap();
        assert_eq!(seen(&memory, 1, Tick(20)), (2, 0));
    });
}

#[test]
fn a_window_of_time_never_goes_back_to_a_bucket_before() {
    ::loom::model(|| {
        let memory = Arc::new(time(2));
        let behind = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.record(1, Tick(10), false, false, None))
        };
        memory.record(1, Tick(20), false, false, None);
        behind.join().unwrap();
        let Outcomes::Time(window) = &*memory else {
            unreachable!()
        };
        assert_eq!(window.front.load(Relaxed) >> 10, 2);
        assert_eq!(seen(&memory, 1, Tick(20)), (2, 0));
    });
}

#[test]
fn a_late_outcome_never_lands_in_a_newer_generation() {
    fn late_outcome(make: fn() -> Outcomes, failed: bool) {
        ::loom::model(move || {
            let memory = Arc::new(make());
            let late = {
                let memory = Arc::clone(&memory);
                thread::spawn(move || memory.record(1, NOW, failed, true, None))
            };
            memory.record(2, NOW, false, false, None);
            memory.record(2, NOW, false, false, None);
            late.join().unwrap();
            assert_eq!(seen(&memory, 2, NOW), (2, 0));
            assert_eq!(memory.counts(2, NOW).slow, 0);
            // Nor is it in the ring, where it would be taken off once more.
            (0..2).for_each(|_| memory.record(2, NOW, false, false, None));
            let calls = match &*memory {
                Outcomes::Calls(_) => 2,
                Outcomes::Time(_) => 4,
            };
            assert_eq!(seen(&memory, 2, NOW), (calls, 0));
        });
    }
    for make in [|| calls(2), || time(1)] {
        late_outcome(make, true);
        late_outcome(make, false);
    }
}

#[test]
fn a_window_of_calls_never_forgets_what_is_in_its_ring() {
    ::loom::model(|| {
        let memory = Arc::new(calls(2));
        let record = |failed| {
            let memory = Arc::clone(&memory);
            move || memory.record(1, NOW, failed, false, None)
        };
        let others = [thread::spawn(record(true)), thread::spawn(record(true))];
        record(false)();
        for other in others {
            other.join().unwrap();
        }
        let Outcomes::Calls(window) = &*memory else {
            unreachable!()
        };
        assert_eq!(window.held(1).0, 2);
        assert_eq!(seen(&memory, 1, NOW), window.held(1));
    });
}

#[test]
fn a_window_of_calls_counts_no_failure_that_is_evicted() {
    ::loom::model(|| {
        let memory = Arc::new(calls(2));
        memory.record(1, NOW, true, false, None);
        memory.record(1, NOW, false, false, None);
        let other = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.record(1, NOW, false, false, None))
        };
        // The first of the two evicts the failure, and only this call fails after it.
        memory.record(1, NOW, true, false, None);
        assert_eq!(seen(&memory, 1, NOW), (2, 1));
        other.join().unwrap();
        assert_eq!(seen(&memory, 1, NOW), (2, 1));
    });
}

#[test]
fn a_stopped_call_overwrites_no_later_outcome() {
    ::loom::model(|| {
        let memory = Arc::new(calls(2));
        memory.record(1, NOW, true, false, None);
        let stopped = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.record(1, NOW, false, false, None))
        };
        (0..3).for_each(|_| memory.record(1, NOW, false, false, None));
        stopped.join().unwrap();
        let Outcomes::Calls(window) = &*memory else {
            unreachable!()
        };
        assert_eq!((seen(&memory, 1, NOW), window.held(1)), ((2, 0), (2, 0)));
    });
}

#[test]
fn a_late_outcome_of_the_call_before_leaves_no_hole_in_a_newer_generation() {
    ::loom::model(|| {
        let memory = Arc::new(calls(2));
        memory.record(1, NOW, false, false, None);
        let late = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.record(1, NOW, true, false, None))
        };
        memory.begin(2);
        for failed in [true, false, false] {
            memory.record(2, NOW, failed, false, None);
        }
        late.join().unwrap();
        assert_eq!(seen(&memory, 2, NOW), (2, 0));
        memory.record(2, NOW, true, false, None);
        assert_eq!(seen(&memory, 2, NOW), (2, 1));
    });
}

#[test]
fn a_failure_is_seen_with_the_successes_before_it() {
    ::loom::model(|| {
        let memory = Arc::new(hot(2));
        let reader = reader(&memory, NOW, |(calls, failures)| {
            assert!(calls >= 2 * failures, "{failures} of {calls}");
        });
        memory.record(1, NOW, false, false, SLOTS[0]);
        memory.record(1, NOW, true, false, SLOTS[0]);
        reader.join().unwrap();
        assert_eq!(seen(&memory, 1, NOW), (2, 1));
    });
}

#[test]
fn no_failure_is_seen_without_its_call_where_a_thread_uses_its_bucket_again() {
    ::loom::model(|| {
        let memory = Arc::new(hot(1));
        memory.record(1, NOW, false, false, SLOTS[0]);
        memory.record(1, NOW, true, false, SLOTS[0]);
        let reader = reader(&memory, NOW, |seen| {
            assert!(matches!(seen, (2, 1) | (0..=2, 0)), "{seen:?}");
        });
        // The first of them takes the word for the newer bucket, the second adds to it.
        memory.record(1, Tick(10), false, false, SLOTS[0]);
        memory.record(1, Tick(10), false, false, SLOTS[0]);
        reader.join().unwrap();
        assert_eq!(seen(&memory, 1, Tick(10)), (2, 0));
    });
}

#[test]
fn no_success_is_lost_where_threads_begin_to_have_words_of_their_own() {
    ::loom::model(|| {
        let memory = Arc::new(time(1));
        let succeed = |slot: usize| {
            let memory = Arc::clone(&memory);
            move || {
                memory.record(1, NOW, false, false, SLOTS[slot]);
                memory.record(1, NOW, false, false, SLOTS[slot]);
            }
        };
        let other = thread::spawn(succeed(1));
        succeed(0)();
        other.join().unwrap();
        assert_eq!(seen(&memory, 1, NOW), (4, 0));
    });
}

#[test]
fn a_late_success_never_lands_in_a_newer_generation_of_another_thread() {
    ::loom::model(|| {
        let memory = Arc::new(hot(1));
        let late = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.record(1, NOW, false, false, SLOTS[1]))
        };
        memory.record(2, NOW, false, false, SLOTS[0]);
        memory.record(2, NOW, true, false, SLOTS[0]);
        assert_eq!(seen(&memory, 2, NOW), (2, 1));
        late.join().unwrap();
        assert_eq!(seen(&memory, 2, NOW), (2, 1));
        // Nor in the newer generation of the thread itself.
        memory.record(1, NOW, false, false, SLOTS[0]);
        assert_eq!(seen(&memory, 2, NOW), (2, 1));
    });
}
