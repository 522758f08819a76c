//! A key of the table against a bucket of its own, and against the naive table, at any period.

use super::*;
use crate::rate_limit::quota::{SPAN, UNITS};
use crate::rate_limit::{self, Bucket};

/// From 100 in a nanosecond to one in 416 days.
fn at_any_period() -> impl Strategy<Value = Quota> {
    let period = (0u32..56, any::<u64>()).prop_map(|(bits, x)| 1 + (x >> (63 - bits)));
    let n = prop_oneof![1u32..10, 1u32..100, 1..u32::MAX];
    (period, n, 1u32..20).prop_filter_map("more than a word holds", |(period, n, burst)| {
        let quota = Quota::new(n, Duration::from_nanos(period)).burst(burst);
        (quota.interval() <= SPAN / u64::from(burst)).then_some(quota)
    })
}

/// Times are a number of quarters of the emission interval, and of nanoseconds.
#[derive(Clone, Debug)]
enum Step {
    Advance(u64, u64),
    Back(u64, u64),
    Admit(u64, u32),
    Reserve {
        key: u64,
        cost: u32,
        later: u64,
        max_wait: u64,
    },
    Cancel(usize),
    Change(Quota),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u64..3;
    prop_oneof![
        6 => (0u64..13, 0u64..3).prop_map(|(quarters, nanos)| Step::Advance(quarters, nanos)),
        1 => (0u64..9, 0u64..3).prop_map(|(quarters, nanos)| Step::Back(quarters, nanos)),
        12 => (key.clone(), 0u32..7).prop_map(|(key, cost)| Step::Admit(key, cost)),
        4 => (key, 1u32..7, 0u64..9, 0u64..40).prop_map(
            |(key, cost, later, max_wait)| Step::Reserve { key, cost, later, max_wait },
        ),
        3 => any::<prop::sample::Index>().prop_map(|i| Step::Cancel(i.index(1 << 16))),
        1 => at_any_period().prop_map(Step::Change),
    ]
}

proptest! {
    #![proptest_config(cases(1_024))]

    // RL2, RL3, RL5, RL6, RL7, RL9, RL10: every decision and every instant.
    #[test]
    fn rl2_a_key_is_decided_as_a_limiter_of_its_own_at_any_period(
        quota in at_any_period(), steps in prop::collection::vec(step(), 1..150),
    ) {
        let table = table(64, quota);
        let mut naive = Naive::new(START, 64, &[quota]);
        let buckets = [(); 3].map(|()| Bucket::new(START, quota));
        let (mut now, mut quarter) = (at(0), quota.interval() / UNITS / 4);
        let mut charges: Vec<(usize, u64, Charge, rate_limit::Charge)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Advance(quarters, nanos) => now = Tick(now.0 + quarters * quarter + nanos),
                Step::Back(quarters, nanos) => {
                    // The origin lies a day before the start, and before it the clock stands still.
                    let by = (quarters * quarter + nanos).min(3_600 * SECOND);
                    now = Tick((now.0 - by).max(START.0));
                }
                Step::Admit(n, cost) => {
                    let ours = table.admit(now, key(n), cost);
                    prop_assert_eq!(ours, buckets[n as usize].admit(now, cost));
                    let expected = naive.take(id, now, now, key(n), cost, now);
                    prop_assert_eq!(instants(ours.map(|()| now.0), now), expected);
                }
                Step::Reserve { key: n, cost, later, max_wait } => {
                    let (bucket, key) = (&buckets[n as usize], key(n));
                    let start = Tick(now.0 + later * quarter);
                    let latest = Tick(start.0 + max_wait * quarter);
                    prop_assert_eq!(table.peek(now, key, cost), bucket.peek(now, cost));
                    prop_assert_eq!(table.probe(now, start, key, cost), bucket.probe(now, start, cost));
                    let ours = table.take(now, start, key, cost, latest);
                    let its = bucket.take(now, start, cost, latest);
                    prop_assert_eq!(ours.map(|charge| charge.at), its.map(|charge| charge.at));
                    if let (Ok(ours), Ok(its)) = (ours, its) {
                        charges.push((id, n, ours, its));
                    }
                    let expected = naive.take(id, now, start, key, cost, latest);
                    prop_assert_eq!(instants(ours.map(|charge| charge.at.0), now), expected);
                }
                Step::Cancel(which) => if !charges.is_empty() {
                    let (id, n, ours, its) = charges.remove(which % charges.len());
                    table.cancel(key(n), &ours);
                    buckets[n as usize].cancel(&its);
                    naive.cancel(id, key(n));
                },
                Step::Change(quota) => {
                    table.change(now, 0, quota);
                    naive.change(now, 0, quota);
                    buckets.iter().for_each(|bucket| bucket.change(now, quota));
                    quarter = quota.interval() / UNITS / 4;
                }
            }
            for (n, bucket) in (0..).zip(&buckets) {
                let left = bucket.available(now);
                prop_assert_eq!(table.available(now, key(n)), left);
                prop_assert_eq!(naive.available(now, key(n)), left);
            }
        }
        prop_assert_eq!(table.evicted(), 0);
    }
}

// RL2: a key's whole burst is available at any instant, and then a token at a time.
#[test]
fn rl2_the_burst_of_a_slow_limit_is_whole() {
    for (quota, each) in [
        (Quota::per_day(3), 8 * 3_600 * SECOND),
        (Quota::per_hour(6), 600 * SECOND),
        (Quota::new(4, Duration::from_nanos(YEAR)), YEAR / 4),
        (Quota::new(32, Duration::from_nanos(1)).burst(3), 1),
    ] {
        let table = table(1_000, quota);
        for n in 0..50 {
            let start = at(n * 1_234_567_891 + n);
            for left in (0..quota.max_burst()).rev() {
                assert!(table.admit(start, key(n), 1).is_ok(), "{quota}, key {n}");
                assert_eq!(table.available(start, key(n)), left, "{quota}, key {n}");
            }
            let shortfall = table.admit(start, key(n), 1).unwrap_err();
            assert_eq!(wait(shortfall), Duration::from_nanos(each));
        }
    }
}
