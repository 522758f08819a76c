mod striped;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::{Bucket, Charge, Shortfall, fuzz};
use crate::fuzzing::cases;
use crate::rate_limit::quota::{Quota, UNITS};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::time::Tick;

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3_600 * SECOND;

/// The start of the tests' clock, a day after its origin like that of the real one.
const START: Tick = Tick(24 * 3_600 * SECOND);

fn at(nanos: u64) -> Tick {
    Tick(START.0 + nanos)
}

const fn ms(n: u64) -> u64 {
    n * 1_000_000
}

fn wait(shortfall: Shortfall) -> Duration {
    shortfall.wait().expect("a wait is known")
}

fn drain(bucket: &Bucket, now: Tick) -> u32 {
    (0..100_000)
        .take_while(|_| bucket.admit(now, 1).is_ok())
        .count() as u32
}

/// A grant: its instant and its cost.
type Granted = (u64, u32);

/// RL1 over every pair of grants, against the configured rate, in integers.
fn check_windows(quota: Quota, grants: &mut [Granted]) -> Result<(), String> {
    grants.sort_unstable();
    let period = quota.period().as_nanos() as i128;
    for (first, &(from, _)) in grants.iter().enumerate() {
        let mut sum = 0;
        for &(to, cost) in &grants[first..] {
            sum += i128::from(cost);
            let above = (sum - i128::from(quota.max_burst())) * period;
            if above > i128::from(to - from) * i128::from(quota.count()) {
                return Err(format!("{sum} from {from} to {to} with {quota}"));
            }
        }
    }
    Ok(())
}

/// The naive bucket: a count of tokens, in units, that may be below zero. Charges are kept in
/// a list, and the last one can be returned.
struct Naive {
    quota: Quota,
    level: i128,
    last: u64,
    charges: Vec<(usize, i128)>,
}

impl Naive {
    fn new(quota: Quota, now: Tick) -> Self {
        Self {
            quota,
            level: i128::from(quota.max_burst()) * i128::from(quota.interval()),
            last: now.0,
            charges: Vec::new(),
        }
    }

    fn full(&self) -> i128 {
        i128::from(self.quota.max_burst()) * i128::from(self.quota.interval())
    }

    /// The instant, or none if it is later than `latest`, or never.
    fn take(&mut self, id: usize, now: Tick, cost: u32, latest: u64) -> Result<u64, Option<u64>> {
        let passed = now.0.saturating_sub(self.last);
        self.last = self.last.max(now.0);
        self.level = self
            .full()
            .min(self.level + i128::from(passed) * i128::from(UNITS));
        let units = i128::from(cost) * i128::from(self.quota.interval());
        if units > self.full() {
            return Err(None);
        }
        let missing = (units - self.level).max(0);
        let wait = (missing + i128::from(UNITS) - 1) / i128::from(UNITS);
        let at = now.0 + u64::try_from(wait).expect("it fits");
        if at > latest {
            return Err(Some(at));
        }
        // The bucket is no fuller than full at the instant of the grant either.
        let passing = i128::from(at - now.0) * i128::from(UNITS);
        let after = self.full().min(self.level + passing) - units - passing;
        self.charges.push((id, self.level - after));
        self.level = after;
        Ok(at)
    }

    fn cancel(&mut self, id: usize) {
        if let Some(&(last, units)) = self.charges.last() {
            if last == id {
                self.charges.pop();
                self.level = self.full().min(self.level + units);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Back(u64),
    Admit(u32),
    Reserve {
        cost: u32,
        max_wait: u64,
        later: u64,
    },
    Cancel(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..ms(400)).prop_map(Step::Advance),
        1 => (0..ms(400)).prop_map(Step::Back),
        6 => (0u32..7).prop_map(Step::Admit),
        4 => (1u32..7, 0..3 * SECOND, 0..ms(500)).prop_map(|(cost, max_wait, later)| {
            Step::Reserve { cost, max_wait, later }
        }),
        3 => any::<prop::sample::Index>().prop_map(|i| Step::Cancel(i.index(1 << 16))),
    ]
}

fn quotas() -> impl Strategy<Value = Quota> {
    prop_oneof![
        Just(Quota::per_second(10)),
        Just(Quota::per_second(3).burst(5)),
        Just(Quota::new(7, Duration::from_nanos(999_999_937)).burst(2)),
        (1u32..50, 1u64..2_000_000_000, 1u32..9).prop_map(|(n, period, burst)| Quota::new(
            n,
            Duration::from_nanos(period)
        )
        .burst(burst)),
    ]
}

proptest! {
    #![proptest_config(cases(512))]

    // RL2, RL5, RL6: the same decisions as the naive bucket, and RL3: the same instants.
    #[test]
    fn rl2_decides_as_the_naive_bucket(
        quota in quotas(), steps in prop::collection::vec(step(), 1..120),
    ) {
        let bucket = Bucket::new(START, quota);
        let mut naive = Naive::new(quota, START);
        let mut now = START;
        let mut charges: Vec<(usize, Charge)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Advance(by) => now = Tick(now.0 + by),
                Step::Admit(0) => prop_assert!(bucket.admit(now, 0).is_ok()),
                Step::Admit(cost) => match (bucket.admit(now, cost), naive.take(id, now, cost, now.0)) {
                    (Ok(()), Ok(_)) => {}
                    (Err(shortfall), Err(due)) => {
                        prop_assert_eq!(shortfall.wait().map(|w| now.after(w).0), due);
                        prop_assert_eq!(shortfall.above_burst().is_some(), due.is_none());
                    }
                    (ours, naive) => prop_assert!(false, "{ours:?}, naive {naive:?}"),
                },
                Step::Reserve { cost, max_wait, .. } => {
                    let latest = now.0 + max_wait;
                    match (bucket.take(now, now, cost, Tick(latest)), naive.take(id, now, cost, latest)) {
                        (Ok(charge), Ok(due)) => {
                            prop_assert_eq!(charge.at.0, due);
                            charges.push((id, charge));
                        }
                        (Err(shortfall), Err(due)) => {
                            prop_assert_eq!(shortfall.wait().map(|w| now.after(w).0), due);
                        }
                        (ours, naive) => prop_assert!(false, "{ours:?}, naive {naive:?}"),
                    }
                }
                Step::Cancel(which) => if !charges.is_empty() {
                    let (id, charge) = charges.remove(which % charges.len());
                    bucket.cancel(&charge);
                    naive.cancel(id);
                },
                Step::Back(_) => {}
            }
        }
    }

    // RL1, RL5: with reservations for now and for later, returned in any order at any time, and a
    // clock that also steps back (RL9).
    #[test]
    fn rl1_no_window_admits_more_than_burst_and_rate(
        quota in quotas(), steps in prop::collection::vec(step(), 1..120),
    ) {
        let bucket = Bucket::new(START, quota);
        let mut now = START;
        let mut grants: Vec<Granted> = Vec::new();
        let mut open: Vec<(Charge, u32)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(by) => now = Tick(now.0 + by),
                Step::Back(by) => now = Tick(now.0 - by.min(now.0)),
                Step::Admit(cost) => if cost > 0 && bucket.admit(now, cost).is_ok() {
                    grants.push((now.0, cost));
                },
                Step::Reserve { cost, max_wait, later } => {
                    let not_before = Tick(now.0 + later);
                    let latest = not_before.after(Duration::from_nanos(max_wait));
                    if let Ok(charge) = bucket.take(now, not_before, cost, latest) {
                        prop_assert!(not_before <= charge.at && charge.at <= latest);
                        open.push((charge, cost));
                    }
                }
                Step::Cancel(which) => if !open.is_empty() {
                    let (charge, _) = open.remove(which % open.len());
                    bucket.cancel(&charge);
                },
            }
        }
        grants.extend(open.iter().map(|(charge, cost)| (charge.at.0, *cost)));
        check_windows(quota, &mut grants).map_err(TestCaseError::fail)?;
    }

    // RL9: a clock that swings gives the tokens between its ends, however often it swings.
    #[test]
    fn rl9_a_clock_that_steps_back_mints_nothing(
        quota in quotas(), readings in prop::collection::vec(0..SECOND, 1..300),
    ) {
        let bucket = Bucket::new(START, quota);
        let now = |reading: &u64| Tick(START.0 - SECOND / 2 + reading);
        let admitted = readings.iter().filter(|r| bucket.admit(now(r), 1).is_ok()).count();
        let (first, last) = (readings.iter().min(), readings.iter().max());
        let gives = u128::from(last.unwrap() - first.unwrap()) * u128::from(UNITS);
        let most = u128::from(quota.max_burst()) + gives / u128::from(quota.interval());
        prop_assert!(admitted as u128 <= most, "{admitted} of {most}");
    }

    // RL3, RL10: one nanosecond before the instant, and at the instant, with any debt.
    #[test]
    fn rl3_the_wait_is_exact_to_the_nanosecond(
        quota in quotas(), taken in 0u32..20, cost in 1u32..6, passed in 0..SECOND,
    ) {
        let bucket = Bucket::new(START, quota);
        for _ in 0..taken {
            let _ = bucket.admit(START, 1);
        }
        let now = at(passed);
        match bucket.peek(now, cost) {
            Ok(()) => prop_assert!(bucket.available(now) >= cost),
            Err(Shortfall::For(wait)) => {
                prop_assert!(bucket.available(now) < cost);
                let due = now.after(Duration::from_nanos(wait));
                prop_assert_eq!(bucket.admit(now, cost), bucket.peek(now, cost));
                prop_assert!(bucket.admit(Tick(due.0 - 1), cost).is_err());
                prop_assert_eq!(bucket.probe(now, now, cost), Ok(due));
                prop_assert!(bucket.admit(due, cost).is_ok());
            }
            Err(shortfall) => {
                prop_assert!(cost > quota.max_burst());
                prop_assert_eq!(shortfall.above_burst(), Some(quota.max_burst()));
            }
        }
    }

    // RL7: the admissions never exceed the burst and the tokens of all rates together.
    #[test]
    fn rl7_a_thousand_changes_mint_nothing(seed in any::<u64>()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        // Tokens in 2^-32, rounded up.
        let (mut given, mut taken, mut burst) = (0u128, 0u128, 5u128);
        let bucket = Bucket::new(START, Quota::per_second(5));
        let (mut now, mut interval, mut runs) = (START, Quota::per_second(5).interval(), true);
        let mut unlimited = false;
        for _ in 0..1_000 {
            let passed = rng.u64(0..ms(200));
            now = Tick(now.0 + passed);
            if runs {
                let tokens = (u128::from(passed * UNITS) << 32) / u128::from(interval) + 1;
                given += tokens;
            }
            while rng.u8(..4) > 0 {
                let cost = rng.u32(1..4);
                if bucket.admit(now, cost).is_ok() && !unlimited {
                    taken += u128::from(cost);
                }
            }
            prop_assert!(taken << 32 <= (burst << 32) + given, "{taken} of {burst} and {}", given >> 32);
            let quota = match rng.u8(..6) {
                0 => Quota::per_second(0).burst(rng.u32(..9)),
                1 => Quota::unlimited(),
                _ => Quota::per_second(rng.u32(1..50)).burst(rng.u32(1..9)),
            };
            bucket.change(now, quota);
            runs = !quota.is_stopped();
            unlimited = quota.is_unlimited();
            if runs && !unlimited {
                interval = quota.interval();
            }
            burst = burst.max(u128::from(quota.max_burst()).min(9));
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    // RL1, RL2, RL3, RL5, RL6, RL7, RL9, RL10, RL15: long, with changes and pauses, any quota and
    // a clock that goes anywhere.
    #[test]
    fn rl2_long_schedules_are_decided_like_the_ledger(data in prop::collection::vec(any::<u8>(), 0..4_000)) {
        fuzz::run(&data);
    }
}

// RL1 with 8 threads.
#[test]
fn rl1_holds_with_eight_threads_that_collide() {
    let quota = Quota::per_second(10_000).burst(50);
    for _ in 0..100 {
        let bucket = Bucket::new(START, quota);
        let clock = AtomicU64::new(START.0);
        let all = Barrier::new(8);
        let mut grants: Vec<Granted> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (bucket, clock, all) = (&bucket, &clock, &all);
                    scope.spawn(move || {
                        all.wait();
                        let mut grants = Vec::new();
                        for i in 0..3_000u32 {
                            let now = Tick(clock.fetch_add(2_000, Ordering::Relaxed));
                            let cost = 1 + (i + n) % 3;
                            if i % 5 == n % 5 {
                                let latest = now.after(Duration::from_millis(1));
                                if let Ok(charge) = bucket.take(now, now, cost, latest) {
                                    if i % 2 == 0 {
                                        bucket.cancel(&charge);
                                    } else {
                                        grants.push((charge.at.0, cost));
                                    }
                                }
                            } else if bucket.admit(now, cost).is_ok() {
                                grants.push((now.0, cost));
                            }
                        }
                        grants
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        assert!(grants.len() > 100, "{}", grants.len());
        check_windows(quota, &mut grants).unwrap();
        if bucket.collisions.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
    panic!("the threads never collided");
}

// RL6
#[test]
fn rl6_a_cost_above_the_burst_is_impossible_and_has_no_wait() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    assert!(bucket.admit(START, 10).is_ok());
    let shortfall = bucket.admit(START, 11).unwrap_err();
    assert_eq!(shortfall, Shortfall::AboveBurst(10));
    let shortfall = bucket.admit(START, 10).unwrap_err();
    assert_eq!(shortfall, Shortfall::For(SECOND));
    assert!(
        bucket
            .admit(START, u32::MAX)
            .unwrap_err()
            .above_burst()
            .is_some()
    );
    assert!(
        bucket
            .take(START, START, 11, Tick::NEVER)
            .unwrap_err()
            .above_burst()
            .is_some()
    );
}

// RL8
#[test]
fn rl8_ten_a_second_is_ten_a_second() {
    let bucket = Bucket::new(START, Quota::per_second(10).burst(1));
    let admitted = (0..10_000)
        .filter(|&i| bucket.admit(at(ms(i)), 1).is_ok())
        .count();
    assert_eq!(admitted, 100);
}

// RL5
#[test]
fn rl5_the_last_charge_returns_whole_and_an_earlier_one_not_at_all() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    let take = |cost| bucket.take(START, START, cost, Tick::NEVER).unwrap();
    let (a, b, c) = (take(3), take(1), take(9));
    assert_eq!(c.at, at(ms(300)));
    bucket.cancel(&a);
    assert_eq!(bucket.probe(START, START, 1), Ok(at(ms(400))));
    bucket.cancel(&c);
    assert_eq!(bucket.available(START), 6);
    bucket.cancel(&b);
    assert_eq!(bucket.available(START), 7);
    // In the reverse order all of it comes back.
    let (d, e) = (take(4), take(8));
    bucket.cancel(&e);
    bucket.cancel(&d);
    assert_eq!(bucket.available(START), 7);
}

// RL10
#[test]
fn rl10_peek_takes_nothing() {
    let bucket = Bucket::new(START, Quota::per_second(3));
    for _ in 0..100 {
        assert!(bucket.peek(START, 3).is_ok());
        assert_eq!(bucket.available(START), 3);
        assert_eq!(bucket.probe(START, START, 3), Ok(START));
    }
    assert_eq!(drain(&bucket, START), 3);
}

// RL7
#[test]
fn rl7_a_change_keeps_the_debt_in_tokens() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    assert_eq!(drain(&bucket, START), 10);
    bucket.change(START, Quota::per_second(5).burst(10));
    assert_eq!(
        wait(bucket.admit(START, 1).unwrap_err()),
        Duration::from_millis(200)
    );
    assert!(bucket.admit(at(ms(200)), 1).is_ok());
    // A debt of ten with a burst of four: six must be repaid before the next token.
    bucket.change(at(ms(200)), Quota::per_second(100).burst(4));
    assert_eq!(
        wait(bucket.admit(at(ms(200)), 1).unwrap_err()),
        Duration::from_millis(70)
    );
    // The added burst is available at once, because none of it was owed.
    bucket.change(at(ms(200)), Quota::per_second(100).burst(15));
    assert_eq!(bucket.available(at(ms(200))), 5);
}

// RL7
#[test]
fn rl7_zero_stops_the_clock_and_a_change_starts_it_where_it_stood() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    assert_eq!(drain(&bucket, START), 10);
    bucket.change(at(ms(250)), Quota::per_second(0).burst(10));
    let later = at(3_600 * SECOND);
    assert_eq!(bucket.available(later), 2);
    assert_eq!(drain(&bucket, later), 2);
    let shortfall = bucket.admit(later, 1).unwrap_err();
    assert_eq!(shortfall, Shortfall::Unknown);
    assert_eq!(
        bucket.take(later, later, 1, Tick::NEVER).unwrap_err(),
        shortfall
    );
    bucket.change(later, Quota::per_second(10));
    // Half a token had come before the stop.
    assert_eq!(
        wait(bucket.admit(later, 1).unwrap_err()),
        Duration::from_millis(50)
    );
    // A limiter that is built stopped is empty unless a burst is set.
    assert_eq!(drain(&Bucket::new(START, Quota::per_second(0)), later), 0);
    assert_eq!(
        drain(&Bucket::new(START, Quota::per_second(0).burst(3)), later),
        3
    );
}

// RL7
#[test]
fn rl7_unlimited_admits_everything_and_forgets_nothing() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    assert_eq!(drain(&bucket, START), 10);
    bucket.change(START, Quota::unlimited());
    assert!(bucket.admit(START, u32::MAX).is_ok());
    assert_eq!(bucket.available(START), u32::MAX);
    assert_eq!(drain(&bucket, START), 100_000);
    bucket.change(at(ms(300)), Quota::per_second(10));
    assert_eq!(drain(&bucket, at(ms(300))), 3);
}

// RL7: a debt is rounded up, so changing back and forth gives nothing.
#[test]
fn rl7_changing_back_and_forth_shortens_no_wait() {
    let bucket = Bucket::new(START, Quota::per_second(3));
    assert!(bucket.admit(START, 2).is_ok());
    // The debt is no whole number of tokens.
    let now = at(123_457);
    let before = wait(bucket.admit(now, 3).unwrap_err());
    for _ in 0..5_000 {
        bucket.change(now, Quota::per_second(7));
        bucket.change(now, Quota::per_second(3));
    }
    let after = wait(bucket.admit(now, 3).unwrap_err());
    assert!(after >= before, "{after:?} after {before:?}");
    assert!(
        after < before + Duration::from_micros(1),
        "{after:?} after {before:?}"
    );
}

// RL7, RL5
#[test]
fn rl7_a_charge_from_before_a_change_returns_nothing() {
    for change in [Quota::per_second(20), Quota::per_second(10)] {
        let bucket = Bucket::new(START, Quota::per_second(10));
        let charge = bucket.take(START, START, 5, Tick::NEVER).unwrap();
        // As many changes as bring the word's generation back to the same number.
        for _ in 0..4 {
            bucket.change(START, change.burst(10));
        }
        bucket.cancel(&charge);
        assert_eq!(bucket.available(START), 5);
    }
}

// RL7: while the clock stands still no more than the larger burst is admitted, in any order of
// changes and admissions.
#[test]
fn rl7_changes_during_admissions_mint_nothing() {
    for round in 0..20 {
        let bucket = Bucket::new(START, Quota::per_second(10).burst(2_000));
        let done = AtomicBool::new(false);
        let admitted: u32 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut admitted = 0;
                        while !done.load(Ordering::Relaxed) {
                            admitted += u32::from(bucket.admit(START, 1).is_ok());
                        }
                        admitted
                    })
                })
                .collect();
            for i in 0..2_000 {
                let rate = [7, 1_000_000, 13, 999][(i + round) % 4];
                bucket.change(START, Quota::per_second(rate).burst(2_000));
            }
            done.store(true, Ordering::Relaxed);
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert!(admitted <= 2_000, "{admitted}");
    }
}

// RL9
#[test]
fn rl9_the_extremes_neither_wrap_nor_panic() {
    let times = [
        0,
        1,
        START.0,
        START.0 + YEAR,
        u64::MAX / 2,
        u64::MAX - 1,
        u64::MAX,
    ];
    let quotas = [
        Quota::per_day(1),
        Quota::per_second(u32::MAX),
        Quota::per_day(1).burst(416),
        Quota::new(1, Duration::from_secs(416 * 24 * 3_600)),
        Quota::per_second(0),
        Quota::per_second(0).burst(u32::MAX),
        Quota::unlimited(),
    ];
    for quota in quotas {
        for made in times {
            let bucket = Bucket::new(Tick(made), quota);
            for now in times.into_iter().chain(times.into_iter().rev()) {
                let now = Tick(now);
                for cost in [0, 1, 3, u32::MAX] {
                    let _ = bucket.admit(now, cost);
                    let _ = bucket.peek(now, cost);
                    let _ = bucket.available(now);
                    for latest in times {
                        if let Ok(charge) = bucket.take(now, Tick(latest), cost, Tick(latest)) {
                            bucket.cancel(&charge);
                        }
                        let _ = bucket.take(now, now, cost, Tick(latest));
                        bucket.pause(now, Tick(latest));
                        bucket.resume(now);
                    }
                }
                for other in quotas {
                    bucket.change(now, other);
                }
                bucket.change(now, quota);
            }
        }
    }
    let bucket = Bucket::new(Tick(u64::MAX), Quota::per_second(2));
    assert_eq!(drain(&bucket, Tick(u64::MAX)), 2);
    assert_eq!(drain(&bucket, Tick(u64::MAX)), 0);
}

// RL7, RL9: a burst without a rate is admitted once, also at instants before it was set.
#[test]
fn rl7_a_stopped_clock_gives_nothing_for_instants_before_the_stop() {
    let bucket = Bucket::new(START, Quota::per_second(0).burst(2));
    let early = Tick(START.0 - 3_600 * SECOND);
    assert_eq!(drain(&bucket, early), 2);
    assert_eq!(drain(&bucket, START), 0);
    bucket.change(START, Quota::per_second(10));
    assert_eq!(bucket.available(START), 8);
}

// RL9: from the end of time back to its beginning.
#[test]
fn rl9_a_clock_that_steps_back_from_the_end_of_time_mints_nothing() {
    let bucket = Bucket::new(Tick(u64::MAX), Quota::per_second(2));
    assert_eq!(drain(&bucket, Tick(u64::MAX)), 2);
    for now in [0, 1, START.0, START.0 + YEAR] {
        assert_eq!(bucket.available(Tick(now)), 0);
        assert_eq!(drain(&bucket, Tick(now)), 0);
    }
}

// RL9: a charge that the word cannot hold is rejected, not cut.
#[test]
fn rl9_nothing_is_reserved_beyond_what_the_word_holds() {
    let bucket = Bucket::new(START, Quota::per_day(1).burst(416));
    let far = at(10 * YEAR);
    assert!(bucket.take(START, far, 1, Tick::NEVER).is_err());
    assert_eq!(bucket.available(START), 416);
    let mut last = START;
    while let Ok(charge) = bucket.take(START, START, 100, Tick::NEVER) {
        assert!(charge.at >= last);
        last = charge.at;
    }
    assert!(last > at(YEAR), "{last:?}");
    assert_eq!(bucket.available(START), 0);
    assert!(bucket.admit(START, 1).is_err());
}

// RL9, CX17: a paused runtime that started before the limiter was built.
#[test]
fn rl9_a_clock_that_stepped_back_still_runs() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    let early = Tick(START.0 - 3_600 * SECOND);
    assert_eq!(drain(&bucket, early), 10);
    assert_eq!(
        wait(bucket.admit(early, 1).unwrap_err()),
        Duration::from_millis(100)
    );
    assert!(bucket.admit(Tick(early.0 + ms(100)), 1).is_ok());
}

// RL1, RL7, RL9: an instant that was granted stays taken, also after a pause by a clock that has
// stepped back. Before the limiter's first instant the clock stands still, and a pause or a change,
// after which it runs again, keeps the debt.
#[test]
fn rl7_a_clock_that_stepped_back_keeps_the_debt() {
    let (made, quota) = (at(10 * SECOND), Quota::per_second(10).burst(7));
    let bucket = Bucket::new(made, quota);
    let early = Tick(made.0 - 23 * 3_600 * SECOND);
    let next = |now, cost| bucket.take(now, now, cost, Tick::NEVER).unwrap().at;
    assert_eq!(next(made, 7), made);
    assert_eq!(next(early, 7), at(10 * SECOND + ms(700)));
    bucket.pause(early, Tick(early.0 + ms(550)));
    assert_eq!(next(early, 7), at(10 * SECOND + ms(1_400)));

    for turn in [
        |bucket: &Bucket, now: Tick| bucket.pause(now, Tick(now.0 + 1)),
        |bucket: &Bucket, now: Tick| bucket.change(Tick(now.0 + 1), Quota::per_second(10).burst(7)),
    ] {
        // Nothing comes before the origin, ten seconds after zero.
        let (bucket, early) = (Bucket::new(made, quota), Tick(SECOND));
        assert!(bucket.admit(early, 4).is_ok());
        assert!(bucket.admit(Tick(9 * SECOND), 2).is_ok());
        assert_eq!(bucket.available(Tick(9 * SECOND)), 1);
        turn(&bucket, early);
        assert_eq!(bucket.available(Tick(early.0 + ms(100))), 1);
        assert_eq!(bucket.available(Tick(early.0 + ms(100) + 1)), 2);
    }
}

// RL1, with a clock that steps back before the limiter's first instant: reservations from before
// are not counted with those after the origin was moved back.
#[test]
fn rl1_a_window_does_not_reach_across_an_origin_that_moved_back() {
    const ADMIT: [u8; 3] = [0, 0, 64 + 63];
    const TAKE: [u8; 5] = [7, 7, 1, 0, 0];
    const BACK: [u8; 3] = [13, 3, 0];
    const PAUSE: [u8; 4] = [12, 1, 5, 55];
    // A second after `DAY`, ten per second, burst 7, no stripes.
    let made = [1, 5, 100, 3, 6, 0, 1, 1];
    fuzz::run(&[&made[..], &ADMIT, &BACK, &TAKE, &PAUSE, &TAKE].concat());
    // One stripe, and instead of a pause a cost that needs the stripe's tokens.
    let made = [1, 5, 100, 3, 6, 0, 0, 1];
    let less = [7, 6, 1, 0, 0];
    fuzz::run(&[&made[..], &ADMIT, &BACK, &less, &TAKE].concat());
}

// RL9: the word holds 4.5 years, the limiter any time.
#[test]
fn rl9_a_century_gives_a_token_each_day() {
    let bucket = Bucket::new(START, Quota::per_day(3).burst(1));
    let third = 8 * 3_600 * SECOND;
    for i in 0..100 * 365 * 3 {
        let due = at(i * third);
        assert!(i == 0 || bucket.admit(Tick(due.0 - 1), 1).is_err(), "{i}");
        assert!(bucket.admit(due, 1).is_ok(), "{i}");
    }
}

// RL15
#[test]
fn rl15_a_pause_ends_with_one_token_at_its_instant() {
    for quota in [
        Quota::per_second(10),
        Quota::per_second(10).burst(1),
        Quota::unlimited(),
    ] {
        let bucket = Bucket::new(START, quota);
        bucket.pause(START, at(SECOND));
        assert_eq!(
            wait(bucket.admit(START, 1).unwrap_err()),
            Duration::from_secs(1)
        );
        assert_eq!(bucket.pause_left(START), Some(Duration::from_secs(1)));
        assert_eq!(bucket.available(at(SECOND - 1)), 0);
        assert!(bucket.admit(at(SECOND - 1), 1).is_err());
        assert!(bucket.admit(at(SECOND), 1).is_ok());
        assert_eq!(bucket.pause_left(at(SECOND)), None);
        if !quota.is_unlimited() {
            assert_eq!(
                wait(bucket.admit(at(SECOND), 1).unwrap_err()),
                Duration::from_millis(100)
            );
        }
    }
}

// RL15
#[test]
fn rl15_another_pause_only_lengthens_a_pause() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    bucket.pause(START, at(SECOND));
    bucket.pause(START, at(ms(200)));
    assert_eq!(bucket.probe(START, START, 1), Ok(at(SECOND)));
    assert_eq!(bucket.pause_left(START), Some(Duration::from_secs(1)));
    bucket.pause(at(ms(500)), at(2 * SECOND));
    assert_eq!(bucket.probe(at(ms(500)), START, 1), Ok(at(2 * SECOND)));
}

// RL15, RL7: the pause is no debt, so a slower rate does not stretch it.
#[test]
fn rl15_a_pause_outlasts_every_change_of_quota_unchanged() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    bucket.pause(START, at(SECOND));
    for quota in [
        Quota::per_second(1).burst(10),
        Quota::unlimited(),
        Quota::per_second(1_000),
        Quota::per_second(0).burst(10),
        Quota::per_minute(6),
    ] {
        bucket.change(at(ms(10)), quota);
        assert!(
            bucket.admit(at(ms(20)), 1).is_err() || quota.is_stopped(),
            "{quota}"
        );
        if !quota.is_stopped() {
            assert_eq!(
                bucket.probe(at(ms(20)), START, 1),
                Ok(at(SECOND)),
                "{quota}"
            );
        }
    }
    // A reservation after the pause is a debt at the new rate, after the pause.
    let queue = || bucket.take(at(ms(20)), START, 1, Tick::NEVER).unwrap().at;
    assert_eq!(queue(), at(SECOND));
    assert_eq!(queue(), at(11 * SECOND));
    bucket.change(at(ms(20)), Quota::per_second(100));
    assert_eq!(queue(), at(SECOND + ms(20)));
}

// RL15
#[test]
fn rl15_resume_gives_one_token_and_the_debt_from_before() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    bucket.pause(START, at(60 * SECOND));
    bucket.resume(at(ms(5)));
    assert_eq!(drain(&bucket, at(ms(5))), 1);
    let bucket = Bucket::new(START, Quota::per_second(10));
    while bucket.take(START, START, 1, at(ms(500))).is_ok() {}
    bucket.pause(START, at(60 * SECOND));
    bucket.resume(at(ms(5)));
    assert_eq!(bucket.probe(at(ms(5)), START, 1), Ok(at(ms(600))));
    // No call overtakes a reservation after the pause.
    bucket.pause(at(ms(5)), at(SECOND));
    assert_eq!(
        bucket.take(at(ms(5)), START, 1, Tick::NEVER).unwrap().at,
        at(SECOND)
    );
    bucket.resume(at(ms(6)));
    assert_eq!(bucket.probe(at(ms(6)), START, 1), Ok(at(SECOND + ms(100))));
}

// RL15, RL5
#[test]
fn rl15_a_returned_charge_does_not_shorten_a_pause() {
    let bucket = Bucket::new(START, Quota::per_second(10));
    let charge = bucket.take(START, START, 10, START).unwrap();
    bucket.pause(START, at(ms(50)));
    bucket.cancel(&charge);
    assert!(bucket.admit(at(ms(50) - 1), 1).is_err());
    let charge = bucket.take(START, START, 1, Tick::NEVER).unwrap();
    bucket.cancel(&charge);
    assert!(bucket.admit(at(ms(50) - 1), 1).is_err());
}
