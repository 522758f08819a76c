//! One key has a bucket like any other.

use super::*;
use crate::rate_limit::RateLimiter;

proptest! {
    #![proptest_config(cases(512))]

    // RL1, RL5, RL9: with reservations for now and for later, refunds in any order, and a clock that
    // also steps back.
    #[test]
    fn rl1_no_window_admits_more_than_burst_and_rate_of_a_key(
        quota in quotas(), seed in any::<u64>(),
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let table = table(16, quota);
        let mut now = at(SECOND);
        let mut grants: Vec<Granted> = Vec::new();
        let mut open: Vec<(Charge, u32)> = Vec::new();
        for _ in 0..120 {
            let cost = rng.u32(1..7);
            match rng.u8(0..8) {
                0 | 1 => now = Tick(now.0 + rng.u64(..ms(400))),
                2 => now = Tick(now.0 - rng.u64(..ms(8))),
                3 if !open.is_empty() => {
                    let (charge, _) = open.remove(rng.usize(..open.len()));
                    table.cancel(key(1), &charge);
                }
                3 | 4 => {
                    let start = Tick(now.0 + rng.u64(..ms(500)));
                    let latest = start.after(Duration::from_nanos(rng.u64(..SECOND)));
                    if let Ok(charge) = table.take(now, start, key(1), cost, latest) {
                        prop_assert!(start <= charge.at && charge.at <= latest);
                        open.push((charge, cost));
                    }
                }
                _ => if table.admit(now, key(1), cost).is_ok() {
                    grants.push((now.0, cost));
                },
            }
        }
        grants.extend(open.iter().map(|(charge, cost)| (charge.at.0, *cost)));
        check_windows(quota, 1, &mut grants);
    }

    // RL3, RL10: before and at the instant, with any debt, of an existing and of a new key.
    #[test]
    fn rl3_the_wait_is_exact_to_the_nanosecond(
        quota in quotas(), taken in 0u32..20, cost in 1u32..6, passed in 0..SECOND, is_new in any::<bool>(),
    ) {
        let table = table(1, quota);
        for n in 0..taken {
            let _ = table.admit(START, if is_new { key(u64::from(n)) } else { key(99) }, 1);
        }
        let (now, key) = (at(passed), key(99));
        match table.peek(now, key, cost) {
            Ok(()) => prop_assert!(table.available(now, key) >= cost),
            Err(Shortfall::For(wait)) => {
                prop_assert!(table.available(now, key) < cost);
                let due = now.after(Duration::from_nanos(wait));
                prop_assert_eq!(table.admit(now, key, cost), table.peek(now, key, cost));
                prop_assert!(table.admit(Tick(due.0 - 1), key, cost).is_err());
                prop_assert_eq!(table.probe(now, now, key, cost), Ok(due));
                prop_assert!(table.admit(due, key, cost).is_ok());
            }
            Err(shortfall) => {
                prop_assert!(cost > quota.max_burst());
                prop_assert_eq!(shortfall.above_burst(), Some(quota.max_burst()));
            }
        }
    }

    // RL9: a clock that swings gives what lies between its first and its last reading.
    #[test]
    fn rl9_a_clock_that_steps_back_mints_nothing(
        quota in quotas(), readings in prop::collection::vec(0..SECOND, 1..300),
    ) {
        let table = table(16, quota);
        let now = |reading: &u64| Tick(START.0 - SECOND / 2 + reading);
        let admitted = readings.iter().filter(|r| table.admit(now(r), key(1), 1).is_ok()).count();
        let (first, last) = (readings.iter().min(), readings.iter().max());
        let passed = u128::from(last.unwrap() - first.unwrap());
        let refilled = passed * u128::from(quota.count()) / quota.period().as_nanos();
        let most = u128::from(quota.max_burst()) + refilled;
        prop_assert!(admitted as u128 <= most, "{admitted} of {most}");
    }
}

// RL1 with eight threads on three keys, which also change tiers.
#[test]
fn rl1_holds_with_eight_threads_that_collide() {
    let quota = Quota::per_second(10_000).burst(50);
    for round in 0..100 {
        let table = Table::new(START, 64, &[quota, quota]);
        let clock = AtomicU64::new(START.0);
        let grants: Vec<(u64, Granted)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (table, clock) = (&table, &clock);
                    scope.spawn(move || {
                        let mut grants = Vec::new();
                        for i in 0..3_000u32 {
                            let now = Tick(clock.fetch_add(2_000, Ordering::Relaxed));
                            let cost = 1 + (i + n) % 3;
                            let which = u64::from(i % 3);
                            let key = tiered(which, u8::from(round % 2 == 1 && i % 97 < 50));
                            if i % 5 == n % 5 {
                                let latest = now.after(Duration::from_millis(1));
                                if let Ok(charge) = table.take(now, now, key, cost, latest) {
                                    if i % 2 == 0 {
                                        table.cancel(key, &charge);
                                    } else {
                                        grants.push((which, (charge.at.0, cost)));
                                    }
                                }
                            } else if table.admit(now, key, cost).is_ok() {
                                grants.push((which, (now.0, cost)));
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
        for which in 0..3 {
            let mine = grants.iter().filter(|(k, _)| *k == which);
            let mut mine: Vec<Granted> = mine.map(|(_, granted)| *granted).collect();
            assert!(mine.len() > 100, "{}", mine.len());
            check_windows(quota, 1, &mut mine);
        }
        if round > 1 && table.collisions.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
    panic!("the threads never collided");
}

// RL6
#[test]
fn rl6_a_cost_above_the_burst_is_impossible_and_assigns_no_entry() {
    let table = table(16, Quota::per_second(10));
    let impossible = Shortfall::AboveBurst(10);
    assert_eq!(table.admit(START, key(1), 11), Err(impossible));
    assert_eq!(table.admit(START, key(1), u32::MAX), Err(impossible));
    assert_eq!(table.used(), 0);
    assert!(table.admit(START, key(1), 10).is_ok());
    assert_eq!(table.admit(START, key(1), 11), Err(impossible));
    let shortfall = table.admit(START, key(1), 10).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_secs(1));
    assert_eq!(shortfall.above_burst(), None);
}

// RL8, RL3
#[test]
fn rl8_ten_a_second_is_ten_a_second() {
    for (quota, each) in [
        (Quota::per_second(10), ms(100)),
        (Quota::per_minute(600).burst(10), ms(100)),
        (Quota::per_second(8).burst(10), ms(125)),
        (Quota::per_day(24).burst(10), 3_600 * SECOND),
    ] {
        let table = table(16, quota);
        let start = at(7 * SECOND + if each < SECOND { ms(5) } else { 0 });
        assert_eq!(drain(&table, start, key(1)), 10);
        for i in 1..1_000 {
            let due = Tick(start.0 + i * each);
            assert!(table.admit(Tick(due.0 - 1), key(1), 1).is_err(), "{quota}");
            assert!(table.admit(due, key(1), 1).is_ok(), "{quota}: {i}");
        }
    }
}

// RL9
#[test]
fn rl9_the_kept_rate_is_that_of_a_limiter() {
    for n in [1, 3, 9_999_999, 10_000_000, u32::MAX] {
        let quota = Quota::per_second(n);
        let limit = RateLimiter::builder(quota).build().unwrap();
        assert_eq!(table(1, quota).rate(), limit.kept_rate());
    }
    let table = table(1, Quota::new(u32::MAX, Duration::from_nanos(1)));
    assert!((table.rate() - 32e9).abs() < 1.0);
    table.change(START, 0, Quota::unlimited());
    assert!(table.rate().is_infinite());
    table.change(START, 0, Quota::per_second(0));
    assert!(table.rate() == 0.0);
}

// RL7
#[test]
fn rl7_a_change_keeps_the_debt_and_mints_nothing() {
    let table = table(16, Quota::per_second(10));
    assert!(table.admit(START, key(1), 8).is_ok());
    table.change(START, 0, Quota::per_second(1).burst(10));
    assert_eq!(table.available(START, key(1)), 2);
    let shortfall = table.admit(START, key(1), 3).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_secs(1));
    table.change(START, 0, Quota::per_second(10).burst(20));
    assert_eq!(table.available(START, key(1)), 12);
    table.change(START, 0, Quota::per_second(10).burst(5));
    assert_eq!(table.available(START, key(1)), 0);
    let shortfall = table.admit(START, key(1), 1).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_millis(400));
}

// RL7
#[test]
fn rl7_zero_stops_the_clock_and_a_rate_starts_it_again() {
    let table = table(16, Quota::per_second(10));
    assert_eq!(drain(&table, START, key(1)), 10);
    table.change(at(ms(50)), 0, Quota::per_second(0).burst(10));
    let shortfall = Shortfall::Unknown;
    let later = at(YEAR);
    assert_eq!(table.admit(later, key(1), 1), Err(shortfall));
    assert_eq!(
        table.take(later, later, key(1), 1, Tick::NEVER),
        Err(shortfall)
    );
    assert_eq!(drain(&table, later, key(2)), 10);
    table.change(later, 0, Quota::per_second(10));
    // Half a token was refilled before the stop.
    let shortfall = table.admit(later, key(1), 1).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_millis(50));
}

// RL7
#[test]
fn rl7_unlimited_admits_everything_and_keeps_the_debt() {
    let table = table(16, Quota::per_second(10));
    assert_eq!(drain(&table, START, key(1)), 10);
    table.change(START, 0, Quota::unlimited());
    assert!(table.admit(START, key(1), u32::MAX).is_ok());
    assert_eq!(table.available(START, key(1)), u32::MAX);
    table.change(at(ms(300)), 0, Quota::per_second(10));
    assert_eq!(drain(&table, at(ms(300)), key(1)), 3);
}

// RL5, RL1, KY5: the debt is repaid in another tier, and back in the first one the key comes to owe
// the same again: where the clock stands still, and where it moved on by whole tokens.
#[test]
fn rl5_a_charge_from_before_another_tier_returns_nothing() {
    for (quota, again) in [
        (Quota::per_second(0).burst(10), 5),
        (Quota::per_second(10), 2),
    ] {
        let table = Table::new(START, 16, &[quota, Quota::per_second(1_000)]);
        let charge = table.take(START, START, tiered(1, 0), 5, START).unwrap();
        assert!(table.admit(at(ms(200)), tiered(1, 1), 1).is_ok());
        let now = at(ms(300));
        let other = table.take(now, now, tiered(1, 0), again, now).unwrap();
        assert_eq!(other.end, charge.end);
        table.cancel(tiered(1, 0), &charge);
        assert_eq!(table.available(now, tiered(1, 0)), 10 - again);
        table.cancel(tiered(1, 0), &other);
        assert_eq!(table.available(now, tiered(1, 0)), 10);
    }
}

// RL9: where the emission interval is a whole number of 1/32 ns.
#[test]
fn rl9_a_token_is_available_at_the_very_nanosecond() {
    for (n, period) in [(7, 999_999_938), (1, 3), (32, 7), (80, 1_015)] {
        let quota = Quota::new(n, Duration::from_nanos(period)).burst(n);
        let table = table(8, quota);
        for round in 0..50 {
            let now = at(round * period);
            assert_eq!(table.available(now, key(1)), n, "{quota}: {round}");
            assert_eq!(drain(&table, now, key(1)), n);
        }
    }
}

// RL1, RL9 with eight threads: one of them moves the origin on and carries the words over, while
// the others charge these words.
#[test]
fn rl9_a_new_origin_beside_eight_threads_mints_nothing() {
    let quota = Quota::per_second(u32::MAX).burst(60);
    let table = Table::new(START, 8, &[quota, quota]);
    let mut grants: Vec<(u64, Granted)> = Vec::new();
    for turn in 1..150 {
        let origin = table.tier(0).current().origin;
        let clock = AtomicU64::new(START.0 + turn * 3 * YEAR);
        let barrier = std::sync::Barrier::new(8);
        grants.extend(thread::scope(|scope| {
            let threads: Vec<_> = (0..8u64)
                .map(|n| {
                    let (table, clock, barrier) = (&table, &clock, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let each = (0..24).filter_map(|i| {
                            let now = Tick(clock.fetch_add(1, Ordering::Relaxed));
                            let which = (i + n) % 3;
                            let admitted = table.admit(now, tiered(which, (which == 2) as u8), 3);
                            admitted.is_ok().then_some((which, (now.0, 3)))
                        });
                        each.collect::<Vec<_>>()
                    })
                })
                .collect();
            let each = threads.into_iter().flat_map(|t| t.join().unwrap());
            each.collect::<Vec<_>>()
        }));
        assert_ne!(table.tier(0).current().origin, origin);
    }
    for which in 0..3 {
        let mine = grants.iter().filter(|(k, _)| *k == which);
        let mut mine: Vec<Granted> = mine.map(|(_, granted)| *granted).collect();
        check_windows(quota, 1, &mut mine);
    }
}

// RL7, RL5
#[test]
fn rl7_a_charge_from_before_a_change_returns_nothing() {
    let table = table(16, Quota::per_second(10));
    let charge = table.take(START, START, key(1), 5, START).unwrap();
    table.change(START, 0, Quota::per_second(10).burst(10));
    table.cancel(key(1), &charge);
    assert_eq!(table.available(START, key(1)), 5);
    let charge = table.take(START, START, key(1), 5, START).unwrap();
    table.cancel(key(1), &charge);
    assert_eq!(table.available(START, key(1)), 5);
}

// KY5, RL7
#[test]
fn ky5_a_key_that_changes_its_tier_keeps_its_debt() {
    let quotas = [Quota::per_second(10), Quota::per_second(1).burst(20)];
    let table = Table::new(START, 16, &quotas);
    assert!(table.admit(START, tiered(1, 0), 8).is_ok());
    assert_eq!(table.available(START, tiered(1, 0)), 2);
    assert_eq!(table.available(START, tiered(1, 1)), 12);
    assert!(table.admit(START, tiered(1, 1), 2).is_ok());
    assert_eq!(table.available(START, tiered(1, 0)), 0);
    assert_eq!(table.used(), 1);
    // It is repaid at the rate of the tier that it was last charged in.
    assert_eq!(table.available(at(SECOND), tiered(1, 1)), 11);
    assert_eq!(table.available(at(SECOND), tiered(1, 0)), 1);
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
        Quota::new(u32::MAX, Duration::from_nanos(1)),
        Quota::per_day(1).burst(416),
        Quota::new(1, Duration::from_secs(416 * 24 * 3_600)),
        Quota::new(u32::MAX, Duration::from_secs(416 * 24 * 3_600)),
        Quota::per_second(0),
        Quota::per_second(0).burst(u32::MAX),
        Quota::unlimited(),
    ];
    for quota in quotas {
        for made in times {
            let table = Table::new(Tick(made), 8, &[quota, Quota::per_second(3)]);
            for now in times.into_iter().chain(times.into_iter().rev()) {
                let now = Tick(now);
                for (i, cost) in [0, 1, 3, u32::MAX].into_iter().enumerate() {
                    let key = tiered(i as u64, (i % 2) as u8);
                    let _ = table.admit(now, key, cost);
                    let _ = table.peek(now, key, cost);
                    let _ = table.available(now, key);
                    for latest in times {
                        if let Ok(charge) = table.take(now, Tick(latest), key, cost, Tick(latest)) {
                            table.cancel(key, &charge);
                        }
                        let _ = table.take(now, now, key, cost, Tick(latest));
                    }
                }
                for other in quotas {
                    table.change(now, 0, other);
                    let _ = table.admit(now, key(1), 1);
                }
                table.change(now, 0, quota);
            }
        }
    }
    let table = Table::new(Tick(u64::MAX), 8, &[Quota::per_second(2)]);
    assert_eq!(drain(&table, Tick(u64::MAX), key(1)), 2);
    assert_eq!(drain(&table, Tick(u64::MAX), key(1)), 0);
}

// RL9: over many origins, in small and large steps.
#[test]
fn rl9_the_clock_may_go_beyond_what_a_word_holds() {
    let quota = Quota::per_second(u32::MAX).burst(1_000_000);
    let mut rng = fastrand::Rng::with_seed(7);
    let table = table(64, quota);
    let mut now = START;
    for round in 0..3_000u64 {
        let most = [10, SECOND, 3_600 * SECOND, YEAR / 100][rng.usize(..4)];
        now = Tick(now.0 + rng.u64(..most));
        let key = key(round % 5);
        let left = table.available(now, key);
        assert!(left > 0 && left <= 1_000_000);
        assert!(table.admit(now, key, left).is_ok(), "{left}");
        let after = table.available(now, key);
        assert_eq!(after, 0);
        assert_eq!(
            table.available(now.after(Duration::from_millis(1)), key),
            1_000_000
        );
    }
    // A key that was never charged has its burst and no more.
    assert_eq!(
        table.available(now.after(Duration::from_secs(1)), key(9)),
        1_000_000
    );
}

// RL9: it is rejected, not cut off.
#[test]
fn rl9_nothing_is_reserved_beyond_what_the_word_holds() {
    let table = table(16, Quota::per_day(100));
    let far = at(5 * YEAR);
    assert!(table.take(START, far, key(1), 1, Tick::NEVER).is_err());
    assert_eq!(table.available(START, key(1)), 100);
    let mut last = START;
    while let Ok(charge) = table.take(START, START, key(1), 100, Tick::NEVER) {
        assert!(charge.at >= last);
        last = charge.at;
    }
    assert!(last > at(4 * YEAR), "{last:?}");
    assert_eq!(table.available(START, key(1)), 0);
    assert!(table.admit(START, key(1), 1).is_err());
}

// RL9, CX17: a paused runtime that was started before the limiter was built.
#[test]
fn rl9_a_clock_that_stepped_back_still_runs() {
    let table = table(16, Quota::per_second(10));
    let early = Tick(START.0 - 3_600 * SECOND);
    assert_eq!(drain(&table, early, key(1)), 10);
    let shortfall = table.admit(early, key(1), 1).unwrap_err();
    assert_eq!(wait(shortfall), Duration::from_millis(100));
    assert!(table.admit(Tick(early.0 + ms(100)), key(1), 1).is_ok());
}

// RL9
#[test]
fn rl9_a_century_of_days_has_as_many_tokens() {
    let table = table(16, Quota::per_day(3).burst(1));
    let third = 8 * 3_600 * SECOND;
    for i in 0..100 * 365 * 3 {
        let due = at(i * third);
        assert!(i == 0 || table.admit(Tick(due.0 - 1), key(1), 1).is_err());
        assert!(table.admit(due, key(1), 1).is_ok(), "{i}");
    }
}
