use std::time::Duration;

use super::{Budget, Refill, Withdrawal};
use crate::config::Mode;

fn spent(budget: &Budget) -> usize {
    let withdrawals = std::iter::from_fn(|| budget.withdraw());
    withdrawals.take(1_000).map(Withdrawal::spend).count()
}

async fn wait(secs: f64) {
    tokio::time::advance(Duration::from_secs_f64(secs)).await;
}

// The floor gives its attempts every second, saves none up, and gives none at the start.
#[tokio::test(start_paused = true)]
async fn rt4_the_floor_serves_when_the_balance_is_short() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(2)
        .floor(4)
        .build()
        .unwrap();
    assert_eq!(spent(&budget), 2);
    let mut from_floor = 0;
    for _ in 0..80 {
        wait(0.25).await;
        from_floor += spent(&budget);
    }
    assert_eq!(from_floor, 80, "in 20 s");
    wait(5.0).await;
    assert_eq!(spent(&budget), 1);

    wait(1.0).await;
    drop(budget.withdraw());
    assert_eq!(spent(&budget), 1, "given back to the floor");
    budget.change(|now| now.floor(0)).unwrap();
    wait(100.0).await;
    assert_eq!(spent(&budget), 0);
}

#[tokio::test(start_paused = true)]
async fn rt4_calls_or_successes_refill_it() {
    let of = |refill| {
        let budget = Budget::builder().ratio(0.5).burst(0).floor(0);
        budget.refill(refill).build().unwrap()
    };
    for (refill, by_calls, by_successes) in [(Refill::Calls, 5, 0), (Refill::Successes, 0, 5)] {
        let budget = of(refill);
        (0..10).for_each(|_| budget.on_call());
        assert_eq!(spent(&budget), by_calls, "{refill:?}");
        (0..10).for_each(|_| budget.on_success());
        assert_eq!(spent(&budget), by_successes, "{refill:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cx16_record_only_permits_every_attempt_and_counts_those_it_would_suppress() {
    let budget = Budget::builder()
        .ratio(0.0)
        .burst(2)
        .floor(0)
        .mode(Mode::RecordOnly);
    let budget = budget.build().unwrap();
    let withdrawals: Vec<_> = (0..5).map(|_| budget.withdraw()).collect();
    assert!(withdrawals.iter().all(Option::is_some));
    assert_eq!(budget.snapshot().suppressed, 3);
    drop(withdrawals);
    assert_eq!(
        budget.snapshot().balance,
        2.0,
        "what was not taken is not given back"
    );
    budget.set_mode(Mode::Off);
    assert_eq!(spent(&budget), 1_000);
    assert_eq!(
        (budget.snapshot().balance, budget.snapshot().suppressed),
        (2.0, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn cx19_cx15_the_balance_stays_and_a_bad_change_changes_nothing() {
    let budget = Budget::percent(250);
    assert_eq!(budget.snapshot().ratio, 1.0);
    budget.set_ratio(0.6).unwrap();
    assert!(budget.set_ratio(1.1).is_err());
    assert!(budget.set_ratio(f64::NAN).is_err());
    assert_eq!(budget.snapshot().ratio, 0.6);
    (0..10).for_each(|_| budget.on_call());
    assert_eq!(budget.snapshot().balance, 16.0);
    budget.change(|now| now.burst(1_000_000)).unwrap();
    budget.set_mode(Mode::Enforce);
    assert_eq!(budget.snapshot().balance, 16.0);
    budget.change(|now| now.burst(3)).unwrap();
    wait(10.0).await;
    assert_eq!(budget.snapshot().balance, 3.0);
    let error = Budget::builder()
        .ratio(-0.1)
        .burst(1_000_001)
        .build()
        .unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["ratio", "burst"]);
}
