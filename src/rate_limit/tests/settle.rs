//! Charges whose cost is known afterwards.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::advance;

use super::{RateLimiter, Recorder, short, slow};
use crate::config::Mode;
use crate::keyed::Keyed;
use crate::rate_limit::OpenCharge;
use crate::rate_limit::quota::Quota;
use crate::testing::ms;

fn ten_a_second() -> [RateLimiter; 3] {
    let quota = Quota::per_second(10);
    let one = || RateLimiter::builder(quota).build().unwrap();
    let keyed: Keyed<str, _> = RateLimiter::builder(quota).per_key(10).unwrap();
    let joint = RateLimiter::all_of("joint", [one(), RateLimiter::per_day(300)]).unwrap();
    [one(), keyed.get("key"), joint]
}

#[tokio::test(start_paused = true)]
async fn rl17_a_charge_is_settled_to_the_actual_cost() {
    for limiter in ten_a_second() {
        let charge = limiter.try_charge(6).unwrap();
        let later = limiter.try_charge(1).unwrap();
        assert_eq!(limiter.available(), 3);
        // Less: the rest returns, also with charges after it.
        charge.settle(2);
        assert_eq!(limiter.available(), 7);
        // More: it becomes debt.
        later.settle(13);
        assert_eq!(limiter.available(), 0);
        assert_eq!(
            limiter.try_acquire().unwrap_err().retry_after(),
            Some(ms(600))
        );
        advance(ms(600)).await;
        assert!(limiter.allow() && !limiter.allow());
    }
}

#[tokio::test(start_paused = true)]
async fn rl17_a_charge_is_refunded_whole_and_a_dropped_one_stays() {
    for limiter in ten_a_second() {
        let (first, second) = (
            limiter.try_charge(4).unwrap(),
            limiter.try_charge(5).unwrap(),
        );
        first.refund();
        assert_eq!(limiter.available(), 5);
        drop(second);
        assert_eq!(limiter.available(), 5);
        assert!(limiter.allow_n(5) && !limiter.allow());
    }
}

// RL1: the reservation was granted for an instant at which the bucket is full without the charge.
#[tokio::test(start_paused = true)]
async fn rl17_a_refund_before_a_reservation_leaves_the_limit() {
    let quota = Quota::per_second(10).burst(4);
    let keyed: Keyed<str, _> = RateLimiter::builder(quota).per_key(10).unwrap();
    for limiter in [
        RateLimiter::builder(quota).build().unwrap(),
        keyed.get("key"),
    ] {
        let charge = limiter.try_charge(4).unwrap();
        let reserved = limiter.reserve_n(4).unwrap();
        assert_eq!(reserved.delay(), ms(400));
        charge.refund();
        advance(ms(400)).await;
        reserved.commit();
        assert!(!limiter.allow());
        advance(ms(100)).await;
        assert!(limiter.allow() && !limiter.allow());
    }
}

// RL1: time returns a token too, and it is not given twice.
#[tokio::test(start_paused = true)]
async fn rl1_a_refund_returns_nothing_that_time_has_returned() {
    for limiter in ten_a_second() {
        let old = limiter.try_charge(10).unwrap();
        advance(ms(500)).await;
        let half = limiter.try_charge(5).unwrap();
        // Without it the five tokens would have come to a full bucket.
        old.refund();
        assert_eq!(limiter.available(), 5);
        half.refund();
        assert_eq!(limiter.available(), 10);
        let old = limiter.try_charge(10).unwrap();
        advance(ms(1_000)).await;
        assert!(limiter.allow_n(10));
        old.refund();
        assert_eq!(limiter.available(), 0);
    }
}

// RL1: any schedule of charges, settlements and time holds the limit with its final costs.
#[tokio::test(start_paused = true)]
async fn rl1_any_schedule_of_settlements_holds_the_limit_with_the_final_costs() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let burst = rng.u32(1..8);
        let quota = Quota::new(1, ms(10)).burst(burst);
        let one = RateLimiter::builder(quota).build().unwrap();
        let keyed: Keyed<str, _> = RateLimiter::builder(quota).per_key(10).unwrap();
        let limiter = if seed % 2 == 0 { one } else { keyed.get("key") };
        let (mut open, mut costs) = (Vec::<(usize, OpenCharge)>::new(), Vec::new());
        let mut now = 0_u64;
        for _ in 0..120 {
            match rng.u8(0..4) {
                0 => {
                    let passed = rng.u64(0..35);
                    advance(ms(passed)).await;
                    now += passed;
                }
                1 if !open.is_empty() => {
                    let (index, charge) = open.swap_remove(rng.usize(0..open.len()));
                    let actual = rng.u32(0..=charge.cost());
                    costs[index] = (now_of(&costs, index), actual);
                    charge.settle(actual);
                }
                _ => {
                    let cost = rng.u32(1..=burst);
                    if let Ok(charge) = limiter.try_charge(cost) {
                        open.push((costs.len(), charge));
                        costs.push((now, cost));
                    }
                }
            }
        }
        for first in 0..costs.len() {
            let mut sum = 0;
            for (at, cost) in &costs[first..] {
                sum += u64::from(*cost);
                let length = at - costs[first].0;
                let most = u64::from(burst) * 10 + length;
                assert!(
                    sum * 10 <= most,
                    "{seed}: {sum} in {length} ms, burst {burst}"
                );
            }
        }
    }
}

fn now_of(costs: &[(u64, u32)], index: usize) -> u64 {
    costs[index].0
}

// RL17: case 32
#[tokio::test(start_paused = true)]
async fn rl17_only_failed_logins_count() {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let logins: Keyed<IpAddr, RateLimiter> = Keyed::limit(100, Quota::per_minute(5)).unwrap();
    // Twenty right ones at once, all under way before the first one ends.
    let under_way: Vec<_> = (0..20)
        .map(|_| logins.try_charge_later(&client, 1).unwrap())
        .collect();
    under_way.into_iter().for_each(OpenCharge::refund);
    assert_eq!(logins.get(&client).available(), 5);
    // Wrong ones are charged: by a settlement, and if they are dropped or panic.
    logins.try_charge_later(&client, 1).unwrap().settle(1);
    for _ in 0..3 {
        drop(logins.try_charge_later(&client, 1).unwrap());
    }
    assert_eq!(logins.get(&client).available(), 1);
    // As many as are under way at once may pass, and are owed.
    let wrong: Vec<_> = (0..3)
        .map(|_| logins.try_charge_later(&client, 1).unwrap())
        .collect();
    drop(wrong);
    let rejection = logins.try_charge_later(&client, 1).unwrap_err();
    assert_eq!(rejection.retry_after(), Some(Duration::from_secs(36)));
    let other = IpAddr::V4(Ipv4Addr::BROADCAST);
    assert!(logins.try_charge_later(&other, 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn rl17_settling_emits_one_event_and_follows_the_mode() {
    let log = Recorder::default();
    let limiter = slow(2);
    let _on = limiter.on_event(log.listener_with(short));
    limiter.try_charge(1).unwrap().settle(2);
    limiter.try_charge_later(1).unwrap_err();
    assert_eq!(log.take(), ["admitted", "rejected by slow"]);
    limiter.set_mode(Mode::RecordOnly);
    limiter.try_charge(1).unwrap().refund();
    limiter.try_charge_later(1).unwrap().settle(1);
    assert_eq!(limiter.snapshot().would_reject, 2);
    limiter.set_mode(Mode::Off);
    limiter.try_charge(9).unwrap().refund();
    limiter.try_charge_later(9).unwrap().settle(9);
    limiter.set_mode(Mode::Enforce);
    assert_eq!(limiter.available(), 0);
    let day = Duration::from_secs(24 * 3_600);
    assert_eq!(limiter.try_acquire().unwrap_err().retry_after(), Some(day));
}
