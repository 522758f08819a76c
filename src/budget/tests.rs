use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::state::EPOCH;
use super::{Budget, Refill, Withdrawal};
use crate::config::Mode;
use crate::fuzzing::cases;
use crate::outcome::FailureKind;

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
        let budget = Budget::builder().ratio(0.5).burst(0);
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

#[test]
fn rt4_the_defaults_are_as_documented() {
    let budget = Budget::builder().build().unwrap();
    (0..3).for_each(|_| budget.on_call());
    (0..8).for_each(|_| budget.on_success());
    assert_eq!(budget.snapshot().balance, 10.0 + 8.0 / 2.0);
    assert_eq!(budget.snapshot().ratio, 0.5);
    assert_eq!(spent(&budget), 14);
}

#[test]
fn rt4_an_attempt_after_throttling_costs_five_and_after_any_other_failure_one() {
    let budget = Budget::builder().burst(12).build().unwrap();
    let throttled = || budget.withdraw_after(FailureKind::Throttled);
    throttled().unwrap().spend();
    assert_eq!(budget.snapshot().balance, 7.0);
    drop(throttled());
    assert_eq!(budget.snapshot().balance, 7.0, "given back whole");
    for kind in [
        FailureKind::Error,
        FailureKind::Response,
        FailureKind::Unsent,
    ] {
        budget.withdraw_after(kind).unwrap().spend();
    }
    assert_eq!(budget.snapshot().balance, 4.0);
    assert!(throttled().is_none());
    assert_eq!(budget.snapshot().suppressed, 1);
    budget.withdraw().unwrap().spend();
    assert_eq!(budget.snapshot().balance, 3.0);
}

#[tokio::test(start_paused = true)]
async fn rt4_the_floor_pays_for_nothing_after_throttling() {
    let budget = Budget::builder().burst(0).floor(10).build().unwrap();
    wait(5.0).await;
    assert!(budget.withdraw_after(FailureKind::Throttled).is_none());
    budget.withdraw_after(FailureKind::Timeout).unwrap().spend();
}

/// One event at a budget, after this many milliseconds.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    after: u16,
    event: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Success,
    Call,
    /// An extra attempt after a failure, and whether it is made.
    Extra(FailureKind, bool),
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let kind = prop_oneof![
        3 => Just(FailureKind::Error),
        1 => Just(FailureKind::Throttled),
        1 => Just(FailureKind::Unsent),
    ];
    let event = prop_oneof![
        3 => Just(What::Success),
        3 => Just(What::Call),
        6 => (kind, prop::bool::weighted(0.8)).prop_map(|(kind, made)| What::Extra(kind, made)),
    ];
    let after = prop_oneof![6 => 0u16..20, 2 => 0u16..2_000, 1 => 0u16..25_000];
    let arrival = (after, event).prop_map(|(after, event)| Arrival { after, event });
    prop::collection::vec(arrival, 1..400)
}

proptest! {
    #![proptest_config(cases(128))]

    // In thousandths: in any number of epochs at most the ratio of the deposits of these and the one
    // before, the burst and the floor.
    #[test]
    fn rt4_for_any_arrivals_and_outcomes_extra_attempts_are_within_the_bound_at_their_prices(
        arrivals in arrivals(), ratio in 0u64..=1_000, burst in 0u32..20, floor in 0u32..5,
        by_calls in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            #[allow(clippy::cast_precision_loss)]
            let budget = Budget::builder().ratio(ratio as f64 / 1_000.0).burst(burst).floor(floor);
            let refill = if by_calls { Refill::Calls } else { Refill::Successes };
            let budget = budget.refill(refill).build().unwrap();
            let start = crate::time::now();
            // Each with its epoch; positive is what was deposited.
            let mut log: Vec<(u64, i64)> = Vec::new();
            for Arrival { after, event } in arrivals {
                wait(f64::from(after) / 1e3).await;
                let epoch = crate::time::now().0 / EPOCH;
                match event {
                    What::Success => budget.on_success(),
                    What::Call => budget.on_call(),
                    What::Extra(kind, made) => {
                        if let Some(withdrawal) = budget.withdraw_after(kind).filter(|_| made) {
                            withdrawal.spend();
                            let price = if kind == FailureKind::Throttled { 5 } else { 1 };
                            log.push((epoch, -price * 1_000));
                        }
                    }
                }
                if matches!(event, What::Call) == by_calls && !matches!(event, What::Extra(..)) {
                    log.push((epoch, ratio.try_into().unwrap()));
                }
            }
            let seconds = i64::try_from(crate::time::now().since(start).as_secs()).unwrap() + 1;
            let epochs: BTreeSet<u64> = log.iter().map(|(epoch, _)| *epoch).collect();
            for (from, to) in epochs.iter().flat_map(|from| epochs.range(from..).map(move |to| (from, to))) {
                let sum = |from, sign| {
                    let of = log.iter().filter(|(at, amount)| (from..=*to).contains(at) && amount.signum() == sign);
                    of.map(|(_, amount)| amount.abs()).sum::<i64>()
                };
                let time = i64::try_from((to - from + 1) * EPOCH / 1_000_000_000).unwrap();
                let floor = i64::from(floor) * 1_000 * time.min(seconds);
                let most = sum(from.saturating_sub(1), 1) + i64::from(burst) * 1_000 + floor;
                let extra = sum(*from, -1);
                assert!(extra <= most, "{extra} of {most} in {from} to {to}");
            }
        });
    }
}

// Each thread pays with what succeeds there, at both prices; nothing is lost and nothing is free.
#[test]
fn rt4_eight_threads_make_no_more_extra_attempts_than_are_paid() {
    const EACH: u64 = 5_000;
    let budget = Budget::builder().ratio(0.6).burst(10).build().unwrap();
    let epoch = || crate::time::now().0 / EPOCH;
    let (spent, started) = (crate::sync::AtomicU64::new(0), epoch());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (budget, spent) = (&budget, &spent);
            scope.spawn(move || {
                for i in 0..EACH {
                    budget.on_success();
                    let (kind, price) = match (i + thread) % 3 {
                        0 => (FailureKind::Throttled, 5),
                        _ => (FailureKind::Error, 1),
                    };
                    if let Some(withdrawal) = budget.withdraw_after(kind) {
                        if i % 7 != 0 {
                            withdrawal.spend();
                            spent.fetch_add(price, crate::sync::Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let most = 8 * EACH * 6 / 10 + 10;
    let spent = spent.into_inner();
    assert!(spent <= most, "{spent} of {most}");
    // An epoch that ended meanwhile has cut what was saved.
    if epoch() == started {
        #[allow(clippy::cast_precision_loss)]
        let all = spent as f64 + budget.snapshot().balance;
        assert_eq!(all, most as f64);
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
    (0..10).for_each(|_| budget.on_success());
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
