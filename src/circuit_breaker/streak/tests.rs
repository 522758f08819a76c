use std::thread;

use super::*;

fn at(ms: u64) -> Tick {
    Tick(ms * MILLI)
}

#[test]
fn cb1_a_streak_has_its_length_and_duration() {
    let streak = Streak::new(0);
    assert_eq!(streak.failure(0, at(5), None), (1, 0));
    assert_eq!(streak.failure(0, at(9), Some(10)), (2, 4));
    assert_eq!(streak.failure(0, at(15), Some(10)), (3, 10));
    assert_eq!(streak.failure(0, at(16), Some(10)), (1, 0));
    streak.success(0);
    assert_eq!(streak.length(0), 0);
    assert_eq!(streak.failure(0, at(17), None), (1, 0));
}

#[test]
fn cb1_a_streak_that_is_too_old_keeps_its_recent_failures() {
    let seconds =
        |streak: &Streak, second: u64| streak.failure(0, at(second * 1_000), Some(60_000));
    let streak = Streak::within(3, 0);
    assert_eq!(seconds(&streak, 0), (1, 0));
    assert_eq!(seconds(&streak, 50), (2, 50_000));
    assert_eq!(seconds(&streak, 61), (2, 11_000));
    assert_eq!(seconds(&streak, 65), (3, 15_000));
    // At 180 only the failure at 120 is within the time, at 241 none is.
    assert_eq!(seconds(&streak, 120), (3, 59_000));
    assert_eq!(seconds(&streak, 180), (2, 60_000));
    assert_eq!(seconds(&streak, 241), (1, 0));
    // A failure before a success or of another generation is no part of it.
    seconds(&streak, 242);
    streak.success(0);
    assert_eq!(seconds(&streak, 243), (1, 0));
    assert_eq!(seconds(&streak, 304), (1, 0));
    streak.begin(1);
    assert_eq!(streak.failure(1, at(305_000), Some(1_000)), (1, 0));
    assert_eq!(streak.failure(1, at(306_001), Some(1_000)), (1, 0));
}

#[test]
fn cb1_a_streak_that_is_cut_keeps_as_many_failures_as_the_rule_needs() {
    for n in [1, 8, 9, 100, 4_095] {
        let streak = Streak::within(n, 0);
        streak.failure(0, at(0), Some(9_000));
        let before = (1..5_000).map(|ms| streak.failure(0, at(ms), Some(9_000)).0);
        assert_eq!(before.last(), Some(COUNT_MASK));
        let (length, lasted) = streak.failure(0, at(9_001), Some(9_000));
        assert_eq!(length, n.max(8));
        assert_eq!(lasted, 9_001 - (5_000 - u64::from(n.max(8) - 1)));
    }
}

#[test]
fn cb1_the_length_of_a_streak_saturates() {
    let streak = Streak::new(0);
    let last = (0..5_000).map(|_| streak.failure(0, at(0), None).0).last();
    assert_eq!(last, Some(COUNT_MASK));
    assert_eq!(streak.length(0), COUNT_MASK);
    streak.success(0);
    assert_eq!(streak.length(0), 0);
}

#[test]
fn cb5_a_late_outcome_neither_lengthens_nor_ends_a_streak() {
    for generation in [1, 7, COUNT_MASK, COUNT_MASK + 1, u32::MAX, 0] {
        let streak = Streak::new(generation.wrapping_sub(1));
        streak.failure(generation.wrapping_sub(1), at(0), None);
        streak.begin(generation);
        assert_eq!(streak.length(generation), 0);
        streak.failure(generation, at(0), None);
        assert_eq!(
            streak.failure(generation.wrapping_sub(1), at(0), None),
            (0, 0)
        );
        streak.success(generation.wrapping_sub(1));
        assert_eq!(streak.length(generation), 1, "{generation}");
    }
}

#[test]
fn cb1_ages_are_right_over_the_wrap_and_zero_when_the_clock_steps_back() {
    let streak = Streak::new(0);
    let wrap = FIRST_MASK + 1;
    assert_eq!(streak.failure(0, at(wrap - 3), None), (1, 0));
    assert_eq!(streak.failure(0, at(wrap - 5), None), (2, 0));
    assert_eq!(streak.failure(0, at(wrap + 4), Some(7)), (3, 7));
    let recent = Recent::new(2, 0);
    let wrap = (TIME_MASK + 1) * MICRO;
    assert_eq!(recent.failure(0, Tick(wrap - 9 * MICRO)), None);
    assert_eq!(recent.failure(0, Tick(wrap + MICRO)), Some(10));
    assert_eq!(recent.failure(0, Tick(wrap - MICRO)), Some(0));
    assert!(recent.failure(0, Tick(u64::MAX)).is_some());
}

#[test]
fn cb1_the_last_failures_are_those_of_this_generation() {
    let recent = Recent::new(3, 0);
    for generation in [0, 1, 2, 0xFFFF, 0x1_0000, u32::MAX, 0] {
        recent.begin(generation);
        assert_eq!(recent.count(generation, at(9), u64::MAX), 0);
        assert_eq!(recent.failure(generation, at(1)), None);
        // CB5
        assert_eq!(recent.failure(generation.wrapping_sub(1), at(1)), None);
        assert_eq!(recent.failure(generation, at(2)), None);
        assert_eq!(recent.failure(generation, at(4)), Some(3_000));
        assert_eq!(recent.failure(generation, at(5)), Some(3_000));
        assert_eq!(recent.count(generation, at(9), 5_000), 2);
    }
}

#[test]
fn cb1_a_failure_finds_the_first_of_as_many_as_the_rule_needs() {
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
fn cb3_with_threads_every_failure_lengthens_the_streak() {
    let streak = Streak::new(0);
    let recent = Recent::new(4_001, 0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    streak.failure(0, at(1), None);
                    recent.failure(0, at(1));
                }
            });
        }
    });
    assert_eq!(streak.length(0), 4_000);
    assert_eq!(recent.count(0, at(1), 0), 4_000);
}
