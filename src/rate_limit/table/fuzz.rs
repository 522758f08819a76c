//! The table beside the naive one: keys that change tiers while the tiers change, with room for
//! all of them or with too little.

use std::collections::HashMap;
use std::time::Duration;

use super::naive::{Naive, instants};
use super::{Charge, KeyHandle, Shortfall, Table, WAYS};
use crate::config::Problems;
use crate::fuzzing::{Bytes, Granted, check_windows};
use crate::rate_limit::Quota;
use crate::time::Tick;

const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MS;
const START: u64 = 24 * HOUR;

/// The handle of key `n`, with its hash mixed as a hasher would.
pub(super) fn key(n: u64, tier: u8) -> KeyHandle {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for by in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        x = (x ^ (x >> 29)).wrapping_mul(by);
    }
    let hash = x ^ (x >> 32);
    KeyHandle { hash, tier }
}

impl Table {
    /// The decision of [`admit`](Self::admit). Changes nothing.
    pub(super) fn peek(&self, now: Tick, key: KeyHandle, cost: u32) -> Result<(), Shortfall> {
        match self.probe(now, now, key, cost)? {
            at if at > now => Err(Shortfall::until(at, now)),
            _ => Ok(()),
        }
    }
}

/// From a token in weeks to several in a nanosecond. [`wild`] has others.
fn quota(bytes: &mut Bytes<'_>) -> Quota {
    match bytes.byte() % 8 {
        0 => Quota::unlimited(),
        1 => Quota::per_second(0).burst(bytes.below(9)),
        2 => Quota::per_second(10),
        3 => Quota::per_second(3).burst(5),
        4 => Quota::per_day(1 + bytes.below(9)),
        5 => {
            let period = Duration::from_nanos(1 + (bytes.magnitude() >> 9));
            let n = (1 + bytes.below(9)) << (bytes.byte() % 4);
            Quota::new(n, period).burst(1 + bytes.below(5))
        }
        _ => {
            let period = MS + u64::from(bytes.word()) * (MS / 32);
            let n = 1 + bytes.below(49);
            Quota::new(n, Duration::from_nanos(period)).burst(1 + bytes.below(9))
        }
    }
}

/// The grants that were not given back, under one quota and with one tier for each key.
#[derive(Default)]
struct Grants {
    /// By id: the key, its set, its tier and the grant.
    by_id: HashMap<usize, (u32, usize, u8, Granted)>,
}

impl Grants {
    /// RL1 for each key; KY3 for each set: its entries have a burst each, however many keys it has.
    fn check(&mut self, tier: u8, quota: Quota) {
        let mut keys: HashMap<u32, Vec<Granted>> = HashMap::new();
        let mut sets: HashMap<usize, Vec<Granted>> = HashMap::new();
        self.by_id.retain(|_, &mut (key, set, of, granted)| {
            if of == tier {
                keys.entry(key).or_default().push(granted);
                sets.entry(set).or_default().push(granted);
            }
            of != tier
        });
        if quota.is_unlimited() {
            return;
        }
        let keys = keys.into_values().map(|grants| (1, grants));
        let sets = sets.into_values().map(|grants| (WAYS as u32, grants));
        for (times, mut grants) in keys.chain(sets) {
            check_windows(quota, times, &mut grants);
        }
    }
}

/// KY2, KY3, KY5, RL1, RL2, RL3, RL5, RL6, RL7, RL9, RL10, RL15: every decision is the naive
/// table's, and so is every eviction.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let capacity = match bytes.byte() % 4 {
        0 => return wild(bytes),
        1 => 64,
        n => usize::from(n - 1) * WAYS,
    };
    let fixed = bytes.byte() % 2 == 0;
    let keys = if capacity == 64 { 6 } else { 48 };
    let quotas = [quota(&mut bytes), quota(&mut bytes)];
    let table = Table::new(Tick(START), capacity, &quotas);
    let mut naive = Naive::new(Tick(START), capacity, &quotas);
    let mut now = START + HOUR;
    let mut charges: Vec<(usize, KeyHandle, Charge)> = Vec::new();
    let mut grants = Grants::default();
    let (mut id, mut evicted) = (0, 0);
    while !bytes.is_empty() {
        id += 1;
        let tick = Tick(now);
        let pick = |bytes: &mut Bytes<'_>| {
            let (n, tier) = (bytes.below(keys), bytes.byte() % 2);
            (n, key(n.into(), if fixed { (n % 2) as u8 } else { tier }))
        };
        match bytes.byte() % 16 {
            0..=6 => {
                let ((n, key), cost) = (pick(&mut bytes), bytes.below(8));
                let seen = table.peek(tick, key, cost);
                let ours = table.take(tick, tick, key, cost, tick);
                evicted += u64::from(ours.is_ok_and(|charge| charge.evicted));
                assert_eq!(seen, ours.map(drop), "{id}");
                let expected = naive.take(id, tick, tick, key, cost, tick);
                assert_eq!(instants(ours.map(|_| now), tick), expected, "{id}");
                if ours.is_ok() && cost > 0 {
                    let grant = (n, naive.index(key), key.tier, (now, cost));
                    grants.by_id.insert(id, grant);
                }
            }
            7..=9 => {
                let ((n, key), cost) = (pick(&mut bytes), bytes.below(8));
                let start = now + u64::from(bytes.byte()) * 2 * MS * u64::from(bytes.byte() % 2);
                let latest = Tick(start + u64::from(bytes.word()) * (MS / 16));
                let start = Tick(start);
                let seen = table.probe(tick, start, key, cost);
                let ours = table.take(tick, start, key, cost, latest);
                evicted += u64::from(ours.is_ok_and(|charge| charge.evicted));
                let expected = naive.take(id, tick, start, key, cost, latest);
                let at = ours.map(|charge| charge.at.0);
                assert_eq!(instants(at, tick), expected, "{id}");
                if let Ok(charge) = ours {
                    assert_eq!(seen, Ok(charge.at), "{id}");
                    charges.push((id, key, charge));
                    if cost > 0 {
                        let grant = (n, naive.index(key), key.tier, (charge.at.0, cost));
                        grants.by_id.insert(id, grant);
                    }
                }
            }
            10 | 11 if !charges.is_empty() => {
                let which = bytes.below(charges.len() as u32) as usize;
                let (id, key, charge) = charges.remove(which);
                table.cancel(key, &charge);
                naive.cancel(id, key);
                grants.by_id.remove(&id);
            }
            12 => {
                let (tier, quota) = (bytes.byte() % 2, quota(&mut bytes));
                let old = naive.tiers[usize::from(tier)].quota;
                if fixed {
                    grants.check(tier, old);
                }
                table.change(tick, tier, quota);
                naive.change(tick, tier, quota);
                assert_eq!(table.quota(tier), quota);
            }
            13 => {
                let (_, key) = pick(&mut bytes);
                let until = Tick(now + u64::from(bytes.word()) * (MS / 16));
                evicted += u64::from(table.pause(tick, key, until));
                naive.pause(tick, key, until);
            }
            14 => match bytes.byte() % 5 {
                0 => {
                    now = now
                        .saturating_sub(u64::from(bytes.word()) * (MS / 32))
                        .max(START);
                }
                1 => now = now.saturating_sub(HOUR).max(START),
                // Less than a day in all: the origin lies a day before the start, and before the
                // origin the clock stands still.
                2 => now = now.max((now + HOUR).min(START + 20 * HOUR)),
                // As long as a key is protected, and longer.
                3 => now += u64::from(bytes.byte()) * 1_000 * MS,
                _ => now += u64::from(bytes.byte()),
            },
            _ => now += u64::from(bytes.word()) * (MS / 64),
        }
        for n in 0..keys.min(16) {
            let key = key(n.into(), (id % 2) as u8);
            assert_eq!(
                table.available(Tick(now), key),
                naive.available(Tick(now), key),
                "{id}: {n}"
            );
            let owner = super::Owner::new(key);
            assert_eq!(
                table.set(key).find_in_any_tier(owner).is_some(),
                naive.contains(key),
                "{id}: {n}"
            );
        }
        assert_eq!(
            (table.evicted(), evicted),
            (naive.evicted, naive.evicted),
            "{id}"
        );
    }
    if fixed {
        for (tier, naive) in naive.tiers.iter().enumerate() {
            grants.check(tier as u8, naive.quota);
        }
    }
}

/// RL9, RL17, RL1: any rate, and a clock that goes anywhere. Grants are checked between two steps back.
fn wild(mut bytes: Bytes<'_>) {
    let quota = |bytes: &mut Bytes<'_>| {
        let n = (bytes.magnitude() >> (bytes.byte() % 32)) as u32;
        let period = Duration::from_nanos(1 + bytes.magnitude());
        let burst = 1 + (bytes.magnitude() as u32 >> (bytes.byte() % 32));
        let quota = match bytes.byte() {
            0xFF => Quota::unlimited(),
            _ => Quota::new(n, period).burst(burst),
        };
        let mut problems = Problems::default();
        quota.check(&mut problems);
        match problems.finish(&"fuzzed".into()) {
            Ok(()) => quota,
            Err(_) => Quota::per_second(10),
        }
    };
    let moved = |bytes: &mut Bytes<'_>, now: u64| match bytes.byte() % 8 {
        0 => now.saturating_sub(bytes.magnitude()),
        1 => bytes.pick(&[0, 1, START, START + 1, u64::MAX / 2, u64::MAX - 1, u64::MAX]),
        2 | 3 => now.saturating_add(bytes.magnitude()),
        _ => now.saturating_add(u64::from(bytes.word()) * 10_000),
    };
    let mut now = moved(&mut bytes, START);
    let mut quotas = [quota(&mut bytes), quota(&mut bytes)];
    let capacity = [8, 64][usize::from(bytes.byte() % 2)];
    let table = Table::new(Tick(now), capacity, &quotas);
    let index = Naive::new(Tick(now), capacity, &quotas);
    let mut charges: Vec<(usize, KeyHandle, u32, Charge)> = Vec::new();
    let mut grants = Grants::default();
    let mut id = 0;
    while !bytes.is_empty() {
        id += 1;
        let n = bytes.below(24);
        let key = key(n.into(), (n % 2) as u8);
        let tick = Tick(now);
        let cost = match bytes.byte() {
            0xFF => bytes.magnitude() as u32,
            n => u32::from(n % 8),
        };
        let granted = |at: Tick| (n, index.index(key), key.tier, (at.0, cost));
        match bytes.byte() % 16 {
            0..=5 => {
                let seen = table.peek(tick, key, cost);
                let ours = table.admit(tick, key, cost);
                assert_eq!(seen, ours, "{id}");
                if ours.is_ok() && cost > 0 {
                    grants.by_id.insert(id, granted(tick));
                }
            }
            6..=8 => {
                let start = Tick(moved(&mut bytes, now));
                let latest = Tick(moved(&mut bytes, start.0));
                let seen = table.probe(tick, start, key, cost);
                if let Ok(charge) = table.take(tick, start, key, cost, latest) {
                    assert_eq!(seen, Ok(charge.at), "{id}");
                    assert!(
                        tick.max(start) <= charge.at && charge.at <= latest.max(start),
                        "{id}"
                    );
                    charges.push((id, key, cost, charge));
                    if cost > 0 {
                        grants.by_id.insert(id, granted(charge.at));
                    }
                }
            }
            9 | 10 if !charges.is_empty() => {
                let which = bytes.below(charges.len() as u32) as usize;
                let (id, key, _, charge) = charges.remove(which);
                table.cancel(key, &charge);
                grants.by_id.remove(&id);
            }
            11 => {
                let tier = usize::from(key.tier);
                grants.check(key.tier, quotas[tier]);
                quotas[tier] = quota(&mut bytes);
                table.change(tick, key.tier, quotas[tier]);
            }
            12 => {
                let until = Tick(moved(&mut bytes, now));
                table.pause(tick, key, until);
            }
            13 if !charges.is_empty() => {
                let which = bytes.below(charges.len() as u32) as usize;
                let (id, key, cost, charge) = charges.remove(which);
                let tokens = match bytes.byte() % 4 {
                    0 => cost,
                    part => cost / 4 * u32::from(part),
                };
                table.refund(key, &charge, tokens, tick);
                // What remains is the final cost.
                if let Some((.., (_, cost))) = grants.by_id.get_mut(&id) {
                    *cost -= tokens;
                }
            }
            14 => {
                table.owe(tick, key, cost);
            }
            _ => {
                let to = moved(&mut bytes, now);
                if to < now {
                    (0..2).for_each(|tier| grants.check(tier, quotas[usize::from(tier)]));
                }
                now = to;
            }
        }
        assert!(
            table.available(tick, key) == u32::MAX || !quotas[usize::from(key.tier)].is_unlimited()
        );
        assert!(table.used() <= table.capacity());
    }
    (0..2).for_each(|tier| grants.check(tier, quotas[usize::from(tier)]));
}
