use super::*;
use crate::testing::ms;

fn rules(trips: impl IntoIterator<Item = Trip>) -> Rules {
    let config = Config {
        trips: trips.into_iter().collect(),
        ..Config::default()
    };
    config.check(&"tested".into()).unwrap();
    Rules::new(config, 0, Tick(0), None)
}

fn changed(rules: &Rules, trips: impl IntoIterator<Item = Trip>) -> Rules {
    let config = Config {
        trips: trips.into_iter().collect(),
        ..rules.config.clone()
    };
    Rules::new(config, 0, Tick(0), Some(rules))
}

const SUCCESS: Ended = Ended {
    failure: None,
    elapsed: None,
    slot: None,
};

const FAILURE: Ended = Ended {
    failure: Some((FailureKind::Error, None)),
    elapsed: None,
    slot: None,
};

const fn took(elapsed: Duration) -> Ended {
    Ended {
        failure: None,
        elapsed: Some(elapsed),
        slot: None,
    }
}

fn record(rules: &Rules, call: &Ended) -> Option<Tripped> {
    rules.record(0, Tick(0), call)
}

fn calls(rules: &Rules) -> Vec<u32> {
    let counts = rules.counts(0, Tick(0)).into_iter();
    counts.map(|(_, counts)| counts.calls).collect()
}

#[test]
fn cb1_rates_compare_with_at_least_and_slow_with_longer_than() {
    let rate = Trip::failure_rate(0.5).over(Window::count(4)).min_calls(2);
    let half = rules([rate]);
    assert_eq!(record(&half, &SUCCESS), None);
    assert!(record(&half, &FAILURE).is_some());

    let slow = Trip::slow_rate(0.5, ms(10))
        .over(Window::count(4))
        .min_calls(2);
    let half = rules([slow]);
    assert_eq!(record(&half, &took(ms(10))), None);
    assert_eq!(record(&half, &took(ms(10))), None);
    assert_eq!(record(&half, &took(ms(11))), None);
    let tripped = record(&half, &took(ms(11))).expect("two of four");
    assert_eq!((tripped.counts.slow, tripped.kind), (2, FailureKind::Slow));
}

#[test]
fn cb1_the_first_rule_that_holds_trips() {
    let rate = Trip::failure_rate(0.5).over(Window::count(4)).min_calls(1);
    let streak = Trip::consecutive_failures(1);
    let some = Trip::failures(1);
    for order in [
        [rate.clone(), streak.clone(), some.clone()],
        [streak.clone(), some.clone(), rate.clone()],
        [some, rate, streak],
    ] {
        let first = order[0].to_string();
        let tripped = record(&rules(order), &FAILURE).expect("all hold");
        assert_eq!(tripped.rule, first);
    }
}

#[test]
fn cb1_a_custom_rule_decides_by_its_window_and_may_panic() {
    let odd = Trip::custom("odd", |counts| counts.failures % 2 == 1 && counts.calls > 2);
    let breaks = Trip::custom("breaks", |_| panic!("a rule of the user's"));
    let rules = rules([breaks.min_calls(1), odd.min_calls(1)]);
    assert_eq!(record(&rules, &FAILURE), None);
    assert_eq!(record(&rules, &SUCCESS), None);
    assert_eq!(record(&rules, &FAILURE), None);
    let tripped = record(&rules, &FAILURE).expect("the third");
    assert_eq!((&*tripped.rule, tripped.counts.failures), ("odd", 3));
}

#[test]
fn cb1_a_custom_rule_sees_the_failures_in_a_row_whatever_the_other_rules() {
    let row = || Trip::custom("row", |counts| counts.consecutive > 5).min_calls(1);
    // Neither a rule with a shorter time, nor a window of fewer calls.
    let others = [
        vec![],
        vec![Trip::consecutive_failures(4_000).within(ms(1))],
        vec![Trip::failures(900), Trip::consecutive_failures(7)],
    ];
    for others in others {
        let rules = rules(
            others
                .into_iter()
                .chain([row(), row().over(Window::count(2))]),
        );
        for round in 0..3 {
            for failure in 1..=5 {
                let now = Tick((10 * round + failure) * 1_000_000_000);
                assert_eq!(rules.record(0, now, &FAILURE), None, "{failure}");
            }
            // CB11
            let counts = rules.counts(0, Tick(0));
            assert!(counts.iter().all(|(_, counts)| counts.consecutive == 5));
            if round < 2 {
                record(&rules, &SUCCESS);
            }
        }
        // CB19: a rule that is added later sees them too.
        let rules = changed(&rules, [row()]);
        let tripped = record(&rules, &FAILURE).expect("the sixth");
        assert_eq!((&*tripped.rule, tripped.counts.consecutive), ("row", 6));
    }
}

#[test]
fn cb1_the_failures_in_a_row_have_no_limit() {
    let long = Trip::custom("long", |counts| counts.consecutive >= 10_000);
    let rules = rules([
        long.over(Window::count(1)),
        Trip::consecutive_failures(4_095).lasting(ms(1)),
    ]);
    for failure in 1..10_000 {
        assert_eq!(record(&rules, &FAILURE), None, "{failure}");
    }
    assert!(record(&rules, &FAILURE).is_some());
}

#[test]
fn cb11_every_rule_has_its_own_counts() {
    let trips = [
        Trip::consecutive_failures(9).within(ms(5)),
        Trip::consecutive_failures(9),
        Trip::failures(4).within(ms(5)),
        Trip::failure_rate(1.0).over(Window::count(20)),
    ];
    let rules = rules(trips);
    record(&rules, &SUCCESS);
    for at in [0, 3, 8] {
        rules.record(0, Tick(at * 1_000_000), &FAILURE);
    }
    let counts = rules.counts(0, Tick(8_000_000)).into_iter();
    let counts: Vec<_> = counts
        .map(|(_, counts)| (counts.calls, counts.failures, counts.consecutive))
        .collect();
    assert_eq!(counts, [(2, 2, 3), (3, 3, 3), (2, 2, 3), (4, 3, 3)]);
}

#[test]
fn cb19_counts_are_kept_where_the_window_is_the_same() {
    let over = |window| Trip::failure_rate(0.9).over(window);
    let slow = |after| Trip::slow_rate(0.9, ms(after)).over(Window::count(9));
    let before = rules([
        over(Window::count(10)),
        slow(5),
        Trip::failures(9),
        Trip::consecutive_failures(9),
    ]);
    (0..3).for_each(|_| drop(record(&before, &FAILURE)));
    let kept = changed(
        &before,
        [
            Trip::consecutive_failures(5).lasting(ms(1)),
            Trip::failures(9).within(ms(70)),
            slow(5).min_calls(1),
            Trip::custom("mine", |_| false).over(Window::count(10)),
        ],
    );
    assert_eq!(calls(&kept), [3, 3, 3, 3]);
    let fresh = changed(
        &before,
        [
            over(Window::count(11)),
            over(Window::time(ms(100))),
            slow(6),
            Trip::failures(8),
            over(Window::count(10)).min_calls(3),
        ],
    );
    assert_eq!(calls(&fresh), [0, 0, 0, 0, 3]);
}

#[test]
fn cb19_two_rules_never_share_a_memory() {
    let over = |rate| Trip::failure_rate(rate).over(Window::count(10));
    let before = rules([over(0.9)]);
    record(&before, &FAILURE);
    let both = changed(&before, [over(0.8), over(0.7)]);
    assert_eq!(calls(&both), [1, 0]);
    record(&both, &SUCCESS);
    assert_eq!(calls(&both), [2, 1]);
    // The rule that stays the same keeps its own.
    assert_eq!(calls(&changed(&both, [over(0.6), over(0.8)])), [1, 2]);
    assert_eq!(calls(&changed(&both, [over(0.7)])), [1]);
}

#[test]
fn cb19_rules_of_one_window_keep_their_order() {
    let over = |rate| Trip::failure_rate(rate).over(Window::count(10));
    let mut rules = rules([over(0.91)]);
    for trips in [vec![0.91, 0.92], vec![0.91, 0.92, 0.93]] {
        record(&rules, &SUCCESS);
        rules = changed(&rules, trips.into_iter().map(over));
    }
    record(&rules, &SUCCESS);
    assert_eq!(calls(&rules), [3, 2, 1]);
    assert_eq!(
        calls(&changed(&rules, [over(0.5), over(0.6), over(0.7)])),
        [3, 2, 1]
    );
}
