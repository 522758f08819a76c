use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::{Charge, Owner, Place, Table};
use crate::rate_limit::{Quota, Shortfall};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Tick;

mod exact;
mod known;
mod naive;
mod pause;
mod strangers;

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3_600 * SECOND;

/// Where the tests' clock begins: as the real one, a day after its origin.
const START: Tick = Tick(24 * 3_600 * SECOND);

fn at(nanos: u64) -> Tick {
    Tick(START.0 + nanos)
}

const fn ms(n: u64) -> u64 {
    n * 1_000_000
}

/// A key's place, its hash mixed as a hasher would.
fn key(n: u64) -> Place {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for by in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        x = (x ^ (x >> 29)).wrapping_mul(by);
    }
    let hash = x ^ (x >> 32);
    Place { hash, tier: 0 }
}

fn tiered(n: u64, tier: u8) -> Place {
    Place { tier, ..key(n) }
}

fn table(capacity: usize, quota: Quota) -> Table {
    Table::new(START, capacity, &[quota])
}

fn wait(refused: Shortfall) -> Duration {
    refused.wait.expect("it is a matter of time")
}

fn drain(table: &Table, now: Tick, key: Place) -> u32 {
    (0..100_000)
        .take_while(|_| table.admit(now, key, 1).is_ok())
        .count() as u32
}

/// A grant: its instant and its cost.
type Granted = (u64, u32);

/// RL1 over every pair of grants, against the rate that was asked for, in integers.
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

fn quotas() -> impl Strategy<Value = Quota> {
    prop_oneof![
        Just(Quota::per_second(10)),
        Just(Quota::per_second(3).burst(5)),
        Just(Quota::new(7, Duration::from_nanos(999_999_937)).burst(2)),
        Just(Quota::new(40, Duration::from_nanos(3)).burst(2)),
        (1u32..50, 1u64..2_000_000_000, 1u32..9).prop_map(|(n, period, burst)| Quota::new(
            n,
            Duration::from_nanos(period)
        )
        .burst(burst)),
    ]
}
