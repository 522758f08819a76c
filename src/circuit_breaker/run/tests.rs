use std::thread;

use super::*;

fn at(ms: u64) -> Tick {
    Tick(ms * MILLI)
}

#[test]
fn cb1_a_run_knows_its_length_and_how_long_it_lasted() {
    let run = Run::new(0);
    assert_eq!(run.failure(0, at(5), None), (1, 0));
    assert_eq!(run.failure(0, at(9), Some(10)), (2, 4));
    assert_eq!(run.failure(0, at(15), Some(10)), (3, 10));
    assert_eq!(run.failure(0, at(16), Some(10)), (1, 0));
    run.success(0);
    assert_eq!(run.length(0), 0);
    assert_eq!(run.failure(0, at(17), None), (1, 0));
}

#[test]
fn cb1_a_run_that_is_too_old_keeps_its_recent_failures() {
    let seconds = |run: &Run, second: u64| run.failure(0, at(second * 1_000), Some(60_000));
    let run = Run::cut(3, 0);
    assert_eq!(seconds(&run, 0), (1, 0));
    assert_eq!(seconds(&run, 50), (2, 50_000));
    assert_eq!(seconds(&run, 61), (2, 11_000));
    assert_eq!(seconds(&run, 65), (3, 15_000));
    // Only 120 is within the time, and nothing is.
    assert_eq!(seconds(&run, 120), (3, 59_000));
    assert_eq!(seconds(&run, 180), (2, 60_000));
    assert_eq!(seconds(&run, 241), (1, 0));
    // What came before a success is no part of it, nor what came in another era.
    seconds(&run, 242);
    run.success(0);
    assert_eq!(seconds(&run, 243), (1, 0));
    assert_eq!(seconds(&run, 304), (1, 0));
    run.begin(1);
    assert_eq!(run.failure(1, at(305_000), Some(1_000)), (1, 0));
    assert_eq!(run.failure(1, at(306_001), Some(1_000)), (1, 0));
}

#[test]
fn cb1_a_run_that_is_cut_keeps_as_many_failures_as_the_rule_asks_for() {
    for n in [1, 8, 9, 100, 4_095] {
        let run = Run::cut(n, 0);
        run.failure(0, at(0), Some(9_000));
        let before = (1..5_000).map(|ms| run.failure(0, at(ms), Some(9_000)).0);
        assert_eq!(before.last(), Some(RUN_MASK));
        let (length, lasted) = run.failure(0, at(9_001), Some(9_000));
        assert_eq!(length, n.max(8));
        assert_eq!(lasted, 9_001 - (5_000 - u64::from(n.max(8) - 1)));
    }
}

#[test]
fn cb1_a_run_stops_at_its_longest() {
    let run = Run::new(0);
    let last = (0..5_000).map(|_| run.failure(0, at(0), None).0).last();
    assert_eq!(last, Some(RUN_MASK));
    assert_eq!(run.length(0), RUN_MASK);
    run.success(0);
    assert_eq!(run.length(0), 0);
}

#[test]
fn cb5_a_late_outcome_neither_lengthens_nor_ends_a_run() {
    for era in [1, 7, RUN_MASK, RUN_MASK + 1, u32::MAX, 0] {
        let run = Run::new(era.wrapping_sub(1));
        run.failure(era.wrapping_sub(1), at(0), None);
        run.begin(era);
        assert_eq!(run.length(era), 0);
        run.failure(era, at(0), None);
        assert_eq!(run.failure(era.wrapping_sub(1), at(0), None), (0, 0));
        run.success(era.wrapping_sub(1));
        assert_eq!(run.length(era), 1, "{era}");
    }
}

#[test]
fn cb1_time_is_told_over_the_wrap_and_stands_still_when_it_steps_back() {
    let run = Run::new(0);
    let wrap = FIRST_MASK + 1;
    assert_eq!(run.failure(0, at(wrap - 3), None), (1, 0));
    assert_eq!(run.failure(0, at(wrap - 5), None), (2, 0));
    assert_eq!(run.failure(0, at(wrap + 4), Some(7)), (3, 7));
    let recent = Recent::new(2, 0);
    let wrap = (TIME_MASK + 1) * MICRO;
    assert_eq!(recent.failure(0, Tick(wrap - 9 * MICRO)), None);
    assert_eq!(recent.failure(0, Tick(wrap + MICRO)), Some(10));
    assert_eq!(recent.failure(0, Tick(wrap - MICRO)), Some(0));
    assert!(recent.failure(0, Tick(u64::MAX)).is_some());
}

#[test]
fn cb1_the_last_failures_are_those_of_this_era() {
    let recent = Recent::new(3, 0);
    for era in [0, 1, 2, 0xFFFF, 0x1_0000, u32::MAX, 0] {
        recent.begin(era);
        assert_eq!(recent.within(era, at(9), u64::MAX), 0);
        assert_eq!(recent.failure(era, at(1)), None);
        // CB5
        assert_eq!(recent.failure(era.wrapping_sub(1), at(1)), None);
        assert_eq!(recent.failure(era, at(2)), None);
        assert_eq!(recent.failure(era, at(4)), Some(3_000));
        assert_eq!(recent.failure(era, at(5)), Some(3_000));
        assert_eq!(recent.within(era, at(9), 5_000), 2);
    }
}

#[test]
fn cb1_a_failure_is_the_last_of_as_many_as_asked_for() {
    for n in 1..6 {
        let recent = Recent::new(n, 7);
        for failure in 1..20u64 {
            let first = failure.checked_sub(u64::from(n));
            let ago = first.map(|_| u64::from(n - 1) * 1_000);
            assert_eq!(recent.failure(7, at(failure)), ago, "{failure} of {n}");
        }
        // CB5
        assert_eq!(recent.failure(6, at(20)), None);
    }
}

#[test]
fn cb6_the_mark_of_a_run_is_cleared_by_its_own_era_or_a_later_one() {
    for era in [0, 1, u32::MAX - 1, u32::MAX] {
        let hint = Hint::default();
        assert!(!hint.is_set());
        hint.set(era);
        assert!(hint.is_set());
        hint.clear(era.wrapping_sub(1));
        assert!(hint.is_set(), "{era}");
        hint.clear(era);
        assert!(!hint.is_set(), "{era}");
        hint.set(era);
        hint.clear(era.wrapping_add(1));
        assert!(!hint.is_set(), "{era}");
    }
}

#[test]
fn cb3_with_threads_every_failure_lengthens_the_run() {
    let run = Run::new(0);
    let recent = Recent::new(4_001, 0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    run.failure(0, at(1), None);
                    recent.failure(0, at(1));
                }
            });
        }
    });
    assert_eq!(run.length(0), 4_000);
    assert_eq!(recent.within(0, at(1), 0), 4_000);
}
