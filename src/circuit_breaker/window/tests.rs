use std::thread;
use std::time::Duration;

use super::*;

const MS: u64 = 1_000_000;

/// Of buckets of a millisecond.
fn time(buckets: u32, era: u32, now: u64) -> Memory {
    let window = Window::time(Duration::from_millis(buckets.into())).buckets(buckets);
    Memory::new(window, era, Tick(now))
}

fn seen(memory: &Memory, era: u32, now: u64) -> (u32, u32) {
    let counts = memory.counts(era, Tick(now));
    (counts.calls, counts.failures)
}

fn words(memory: &Memory) -> Vec<u64> {
    let load = |tally: &Tally| tally.0.load(Relaxed);
    match memory {
        Memory::Calls(window) => {
            let ring = window.ring.iter().map(|cell| cell.load(Relaxed));
            let sums = [&window.next, &window.calls, &window.failures, &window.slow];
            ring.chain(sums.map(load)).collect()
        }
        Memory::Time(window) => (window.buckets.iter())
            .flat_map(|bucket| [&bucket.calls, &bucket.failures, &bucket.slow].map(load))
            .chain([window.latest.load(Relaxed)])
            .collect(),
    }
}

#[test]
fn cb4_a_record_writes_a_few_words_in_a_memory_that_never_grows() {
    for memory in [
        Memory::new(Window::count(10), 0, Tick(0)),
        Memory::new(Window::count(100_000), 0, Tick(0)),
        time(10, 0, 0),
        time(1_000, 0, 0),
    ] {
        let size = words(&memory).len();
        for at in 0..2_000u64 {
            let before = words(&memory);
            memory.record(0, Tick(at * MS / 3), at % 3 == 0, at % 7 == 0);
            let after = words(&memory);
            let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
            assert!(changed <= 5, "{changed}");
            if size > 10_000 && at > 50 {
                break;
            }
        }
        for at in 0..100_000u64 {
            memory.record(0, Tick(at * MS / 100), at % 3 == 0, false);
        }
        assert_eq!(words(&memory).len(), size);
    }
}

#[test]
fn cb3_with_threads_no_outcome_is_lost() {
    for memory in [
        Memory::new(Window::count(1_000_000), 7, Tick(0)),
        time(10, 7, 0),
    ] {
        thread::scope(|scope| {
            for thread in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for at in 0..5_000u64 {
                        memory.record(7, Tick(at * MS / 1_000), at % 4 == thread, at % 2 == 0);
                    }
                });
            }
        });
        let counts = memory.counts(7, Tick(5 * MS));
        let all = (counts.calls, counts.failures, counts.slow);
        assert_eq!(all, (20_000, 5_000, 10_000));
    }
}

#[test]
fn cb3_with_threads_the_sums_are_those_of_the_ring() {
    let memory = Memory::new(Window::count(7), 1, Tick(0));
    thread::scope(|scope| {
        for thread in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for at in 0..5_000 {
                    memory.record(1, Tick(0), (at + thread) % 3 == 0, false);
                }
            });
        }
    });
    let held = |bit: u32| {
        let held = words(&memory).into_iter().take(7);
        held.filter(|word| *word as u32 & bit != 0).count() as u32
    };
    assert_eq!(seen(&memory, 1, 0), (held(TAKEN), held(FAILED)));
}

#[test]
fn cb1_an_outcome_leaves_with_its_bucket() {
    let memory = time(10, 0, 0);
    memory.record(0, Tick(MS - 1), true, false);
    memory.record(0, Tick(MS), false, false);
    assert_eq!(seen(&memory, 0, 10 * MS - 1), (2, 1));
    assert_eq!(seen(&memory, 0, 10 * MS), (1, 0));
    assert_eq!(seen(&memory, 0, 11 * MS), (0, 0));
}

#[test]
fn cb5_what_is_late_by_an_era_or_by_many_changes_nothing() {
    for eras in [[4, 5, 60, 3_000], [u32::MAX - 2, u32::MAX, 0, 1]] {
        let before = eras[0] - 1;
        for memory in [
            Memory::new(Window::count(4), before, Tick(0)),
            time(4, before, 0),
        ] {
            for era in eras {
                memory.record(era, Tick(0), false, false);
                for late in 1..4 {
                    memory.record(era.wrapping_sub(late), Tick(0), true, true);
                }
                memory.record(era, Tick(0), true, false);
                assert_eq!(seen(&memory, era, 0), (2, 1), "{era}");
            }
        }
    }
}

#[test]
fn cb5_an_era_that_begins_with_the_clock_set_back_sees_nothing_of_the_one_before() {
    for back in 0..40 {
        let memory = time(10, 0, 0);
        (0..10).for_each(|at| memory.record(0, Tick((30 + at) * MS), true, false));
        let now = (39 - back.min(39)) * MS;
        assert_eq!(seen(&memory, 1, now), (0, 0), "{back}");
        memory.record(1, Tick(now), false, false);
        assert_eq!(seen(&memory, 1, now), (1, 0), "{back}");
    }
}

#[test]
fn cb3_a_clock_that_is_set_back_hides_no_outcome() {
    let memory = time(10, 0, 0);
    for at in [100, 5, 50, 100, 0] {
        memory.record(0, Tick(at * MS), true, false);
    }
    assert_eq!(seen(&memory, 0, 0), (5, 5));
}

#[test]
fn cb3_a_wrap_of_the_stamps_loses_nothing() {
    let wrap = (1 << 32) * MS;
    let memory = time(10, 0, wrap - 20 * MS);
    for at in wrap / MS - 20..wrap / MS + 20 {
        memory.record(0, Tick(at * MS), at % 2 == 0, false);
        let (calls, failures) = seen(&memory, 0, at * MS);
        let expected = (at - (wrap / MS - 20) + 1).min(10) as u32;
        assert_eq!(calls, expected, "{at}");
        assert!(failures.abs_diff(calls / 2) <= 1);
    }
}

#[test]
fn cb3_no_age_of_what_is_left_hides_an_outcome() {
    // Made or last used long before, up to a round of stamps.
    for days in 0..60 {
        let memory = time(10, 0, 0);
        let now = days * 86_400_000 * MS + 7 * MS;
        memory.record(0, Tick(now), true, false);
        assert_eq!(seen(&memory, 0, now), (1, 1), "{days}");
    }
}

#[test]
fn cb4_a_count_stops_at_its_end() {
    let memory = time(1, 0, 0);
    memory.record(0, Tick(0), true, true);
    let Memory::Time(window) = &memory else {
        unreachable!()
    };
    window.buckets[0].calls.add(0, i32::MAX);
    window.buckets[0].failures.add(0, i32::MAX - 1);
    memory.record(0, Tick(0), true, false);
    let most = i32::MAX as u32;
    assert_eq!(seen(&memory, 0, 0), (most, most));
    memory.record(0, Tick(0), true, false);
    assert_eq!(seen(&memory, 0, 0), (most, most));
}
