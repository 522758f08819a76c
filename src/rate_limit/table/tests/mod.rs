use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::fuzz;
use super::naive::{Naive, instants};
use super::{Charge, KeyHandle, Owner, Table};
use crate::fuzzing::{Granted, cases, check_windows};
use crate::rate_limit::{Quota, Shortfall};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Tick;

mod exact;
mod existing_keys;
mod naive;
mod new_keys;
mod pause;

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3_600 * SECOND;

/// The start of the tests' clock: a day after its origin, like the real one.
const START: Tick = Tick(24 * 3_600 * SECOND);

fn at(nanos: u64) -> Tick {
    Tick(START.0 + nanos)
}

const fn ms(n: u64) -> u64 {
    n * 1_000_000
}

fn key(n: u64) -> KeyHandle {
    fuzz::key(n, 0)
}

fn tiered(n: u64, tier: u8) -> KeyHandle {
    fuzz::key(n, tier)
}

fn table(capacity: usize, quota: Quota) -> Table {
    Table::new(START, capacity, &[quota])
}

fn wait(shortfall: Shortfall) -> Duration {
    shortfall.wait().expect("a wait helps")
}

fn drain(table: &Table, now: Tick, key: KeyHandle) -> u32 {
    (0..100_000)
        .take_while(|_| table.admit(now, key, 1).is_ok())
        .count() as u32
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
