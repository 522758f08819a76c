//! Policies that keep exact accounts while their settings change.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use seawall::{Backoff, Budget, CircuitBreaker, Mode, Quota, RateLimiter, Trip, Window};

use super::record::Record;
use super::{add, below, count, done, pause, storm};
use crate::support::{ms, secs};

// CX19
#[test]
fn rl7_changed_quotas_mint_no_token_and_lose_none() {
    const ALL: u32 = 400_000;
    // It refills next to nothing. With stripes, a change during the fetch of a lease loses it.
    let quota = Quota::per_hour(50).burst(300_000);
    let limiter = RateLimiter::builder(quota).striped(false);
    let limiter = limiter.build().unwrap();
    let taken = AtomicUsize::new(0);
    let start = Instant::now();
    storm(
        async |random| {
            add(&taken, usize::from(limiter.allow()));
            pause(random).await;
        },
        |random, _| {
            let quota = match below(random, 3) {
                0 => Quota::per_second(0),
                n => Quota::per_hour(50 * n),
            };
            let burst = 300_000 + below(random, 100_000);
            done(limiter.set_quota(quota.burst(burst)));
        },
    );
    limiter.set_quota(Quota::per_hour(50).burst(ALL)).unwrap();
    let available = limiter.available() as usize;
    let left = (ALL as usize).saturating_sub(count(&taken));
    // At most a hundred an hour were refilled.
    let refilled = 1 + start.elapsed().as_secs() as usize / 36;
    let holds = left < ALL as usize && (left..=left + 1 + refilled).contains(&(available + 1));
    assert!(holds, "{available} tokens available, {left} not taken");
}

// CX19
#[test]
fn cb19_changed_rules_and_modes_keep_every_outcome() {
    const LAST: u32 = 10_000;
    let marker = Arc::new(());
    // The first three keep their windows, whatever `n` is. None opens the breaker.
    let rules = |n: u32| {
        let hour = Window::time(secs(3_600));
        let last = Window::count(LAST);
        let marker = Arc::clone(&marker);
        let never = move |_: &_| Arc::strong_count(&marker) == 0;
        [
            Trip::failure_rate(1.0).over(hour).min_calls(2 + n),
            Trip::slow_rate(1.0, secs(60)).over(hour).min_calls(2 + n),
            Trip::failure_rate(1.0).over(last).min_calls(2 + n),
            Trip::consecutive_failures(4_000 + n % 95),
            Trip::custom("never", never).over(Window::count(50 + n % 3)),
        ]
    };
    let breaker = CircuitBreaker::builder("outcomes").trips(rules(0));
    let breaker = breaker.build().unwrap();
    // From here on the failure rate is below 1.
    breaker.try_acquire().unwrap().success();
    let (calls, failures) = (AtomicUsize::new(1), AtomicUsize::new(0));
    storm(
        async |random| {
            let permit = breaker.try_acquire().unwrap();
            add(&calls, 1);
            if random.below(4) == 0 {
                add(&failures, 1);
                permit.failure();
            } else {
                permit.success();
            }
            pause(random).await;
        },
        |random, round| {
            let n = below(random, 1_000);
            let rules = rules(n);
            done(breaker.change(move |now| {
                now.trips(rules.clone())
                    .probes(1 + n % 5)
                    .open_for(Backoff::constant(ms(1 + u64::from(n))))
                    .fair_time((n % 2 == 0).then_some(ms(5)))
            }));
            if round % 64 == 0 {
                breaker.set_mode([Mode::Enforce, Mode::RecordOnly][n as usize % 2]);
            }
        },
    );
    let counts = breaker.snapshot().rules.into_iter().map(|rule| {
        let counts = rule.counts;
        (counts.calls as usize, counts.failures as usize)
    });
    let counts: Vec<_> = counts.collect();
    let made = (count(&calls), count(&failures));
    assert_eq!(counts[..2], [made, made]);
    assert_eq!(counts[2].0, made.0.min(LAST as usize));
    drop(breaker);
    assert_eq!(Arc::strong_count(&marker), 1, "a rule leaked");
}

// CX19
#[test]
fn rt4_a_budget_earns_at_the_ratios_in_force_and_keeps_the_rest() {
    const FIRST: usize = 100_000;
    let budget = Budget::builder().ratio(0.1).burst(100_000).floor(0);
    let budget = budget.build().unwrap();
    // No epoch cuts it.
    budget.change(|now| now.burst(900_000)).unwrap();
    // All in thousandths.
    let ratios = Record::new(100);
    let [least, most, spent] = [0; 3].map(AtomicUsize::new);
    storm(
        async |random| {
            let from = ratios.before();
            budget.on_success();
            let earned = ratios.enforced(ratios.since(from)).unwrap();
            add(&least, *earned.iter().min().unwrap());
            add(&most, *earned.iter().max().unwrap());
            let withdrawal = budget.withdraw().expect("the budget is spent");
            // Dropped, it is refunded.
            if random.below(2) == 0 {
                withdrawal.spend();
                add(&spent, 1_000);
            }
            pause(random).await;
        },
        |random, _| {
            let ratio = below(random, 1_001);
            ratios.change((Mode::Enforce, ratio as usize), || {
                budget.set_ratio(f64::from(ratio) / 1_000.0).unwrap();
            });
            let burst = 800_000 + below(random, 100_000);
            done(budget.change(|now| now.burst(burst)));
        },
    );
    let [least, most] = [least, most].map(|earned| 1_000 * FIRST + count(&earned) - count(&spent));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Not negative.
    let balance = (budget.snapshot().balance * 1_000.0).round() as usize;
    let holds = (least..=most).contains(&balance);
    assert!(holds, "{balance} thousandths saved, of {least} to {most}");
}
