//! A bucket with stripes.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::{Granted, Naive, SECOND, START, YEAR, at, check_windows, ms, wait};
use crate::fuzzing::cases;
use crate::rate_limit::quota::{Quota, UNITS};
use crate::rate_limit::state::stripes::Striped;
use crate::rate_limit::state::{Bucket, Charge, Shortfall};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::time::Tick;

fn bucket(quota: Quota, stripes: usize) -> Bucket {
    Bucket::striped(START, quota, Striped::Always(stripes))
}

/// The tokens that all stripes of a bucket may hold.
fn most_leased(quota: Quota, stripes: usize) -> u32 {
    Striped::Always(stripes).lease(quota.max_burst()).1
}

fn admit_via(bucket: &Bucket, slot: usize, now: Tick, cost: u32) -> Result<(), Shortfall> {
    if cost == 0 {
        return bucket.admit(now, cost);
    }
    bucket.admit_from_stripe(slot, || now, cost)
}

fn drain(bucket: &Bucket, now: Tick) -> u32 {
    (0..100_000)
        .take_while(|&slot| admit_via(bucket, slot, now, 1).is_ok())
        .count() as u32
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Admit(usize, u32),
    Many(usize, u32),
    Reserve {
        cost: u32,
        max_wait: u64,
        later: u64,
    },
    Cancel(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..ms(300)).prop_map(Step::Advance),
        1 => (0..5 * SECOND).prop_map(Step::Advance),
        4 => (0usize..8, 0u32..7).prop_map(|(slot, cost)| Step::Admit(slot, cost)),
        1 => (0usize..8, 1u32..300).prop_map(|(slot, cost)| Step::Admit(slot, cost)),
        4 => (0usize..8, 0u32..200).prop_map(|(slot, n)| Step::Many(slot, n)),
        2 => (1u32..9, 0..3 * SECOND, prop_oneof![Just(0), 0..ms(500)]).prop_map(
            |(cost, max_wait, later)| Step::Reserve { cost, max_wait, later }
        ),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 1..80)
}

/// Bursts with leases of one token and of more.
fn quotas() -> impl Strategy<Value = Quota> {
    let burst = prop_oneof![2u32..20, 20u32..300];
    (1u32..90, 1u64..2_000_000_000, burst)
        .prop_map(|(n, period, burst)| Quota::new(n, Duration::from_nanos(period)).burst(burst))
}

proptest! {
    #![proptest_config(cases(256))]

    // RL2: against a naive bucket of the same burst that is charged with the same admissions. It
    // admits each of them too, and if a cost is rejected, it has less than the stripes' share beyond
    // that cost. RL3, RL10: `peek` returns what comes.
    #[test]
    fn rl2_stripes_admit_only_what_the_naive_bucket_would_and_reject_little_early(
        quota in quotas(), stripes in 1usize..5, steps in steps(),
    ) {
        let bucket = bucket(quota, stripes);
        let interval = i128::from(quota.interval());
        // And less than a token, which a change of form rounds off.
        let share = (i128::from(most_leased(quota, stripes)) + 1) * interval;
        let mut naive = Naive::new(quota, START);
        let mut now = START;
        for step in steps {
            let (slot, cost, times) = match step {
                Step::Admit(slot, cost) => (slot, cost, 1),
                Step::Many(slot, times) => (slot, 1, times),
                Step::Advance(by) => {
                    now = Tick(now.0 + by);
                    continue;
                }
                _ => continue,
            };
            for _ in 0..times {
                let seen = bucket.peek(now, cost);
                prop_assert_eq!(seen.is_ok(), bucket.available(now) >= cost);
                let decided = admit_via(&bucket, slot, now, cost);
                prop_assert_eq!(decided, seen);
                match decided {
                    Ok(()) => prop_assert!(cost == 0 || naive.take(0, now, cost, now.0).is_ok()),
                    Err(shortfall) if shortfall.above_burst().is_some() => {
                        prop_assert!(cost > quota.max_burst());
                    }
                    Err(_) => {
                        prop_assert!(cost <= quota.max_burst());
                        let _ = naive.take(0, now, 0, now.0);
                        let beyond = naive.level - i128::from(cost) * interval;
                        prop_assert!(beyond < share, "{beyond} of {share} beyond {cost}");
                        break;
                    }
                }
            }
        }
    }

    // RL1, RL5: also with reservations, for now and for later, returned in any order. RL13: what
    // is granted for an instant is granted for every later one.
    #[test]
    fn rl1_no_window_admits_more_than_burst_and_rate_with_stripes(
        quota in quotas(), stripes in 1usize..5, steps in steps(),
    ) {
        let bucket = bucket(quota, stripes);
        let mut now = START;
        let mut grants: Vec<Granted> = Vec::new();
        let mut open: Vec<(Charge, u32)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(by) => now = Tick(now.0 + by),
                Step::Admit(slot, cost) => if cost > 0 && admit_via(&bucket, slot, now, cost).is_ok() {
                    grants.push((now.0, cost));
                },
                Step::Many(slot, times) => {
                    let times = (0..times).take_while(|_| admit_via(&bucket, slot, now, 1).is_ok());
                    grants.push((now.0, times.count() as u32));
                }
                Step::Reserve { cost, max_wait, later } => {
                    let seen = bucket.probe(now, now, cost);
                    let not_before = match seen {
                        Ok(due) => Tick(due.0.max(now.0 + later)),
                        Err(_) => Tick(now.0 + later),
                    };
                    let latest = match later {
                        0 => now.after(Duration::from_nanos(max_wait)),
                        _ => not_before,
                    };
                    let taken = bucket.take(now, if later == 0 { now } else { not_before }, cost, latest);
                    match taken {
                        Ok(charge) => {
                            let due = if later == 0 { seen } else { Ok(not_before) };
                            prop_assert_eq!(due, Ok(charge.at));
                            prop_assert!(charge.at <= latest);
                            open.push((charge, cost));
                        }
                        Err(Shortfall::For(wait)) => {
                            prop_assert!(later == 0, "{not_before:?} after {seen:?}");
                            prop_assert_eq!(seen, Ok(now.after(Duration::from_nanos(wait))));
                        }
                        Err(shortfall) => prop_assert_eq!(seen, Err(shortfall)),
                    }
                }
                Step::Cancel(which) => if !open.is_empty() {
                    let (charge, _) = open.remove(which.index(open.len()));
                    bucket.cancel(&charge);
                },
            }
        }
        grants.extend(open.iter().map(|(charge, cost)| (charge.at.0, *cost)));
        check_windows(quota, &mut grants).map_err(TestCaseError::fail)?;
    }

    // RL3: one nanosecond before the instant, and at the instant.
    #[test]
    fn rl3_the_wait_is_exact_with_stripes(
        quota in quotas(), stripes in 1usize..5, steps in steps(), slot in 0usize..8, cost in 1u32..300,
    ) {
        let bucket = bucket(quota, stripes);
        let mut now = START;
        for step in steps {
            match step {
                Step::Advance(by) => now = Tick(now.0 + by),
                Step::Admit(slot, cost) => { let _ = admit_via(&bucket, slot, now, cost); },
                Step::Many(slot, n) => for _ in 0..n { let _ = admit_via(&bucket, slot, now, 1); },
                _ => {}
            }
        }
        if let Err(Shortfall::For(wait)) = admit_via(&bucket, slot, now, cost) {
            let due = now.after(Duration::from_nanos(wait));
            prop_assert_eq!(bucket.probe(now, now, cost), Ok(due));
            prop_assert!(admit_via(&bucket, slot, Tick(due.0 - 1), cost).is_err());
            prop_assert!(admit_via(&bucket, slot, due, cost).is_ok());
        }
    }

    // RL9: like without stripes, counting the stripes' tokens.
    #[test]
    fn rl9_a_clock_that_steps_back_mints_nothing_with_stripes(
        quota in quotas(), stripes in 1usize..5,
        readings in prop::collection::vec((0..SECOND, 0usize..8, 1u32..9), 1..300),
    ) {
        let bucket = bucket(quota, stripes);
        let mut admitted = 0;
        for &(reading, slot, cost) in &readings {
            let now = Tick(START.0 - SECOND / 2 + reading);
            if admit_via(&bucket, slot, now, cost).is_ok() {
                admitted += u128::from(cost);
            }
        }
        let (first, last) = (readings.iter().min(), readings.iter().max());
        let gives = u128::from(last.unwrap().0 - first.unwrap().0) * u128::from(UNITS);
        let most = u128::from(quota.max_burst()) + gives / u128::from(quota.interval());
        prop_assert!(admitted <= most, "{admitted} of {most}");
    }

    // RL7: the admissions never exceed the burst and the tokens of all rates together.
    #[test]
    fn rl7_a_thousand_changes_mint_nothing_with_stripes(seed in any::<u64>(), stripes in 1usize..5) {
        let mut rng = fastrand::Rng::with_seed(seed);
        // Tokens in 2^-32, rounded up.
        let (mut given, mut taken, mut burst) = (0u128, 0u128, 50u128);
        let bucket = bucket(Quota::per_second(50), stripes);
        let (mut now, mut interval, mut runs) = (START, Quota::per_second(50).interval(), true);
        let mut unlimited = false;
        for _ in 0..1_000 {
            let passed = rng.u64(0..ms(100));
            now = Tick(now.0 + passed);
            if runs {
                given += (u128::from(passed * UNITS) << 32) / u128::from(interval) + 1;
            }
            while rng.u8(..8) > 0 {
                let cost = rng.u32(1..4);
                if admit_via(&bucket, rng.usize(..8), now, cost).is_ok() && !unlimited {
                    taken += u128::from(cost);
                }
            }
            prop_assert!(taken << 32 <= (burst << 32) + given, "{taken} of {burst} and {}", given >> 32);
            let quota = match rng.u8(..6) {
                0 => Quota::per_second(0).burst(rng.u32(..90)),
                1 => Quota::unlimited(),
                _ => Quota::per_second(rng.u32(1..500)).burst(rng.u32(1..90)),
            };
            bucket.change(now, quota);
            runs = !quota.is_stopped();
            unlimited = quota.is_unlimited();
            if runs && !unlimited {
                interval = quota.interval();
            }
            burst = burst.max(u128::from(quota.max_burst()).min(90));
        }
    }
}

/// Runs `threads` threads over `bucket`, each with its number and a clock that all of them
/// move. Returns their results.
fn with_threads<T: Send>(
    threads: u32,
    run: impl Fn(u32, &dyn Fn() -> Tick) -> Vec<T> + Sync,
) -> Vec<T> {
    let clock = AtomicU64::new(START.0);
    let clock = || {
        let now = clock.fetch_add(700, Ordering::SeqCst);
        // So that other threads run while a stripe is owned, also on one core.
        if now % 8 == 0 {
            thread::yield_now();
        }
        Tick(now)
    };
    let all = std::sync::Barrier::new(threads as usize);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|n| {
                let (run, clock, all) = (&run, &clock, &all);
                scope.spawn(move || {
                    all.wait();
                    run(n, clock)
                })
            })
            .collect();
        let said = threads.into_iter().flat_map(|t| t.join().unwrap());
        said.collect()
    })
}

/// RL1 for admissions whose instant is only known to lie between two: every window holds at most
/// its share of those that lie within it.
fn check_spans(quota: Quota, spans: &mut [(u64, u64, u32)]) {
    spans.sort_unstable_by_key(|span| span.1);
    let period = quota.period().as_nanos() as i128;
    for &(from, ..) in &*spans {
        let mut sum = 0;
        for &(begin, end, cost) in &*spans {
            if begin < from {
                continue;
            }
            sum += i128::from(cost);
            let above = (sum - i128::from(quota.max_burst())) * period;
            let gives = i128::from(end - from) * i128::from(quota.count());
            assert!(above <= gives, "{sum} from {from} to {end} with {quota}");
        }
    }
}

// RL1 with 8 threads, more than there are stripes.
#[test]
fn rl1_holds_with_eight_threads_that_collide_on_stripes() {
    let quota = Quota::per_second(60_000).burst(700);
    let mut collisions = 0;
    for _ in 0..4 {
        let bucket = Bucket::striped(START, quota, Striped::IfLarge(2));
        let mut spans = with_threads(8, |n, clock| {
            let mut spans = Vec::new();
            for i in 0..3_000_u32 {
                let (begin, cost) = (clock(), if i % 7 == n % 7 { 3 } else { 1 });
                let admitted = if i % 11 == n {
                    let taken = bucket.take(begin, begin, cost, begin);
                    if let Ok(charge) = taken {
                        if i % 2 == 0 {
                            bucket.cancel(&charge);
                        }
                    }
                    taken.is_ok() && i % 2 == 1
                } else {
                    bucket.admit_from_stripe(n as usize, clock, cost).is_ok()
                };
                if admitted {
                    spans.push((begin.0, clock().0, cost));
                }
            }
            spans
        });
        assert!(spans.len() > 1_000, "{}", spans.len());
        check_spans(quota, &mut spans);
        collisions += bucket.stripes.collisions.load(Ordering::Relaxed);
    }
    assert!(collisions > 0, "the threads never collided");
}

// RL7: while the clock stands still no more than the burst is admitted, in any order of changes,
// leases and admissions.
#[test]
fn rl7_changes_during_leases_mint_nothing() {
    for round in 0..20 {
        let bucket = bucket(Quota::per_second(10).burst(2_000), 4);
        let done = AtomicBool::new(false);
        let admitted: u32 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|slot| {
                    let (bucket, done) = (&bucket, &done);
                    scope.spawn(move || {
                        let mut admitted = 0;
                        while !done.load(Ordering::Relaxed) {
                            admitted += u32::from(admit_via(bucket, slot, START, 1).is_ok());
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

// RL15, RL7: no thread spends leased tokens during a pause, nor after the limiter was stopped
// empty.
#[test]
fn rl15_a_pause_and_a_stop_close_the_stripes() {
    let quota = Quota::per_second(1_000);
    for stop in [false, true] {
        for _ in 0..50 {
            let bucket = bucket(quota, 4);
            let stopped = AtomicBool::new(false);
            thread::scope(|scope| {
                for slot in 0..4 {
                    let (bucket, stopped) = (&bucket, &stopped);
                    scope.spawn(move || {
                        for _ in 0..300 {
                            let before = stopped.load(Ordering::SeqCst);
                            let admitted = admit_via(bucket, slot, START, 1).is_ok();
                            assert!(!(before && admitted));
                        }
                    });
                }
                if stop {
                    bucket.change(START, Quota::per_second(0));
                } else {
                    bucket.pause(START, at(SECOND));
                }
                stopped.store(true, Ordering::SeqCst);
            });
            assert_eq!(drain(&bucket, at(SECOND - 1)), 0);
            assert_eq!(drain(&bucket, at(SECOND)), u32::from(!stop));
        }
    }
}

// RL2: the whole burst is available at the start, at any size, from any thread; after an idle time
// no more than the documented share is missing.
#[test]
fn rl2_the_whole_burst_is_available_at_the_start() {
    for (burst, stripes) in [(2, 2), (4, 2), (300, 2), (1_000, 4), (50_000, 16)] {
        let quota = Quota::per_second(burst);
        let bucket = bucket(quota, stripes);
        assert_eq!(bucket.available(START), burst);
        assert_eq!(drain(&bucket, START), burst);
        assert_eq!(bucket.available(START), 0);
        let idle = drain(&bucket, at(60 * SECOND));
        assert!(
            idle >= burst - most_leased(quota, stripes),
            "{idle} of {burst}"
        );
        assert!(idle <= burst, "{idle} of {burst}");
    }
}

// RL2: the stripes' share by default and when forced.
#[test]
fn rl2_the_stripes_take_a_sixteenth_of_a_large_burst() {
    assert_eq!(Striped::Never.lease(u32::MAX), (0, 0));
    for cores in [1, 2, 3, 4, 7, 8, 16, 64] {
        let (by_itself, forced) = (Striped::IfLarge(cores), Striped::Always(cores));
        let count = by_itself.count() as u32;
        assert!(count >= cores.min(16) as u32 && count <= 16 && count.is_power_of_two());
        for burst in (0..5_000).chain([100_000, u32::MAX]) {
            let (lease, all) = by_itself.lease(burst);
            assert_eq!(all, lease * count);
            assert_eq!(lease > 0, burst >= 128 * count, "{burst}");
            assert!(all <= burst / 16 && lease <= 64);
            let (lease, all) = forced.lease(burst);
            assert_eq!(all, lease * count);
            assert_eq!(lease > 0, burst >= 2 * count, "{burst}");
            assert!(all <= burst / 2 && (lease <= 1 || all <= burst / 16));
        }
    }
    // A limiter that starts without stripes never has any.
    for (burst, empty) in [(255, true), (256, false)] {
        let bucket = Bucket::striped(START, Quota::per_second(burst), Striped::IfLarge(2));
        assert_eq!(bucket.stripes.is_empty(), empty, "{burst}");
    }
}

// RL6, RL3: a cost that needs the stripes' share too has a wait, and makes the bucket exact.
#[test]
fn rl6_a_cost_of_the_whole_burst_is_admitted_in_its_time() {
    let quota = Quota::per_second(1_000);
    let bucket = bucket(quota, 4);
    assert!(admit_via(&bucket, 0, START, 1).is_ok());
    let shortfall = admit_via(&bucket, 0, START, 1_000).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_millis(1));
    assert_eq!(bucket.available(START), 999);
    assert!(bucket.admit(at(ms(1) - 1), 1_000).is_err());
    assert!(bucket.admit(at(ms(1)), 1_000).is_ok());
    assert_eq!(drain(&bucket, at(60 * SECOND)), 1_000);
    assert!(
        bucket
            .admit(START, 1_001)
            .unwrap_err()
            .above_burst()
            .is_some()
    );
}

// RL4: a reservation takes the stripes' tokens first, so that no later call spends them.
#[test]
fn rl4_no_call_overtakes_a_waiter_from_a_stripe() {
    let quota = Quota::per_second(100).burst(300);
    let bucket = bucket(quota, 2);
    assert!(admit_via(&bucket, 0, START, 1).is_ok());
    let word = 300 - most_leased(quota, 2);
    assert!(bucket.take(START, START, word - 1, START).is_ok());
    let left = bucket.available(START);
    assert!(left > 2, "{left}");
    let late = bucket.take(START, START, left + 2, Tick::NEVER).unwrap();
    assert_eq!(late.at, at(ms(20)));
    for slot in 0..4 {
        assert!(admit_via(&bucket, slot, START, 1).is_err());
        assert!(admit_via(&bucket, slot, at(ms(20)), 1).is_err());
    }
    let shortfall = bucket.take(START, START, 5, at(ms(69))).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_millis(70));
    // A rejection takes nothing out of the stripes.
    bucket.cancel(&late);
    assert_eq!(bucket.available(START), left);
    assert!(bucket.take(START, START, left + 1, START).is_err());
    assert_eq!(bucket.available(START), left);
}

// RL5: a token from a stripe returns, unless there was another charge since.
#[test]
fn rl5_a_token_from_a_stripe_returns() {
    let quota = Quota::per_second(100).burst(300);
    let bucket = bucket(quota, 2);
    assert!(
        bucket
            .take(START, START, 300 - most_leased(quota, 2), START)
            .is_ok()
    );
    let left = bucket.available(START);
    assert_eq!(left, most_leased(quota, 2));
    for cost in [1, 2, left / 2] {
        let charge = bucket.take(START, START, cost, START).unwrap();
        assert_eq!(bucket.available(START), left - cost);
        bucket.cancel(&charge);
        assert_eq!(bucket.available(START), left, "{cost}");
    }
    let charge = bucket.take(START, START, 1, START).unwrap();
    let other = bucket.take(START, START, left + 1, Tick::NEVER).unwrap();
    bucket.cancel(&charge);
    assert_eq!(bucket.available(START), 0);
    assert_eq!(other.at, at(ms(20)));
    // Not to another configuration.
    let bucket = super::super::Bucket::striped(START, quota, Striped::Always(2));
    assert!(
        bucket
            .take(START, START, 300 - most_leased(quota, 2), START)
            .is_ok()
    );
    let charge = bucket.take(START, START, 1, START).unwrap();
    bucket.pause(START, at(SECOND));
    bucket.cancel(&charge);
    assert_eq!(drain(&bucket, START), 0);
}

// RL17, RL1: a part of a charge returns, however many tokens came out of the stripes.
#[test]
fn rl17_a_part_of_a_charge_from_the_stripes_is_no_more_than_that() {
    let quota = Quota::per_second(100).burst(300);
    for (cost, returned) in [(10, 1), (10, 9), (10, 10), (20, 3)] {
        let bucket = bucket(quota, 2);
        let word = 300 - most_leased(quota, 2) - cost / 2;
        assert!(bucket.take(START, START, word, START).is_ok());
        let left = bucket.available(START);
        let leased = bucket.stripes.tokens();
        let charge = bucket.take(START, START, cost, START).unwrap();
        assert!(bucket.stripes.tokens() < leased);
        bucket.refund(&charge, returned, START);
        assert_eq!(bucket.available(START), left - cost + returned);
    }
}

// RL1: also by a thread that read the clock long before it fetches the lease.
#[test]
fn rl1_a_lease_is_charged_to_the_instant_at_which_it_is_fetched() {
    let bucket = bucket(Quota::per_second(1).burst(32), 1);
    assert!((0..2).all(|_| admit_via(&bucket, 0, START, 1).is_ok()));
    let later = at(100 * SECOND);
    let (readings, passed) = (Cell::new(0), Cell::new(0));
    let clock = || {
        readings.set(readings.get() + 1);
        if readings.get() > 1 {
            return later;
        }
        // The thread is preempted here, and others come: one now, and more later.
        assert!(admit_via(&bucket, 0, START, 1).is_ok());
        while bucket.stripes.tokens() > 0 {
            assert!(admit_via(&bucket, 0, later, 1).is_ok());
            passed.set(passed.get() + 1);
        }
        START
    };
    assert!(bucket.admit_from_stripe(0, clock, 1).is_ok());
    let admitted = passed.get() + drain(&bucket, later);
    assert!(admitted <= 32, "{admitted} at once");
}

// RL1, RL13: a stripe is not filled again while a token from it is reserved for later, whatever is
// returned in between.
#[test]
fn rl1_a_token_reserved_for_later_is_not_leased_again() {
    let quota = Quota::per_second(1).burst(32);
    let bucket = bucket(quota, 1);
    let word = bucket.take(START, START, 30, START).unwrap();
    let later = at(100 * SECOND);
    assert_eq!(bucket.take(START, later, 31, later).unwrap().at, later);
    bucket.cancel(&word);
    let mut admitted = (0..9)
        .filter(|_| admit_via(&bucket, 0, at(50 * SECOND), 1).is_ok())
        .count();
    assert!(admitted <= 2, "{admitted}");
    admitted = drain(&bucket, later) as usize;
    assert!(admitted <= 1, "{admitted}");
    let bucket = super::striped::bucket(quota, 1);
    let word = bucket.take(START, START, 30, START).unwrap();
    assert!(admit_via(&bucket, 0, START, 1).is_ok());
    let soon = Tick(START.0 + 1);
    assert_eq!(bucket.take(START, soon, 1, soon).unwrap().at, soon);
    // The two that came after it took the stripe's tokens, so it returns whole.
    bucket.cancel(&word);
    assert_eq!(drain(&bucket, START), 30);
}

// RL7: a change counts the leased tokens, with stripes after it or without.
#[test]
fn rl7_a_change_keeps_the_leased_tokens() {
    let bucket = Bucket::striped(START, Quota::per_second(1_000), Striped::IfLarge(2));
    for slot in 0..6 {
        for _ in 0..50 {
            assert!(admit_via(&bucket, slot, START, 1).is_ok());
        }
        bucket.change(START, Quota::per_second(100).burst(1_000));
        assert_eq!(bucket.available(START), 950 - 50 * slot as u32);
    }
    // A debt of 300 leaves nothing of a small burst, and the rest of a larger one.
    bucket.change(START, Quota::per_second(100).burst(20));
    assert_eq!(bucket.available(START), 0);
    assert_eq!(
        wait(admit_via(&bucket, 0, START, 1).unwrap_err()),
        Duration::from_millis(2_810)
    );
    bucket.change(START, Quota::per_second(100).burst(310));
    assert_eq!(bucket.available(START), 10);
    assert_eq!(drain(&bucket, START), 10);
}

// RL9
#[test]
fn rl9_the_extremes_neither_wrap_nor_panic_with_stripes() {
    let times = [0, START.0, START.0 + YEAR, u64::MAX / 2, u64::MAX];
    let quotas = [
        Quota::per_day(1).burst(416),
        Quota::per_second(u32::MAX),
        Quota::new(u32::MAX, Duration::from_nanos(1)),
        Quota::per_second(0).burst(u32::MAX),
        Quota::unlimited(),
    ];
    for quota in quotas {
        for made in times {
            let bucket = Bucket::striped(Tick(made), quota, Striped::Always(2));
            for now in times.into_iter().chain(times.into_iter().rev()) {
                let now = Tick(now);
                for cost in [0, 1, 3, 400, 416, u32::MAX] {
                    let _ = admit_via(&bucket, 1, now, cost);
                    let _ = bucket.peek(now, cost);
                    let _ = bucket.available(now);
                    for latest in times {
                        if let Ok(charge) = bucket.take(now, Tick(latest), cost, Tick(latest)) {
                            bucket.cancel(&charge);
                        }
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
}
