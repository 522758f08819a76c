use std::thread;
use std::time::Duration;

use super::*;
use crate::sync::Ordering::Relaxed;

const MS: u64 = 1_000_000;

/// With buckets of a millisecond.
fn time(buckets: u32, generation: u32, now: u64) -> Outcomes {
    let window = Window::time(Duration::from_millis(buckets.into())).buckets(buckets);
    Outcomes::new(window, true, generation, Tick(now))
}

/// Records on a thread without words of its own.
fn record(memory: &Outcomes, generation: u32, now: u64, failed: bool, slow: bool) {
    memory.record(generation, Tick(now), failed, slow, None);
}

fn seen(memory: &Outcomes, generation: u32, now: u64) -> (u32, u32) {
    let counts = memory.counts(generation, Tick(now));
    (counts.calls, counts.failures)
}

fn words(memory: &Outcomes) -> Vec<u64> {
    let load = |tally: &Tally| tally.0.load(Relaxed);
    match memory {
        Outcomes::Calls(window) => window.words(0),
        Outcomes::Time(window) => {
            let all = [&window.successes.shared, &window.failures, &window.slow];
            let own = window.successes.own.all();
            let words = all.into_iter().flatten().chain(own).map(load);
            words.chain([window.front.load(Relaxed)]).collect()
        }
    }
}

#[test]
fn cb4_a_record_writes_a_few_words_in_a_memory_that_never_grows() {
    for memory in [
        Outcomes::new(Window::count(10), true, 0, Tick(0)),
        Outcomes::new(Window::count(100_000), true, 0, Tick(0)),
        time(10, 0, 0),
        time(1_000, 0, 0),
    ] {
        let size = words(&memory).len();
        for at in 0..2_000u64 {
            let before = words(&memory);
            record(&memory, 0, at * MS / 3, at % 3 == 0, at % 7 == 0);
            let after = words(&memory);
            let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
            assert!(changed <= 5, "{changed}");
            if size > 10_000 && at > 50 {
                break;
            }
        }
        for at in 0..100_000u64 {
            record(&memory, 0, at * MS / 100, at % 3 == 0, false);
        }
        assert_eq!(words(&memory).len(), size);
    }
}

#[test]
fn cb3_with_threads_no_outcome_is_lost() {
    for memory in [
        Outcomes::new(Window::count(1_000_000), true, 7, Tick(0)),
        time(10, 7, 0),
    ] {
        thread::scope(|scope| {
            for thread in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for at in 0..5_000u64 {
                        record(memory, 7, at * MS / 1_000, at % 4 == thread, at % 2 == 0);
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
fn cb3_with_threads_that_have_words_of_their_own_no_outcome_is_lost() {
    // CB4
    for (length, size) in [(10, 10), (40, 40)] {
        let memory = time(length, 7, 0);
        let failures = |memory: &Outcomes| memory.counts(7, Tick(0)).failures;
        thread::scope(|scope| {
            for thread in 0..12u8 {
                let memory = &memory;
                scope.spawn(move || {
                    // Two of them without a slot.
                    let slot = (thread < 10).then(|| ThreadSlot::numbered(thread * 7));
                    for at in 0..5_000u64 {
                        let now = Tick(at * MS / 1_000 * length as u64 / 10);
                        memory.record(7, now, at % 5 == 0, at % 2 == 0, slot);
                        if at % 1_000 == 0 {
                            assert!(failures(memory) <= 12_000);
                        }
                    }
                });
            }
        });
        let counts = memory.counts(7, Tick(size * MS / 2));
        let all = (counts.calls, counts.failures, counts.slow);
        assert_eq!(all, (60_000, 12_000, 30_000));
        let Outcomes::Time(window) = &memory else {
            unreachable!()
        };
        assert!(window.successes.own.all().next().is_some());
    }
}

#[test]
fn cb3_a_thread_counts_the_same_with_and_without_words_of_its_own() {
    for size in [1, 3, 16, 17, 100] {
        let mut rng = fastrand::Rng::with_seed(size.into());
        let (all, apart) = (time(size, 0, 0), time(size, 0, 0));
        // The shared words are hot, so every thread counts in words of its own.
        let Outcomes::Time(window) = &apart else {
            unreachable!()
        };
        window.successes.shared[0].add(0, successes::HOT);
        for eighth in 0..8 {
            let slot = Some(ThreadSlot::numbered(8 * eighth));
            window.record(0, Tick(0), false, false, slot);
        }
        assert_eq!(
            window.successes.own.first_words().count(),
            crate::per_thread::SLOTS
        );
        let (mut generation, mut now) = (1, 0);
        for _ in 0..20_000 {
            match rng.u8(..50) {
                0 => generation += 1,
                1..6 => now += rng.u64(..2 * MS),
                6 => now += rng.u64(..u64::from(size) * MS),
                7 => now -= now.min(rng.u64(..3 * MS)),
                _ => {}
            }
            let slot = Some(ThreadSlot::numbered(rng.u8(..64)));
            // Some are late, of an earlier generation.
            let of = generation - u32::from(generation > 1 && rng.u8(..10) == 0);
            let (failed, slow) = (rng.u8(..4) == 0, rng.bool());
            all.record(of, Tick(now), failed, slow, None);
            apart.record(of, Tick(now), failed, slow, slot);
            assert_eq!(
                all.counts(generation, Tick(now)),
                apart.counts(generation, Tick(now))
            );
        }
    }
}

#[test]
fn cb3_with_threads_the_sums_are_those_of_the_ring() {
    let memory = Outcomes::new(Window::count(7), true, 1, Tick(0));
    thread::scope(|scope| {
        for thread in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for at in 0..5_000 {
                    record(memory, 1, 0, (at + thread) % 3 == 0, false);
                }
            });
        }
    });
    let Outcomes::Calls(window) = &memory else {
        unreachable!()
    };
    assert_eq!(window.held(1).0, 7);
    assert_eq!(seen(&memory, 1, 0), window.held(1));
}

#[test]
fn cb1_a_window_of_calls_of_any_size_counts_as_a_list() {
    for (size, slow) in [
        (1, false),
        (2, true),
        (3, false),
        (7, true),
        (64, false),
        (1_000_000, true),
    ] {
        let memory = Outcomes::new(Window::count(size), slow, 3, Tick(0));
        let (mut rng, mut list) = (fastrand::Rng::with_seed(size.into()), Vec::new());
        // More laps of the smallest than 16 bits count.
        for _ in 0..100_000 {
            let (failed, is_slow) = (rng.bool(), slow && rng.u8(..3) == 0);
            record(&memory, 3, 0, failed, is_slow);
            list.push((failed, is_slow));
            let last = &list[list.len().saturating_sub(size.min(64) as usize)..];
            let counts = memory.counts(3, Tick(0));
            assert_eq!(counts.calls, size.min(list.len() as u32));
            if size <= 64 {
                let failures = last.iter().filter(|call| call.0).count() as u32;
                let slow = last.iter().filter(|call| call.1).count() as u32;
                assert_eq!((counts.failures, counts.slow), (failures, slow));
            }
        }
    }
}

#[test]
fn cb1_an_outcome_leaves_with_its_bucket() {
    let memory = time(10, 0, 0);
    record(&memory, 0, MS - 1, true, false);
    record(&memory, 0, MS, false, false);
    assert_eq!(seen(&memory, 0, 10 * MS - 1), (2, 1));
    assert_eq!(seen(&memory, 0, 10 * MS), (1, 0));
    assert_eq!(seen(&memory, 0, 11 * MS), (0, 0));
}

#[test]
fn cb5_an_outcome_that_is_late_by_any_number_of_generations_changes_nothing() {
    for generations in [[4, 5, 60, 3_000], [u32::MAX - 2, u32::MAX, 0, 1]] {
        let before = generations[0] - 1;
        for memory in [
            Outcomes::new(Window::count(4), true, before, Tick(0)),
            time(4, before, 0),
        ] {
            for generation in generations {
                record(&memory, generation, 0, false, false);
                for late in 1..4 {
                    record(&memory, generation.wrapping_sub(late), 0, true, true);
                }
                record(&memory, generation, 0, true, false);
                assert_eq!(seen(&memory, generation, 0), (2, 1), "{generation}");
            }
        }
    }
}

#[test]
fn cb5_a_generation_that_begins_with_the_clock_set_back_sees_nothing_of_the_one_before() {
    for back in 0..40 {
        let memory = time(10, 0, 0);
        (0..10).for_each(|at| record(&memory, 0, (30 + at) * MS, true, false));
        let now = (39 - back.min(39)) * MS;
        assert_eq!(seen(&memory, 1, now), (0, 0), "{back}");
        record(&memory, 1, now, false, false);
        assert_eq!(seen(&memory, 1, now), (1, 0), "{back}");
    }
}

#[test]
fn cb3_a_clock_that_is_set_back_hides_no_outcome() {
    let memory = time(10, 0, 0);
    for at in [100, 5, 50, 100, 0] {
        record(&memory, 0, at * MS, true, false);
    }
    assert_eq!(seen(&memory, 0, 0), (5, 5));
}

#[test]
fn cb3_a_wrap_of_the_stamps_loses_nothing() {
    let wrap = (1 << 32) * MS;
    let memory = time(10, 0, wrap - 20 * MS);
    for at in wrap / MS - 20..wrap / MS + 20 {
        record(&memory, 0, at * MS, at % 2 == 0, false);
        let (calls, failures) = seen(&memory, 0, at * MS);
        let expected = (at - (wrap / MS - 20) + 1).min(10) as u32;
        assert_eq!(calls, expected, "{at}");
        assert!(failures.abs_diff(calls / 2) <= 1);
    }
}

#[test]
fn cb3_no_age_of_an_old_word_hides_an_outcome() {
    // Last used up to a round of stamps before.
    for days in 0..60 {
        let memory = time(10, 0, 0);
        let now = days * 86_400_000 * MS + 7 * MS;
        record(&memory, 0, now, true, false);
        assert_eq!(seen(&memory, 0, now), (1, 1), "{days}");
    }
}

#[test]
fn cb4_a_count_saturates() {
    let memory = time(1, 0, 0);
    record(&memory, 0, 0, true, true);
    let Outcomes::Time(window) = &memory else {
        unreachable!()
    };
    window.successes.shared[0].add(0, i32::MAX);
    window.failures[0].add(0, i32::MAX - 1);
    record(&memory, 0, 0, true, false);
    let most = i32::MAX as u32;
    assert_eq!(seen(&memory, 0, 0), (2 * most, most));
    record(&memory, 0, 0, true, false);
    record(&memory, 0, 0, false, false);
    assert_eq!(seen(&memory, 0, 0), (2 * most, most));
}
