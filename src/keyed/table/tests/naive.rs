//! The table against buckets that are kept by plain division, in a map that forgets nobody.

use std::collections::HashMap;

use super::*;

/// A tier whose clock is a quotient, in units since the tier was made.
struct Tier {
    quota: Quota,
    from: i128,
    since: u64,
    /// Units in nanoseconds.
    rate: (i128, i128),
    changes: u64,
}

impl Tier {
    fn new(quota: Quota) -> Self {
        let mut tier = Self {
            quota,
            from: 0,
            since: START.0,
            rate: (0, 1),
            changes: 0,
        };
        tier.set(quota);
        tier
    }

    fn set(&mut self, quota: Quota) {
        self.quota = quota;
        if !quota.is_unlimited() {
            let n = i128::from(quota.count()) * i128::from(TOKEN);
            self.rate = (n, quota.period().as_nanos() as i128);
        }
    }

    fn change(&mut self, now: Tick, quota: Quota) {
        let (rate, clock) = (self.rate, self.clock(now.0).0);
        self.changes += 1;
        self.set(quota);
        if rate.0 * self.rate.1 != self.rate.0 * rate.1 {
            (self.from, self.since) = (clock, now.0);
        }
    }

    /// Rounded down and up.
    fn clock(&self, now: u64) -> (i128, i128) {
        let product = (i128::from(now) - i128::from(self.since)) * self.rate.0;
        let down = product.div_euclid(self.rate.1);
        let up = down + i128::from(product.rem_euclid(self.rate.1) != 0);
        (self.from + down, self.from + up)
    }

    fn tolerance(&self) -> i128 {
        i128::from(self.quota.max_burst()) * i128::from(TOKEN)
    }

    /// The instant, searched for; none before time ends.
    fn instant(&self, due: i128, after: u64) -> Option<u64> {
        let (mut low, mut high) = (after, after + 1);
        while self.clock(high).0 < due {
            if high == u64::MAX {
                return None;
            }
            high = high.saturating_add(high - after);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.clock(middle).0 < due {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }
}

struct Bucket {
    tier: u8,
    end: i128,
    /// By id: where it was made, the configuration, and the end before it.
    charges: Vec<(usize, u8, u64, i128)>,
}

pub(super) struct Naive {
    tiers: Vec<Tier>,
    keys: HashMap<u64, Bucket>,
}

impl Naive {
    fn new(quotas: &[Quota]) -> Self {
        Self {
            tiers: quotas.iter().map(|quota| Tier::new(*quota)).collect(),
            keys: HashMap::new(),
        }
    }

    fn end(&self, now: Tick, key: Place) -> i128 {
        let to = self.tiers[usize::from(key.tier)].clock(now.0);
        match self.keys.get(&key.hash) {
            None => -(1 << 100),
            Some(bucket) if bucket.tier == key.tier => bucket.end,
            Some(bucket) => {
                let debt = bucket.end - self.tiers[usize::from(bucket.tier)].clock(now.0).0;
                if debt > 0 { to.1 + debt } else { to.0 }
            }
        }
    }

    fn take(
        &mut self,
        id: usize,
        now: Tick,
        start: Tick,
        key: Place,
        cost: u32,
        latest: Tick,
    ) -> Result<u64, Option<u64>> {
        let end = self.end(now, key);
        let tier = &self.tiers[usize::from(key.tier)];
        if cost == 0 || tier.quota.is_unlimited() {
            return Ok(start.0);
        }
        let units = i128::from(cost) * i128::from(TOKEN);
        if units > tier.tolerance() {
            return Err(None);
        }
        let due = end + units - tier.tolerance();
        let granted = match due <= tier.clock(start.0).0 {
            true => start.0,
            false if tier.rate.0 == 0 => return Err(None),
            false => tier.instant(due, start.0).ok_or(None)?,
        };
        if granted > latest.0 {
            return Err(Some(granted));
        }
        let begins = end.max(tier.clock(granted).1);
        let changes = tier.changes;
        let bucket = self.keys.entry(key.hash).or_insert(Bucket {
            tier: key.tier,
            end,
            charges: Vec::new(),
        });
        if bucket.tier != key.tier {
            bucket.charges.clear();
        }
        bucket.tier = key.tier;
        bucket.end = begins + units;
        bucket.charges.push((id, key.tier, changes, end));
        Ok(granted)
    }

    fn cancel(&mut self, id: usize, key: Place) {
        let Some(bucket) = self.keys.get_mut(&key.hash) else {
            return;
        };
        if let Some(&(last, tier, changes, before)) = bucket.charges.last() {
            if last == id && changes == self.tiers[usize::from(tier)].changes {
                bucket.charges.pop();
                bucket.end = before;
            }
        }
    }

    fn available(&self, now: Tick, key: Place) -> u32 {
        let tier = &self.tiers[usize::from(key.tier)];
        if tier.quota.is_unlimited() {
            return u32::MAX;
        }
        let debt = (self.end(now, key) - tier.clock(now.0).0).max(0);
        ((tier.tolerance() - debt).max(0) / i128::from(TOKEN)) as u32
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Back(u64),
    Admit(u64, u8, u32),
    Reserve {
        key: u64,
        tier: u8,
        cost: u32,
        max_wait: u64,
        later: u64,
    },
    Cancel(usize),
    Change(u8, Quota),
}

/// At most 28 in a nanosecond: of a faster one less is kept than was asked for.
fn steady() -> impl Strategy<Value = Quota> {
    quotas().prop_filter("too fast", |quota| {
        u128::from(quota.count()) <= 28 * quota.period().as_nanos()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let (key, tier) = (0u64..6, 0u8..2);
    let changed = prop_oneof![
        6 => steady(),
        1 => Just(Quota::unlimited()),
        1 => (0u32..9).prop_map(|burst| Quota::per_second(0).burst(burst)),
    ];
    prop_oneof![
        4 => (0..ms(400)).prop_map(Step::Advance),
        2 => (0..30u64).prop_map(Step::Advance),
        1 => (0..ms(100)).prop_map(Step::Back),
        1 => (0..10u64).prop_map(Step::Back),
        8 => (key.clone(), tier.clone(), 0u32..7).prop_map(|(k, t, cost)| Step::Admit(k, t, cost)),
        4 => (key, tier.clone(), 1u32..7, 0..3 * SECOND, 0..ms(500)).prop_map(
            |(key, tier, cost, max_wait, later)| Step::Reserve { key, tier, cost, max_wait, later },
        ),
        3 => any::<prop::sample::Index>().prop_map(|i| Step::Cancel(i.index(1 << 16))),
        1 => (tier, changed).prop_map(|(tier, quota)| Step::Change(tier, quota)),
    ]
}

fn compare(
    ours: Result<u64, Refused>,
    naive: Result<u64, Option<u64>>,
    now: Tick,
) -> Result<(), TestCaseError> {
    match (ours, naive) {
        (Ok(ours), Ok(naive)) => prop_assert_eq!(ours, naive),
        (Err(refused), Err(due)) => {
            prop_assert_eq!(refused.wait.map(|wait| now.after(wait).0), due);
        }
        (ours, naive) => prop_assert!(false, "{ours:?}, naive {naive:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..ProptestConfig::default() })]

    // RL2, RL5, RL6, RL7, RL10, KY2, KY5: what is decided and when, given back and left, for
    // several keys that change tiers while the tiers change.
    #[test]
    fn ky2_decides_as_naive_buckets_that_know_nothing_of_each_other(
        quotas in (steady(), steady()), steps in prop::collection::vec(step(), 1..150),
    ) {
        let quotas = [quotas.0, quotas.1];
        let table = Table::new(START, 64, &quotas);
        let mut naive = Naive::new(&quotas);
        let (mut now, mut latest) = (at(SECOND), at(SECOND));
        let mut charges: Vec<(usize, Place, Charge)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Advance(by) => now = Tick(now.0 + by),
                // Where a turn takes half a second, further back the clock stands still.
                Step::Back(by) => now = Tick((now.0 - by).max(latest.0 - ms(100))),
                Step::Change(tier, quota) => {
                    table.change(now, tier, quota);
                    prop_assert_eq!(table.quota(tier), quota);
                    naive.tiers[usize::from(tier)].change(now, quota);
                }
                Step::Admit(k, tier, cost) => {
                    let key = tiered(k, tier);
                    let peeked = table.peek(now, key, cost);
                    let ours = table.admit(now, key, cost);
                    prop_assert_eq!(peeked, ours);
                    compare(ours.map(|()| now.0), naive.take(id, now, now, key, cost, now), now)?;
                }
                Step::Reserve { key, tier, cost, max_wait, later } => {
                    let (key, start) = (tiered(key, tier), Tick(now.0 + later));
                    let latest = Tick(start.0 + max_wait);
                    let probed = table.probe(now, start, key, cost);
                    let ours = table.take(now, start, key, cost, latest);
                    if let Ok(charge) = ours {
                        prop_assert_eq!(probed, Ok(charge.at));
                        charges.push((id, key, charge));
                    }
                    let naive = naive.take(id, now, start, key, cost, latest);
                    compare(ours.map(|charge| charge.at.0), naive, now)?;
                }
                Step::Cancel(which) => if !charges.is_empty() {
                    let (id, key, charge) = charges.remove(which % charges.len());
                    table.cancel(key, &charge);
                    naive.cancel(id, key);
                },
            }
            latest = latest.max(now);
            for n in 0..6 {
                let key = tiered(n, (id % 2) as u8);
                prop_assert_eq!(table.available(now, key), naive.available(now, key));
            }
        }
        prop_assert_eq!(table.evicted(), 0);
    }

    // RL9: to the last unit.
    #[test]
    fn rl9_the_clock_is_an_exact_division(
        n in 1..u32::MAX, period in prop_oneof![1u64..100, 1..2 * SECOND, 1..YEAR], times in prop::collection::vec(any::<u64>(), 20),
        burst in any::<u32>(),
    ) {
        let quota = Quota::new(n, Duration::from_nanos(period)).burst(burst);
        let config = super::super::clock::Config::first(Tick(0), quota);
        let Rate { units, nanos, .. } = config.rate;
        let fastest = u128::from(period) * 32 < u128::from(n);
        if !fastest {
            prop_assert_eq!(u128::from(units) * u128::from(period), u128::from(n) * u128::from(TOKEN) * u128::from(nanos));
        }
        for time in times.into_iter().chain([1, nanos, nanos.saturating_mul(7), nanos.saturating_mul(7) - 1, nanos.saturating_mul(7) + 1]) {
            let time = time.min(config.until.0);
            let product = u128::from(time) * u128::from(units);
            let clock = config.clock(Tick(time));
            prop_assert_eq!(u128::from(clock.down - config.from), product / u128::from(nanos));
            prop_assert_eq!(u128::from(clock.up - config.from), product.div_ceil(u128::from(nanos)));
        }
    }
}
