//! The table against the naive one.

use super::*;

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

fn step() -> impl Strategy<Value = Step> {
    let (key, tier) = (0u64..6, 0u8..2);
    let changed = prop_oneof![
        6 => quotas(),
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

proptest! {
    #![proptest_config(cases(1_024))]

    // KY2, KY3, KY5, RL1, RL2, RL3, RL5, RL6, RL7, RL9, RL10, RL15: long schedules, with room for all
    // keys or for few; some with any quota and a clock that goes anywhere.
    #[test]
    fn ky3_long_schedules_are_decided_as_by_the_naive_table(data in prop::collection::vec(any::<u8>(), 0..1_000)) {
        fuzz::run(&data);
    }

    // RL2, RL5, RL6, RL7, RL10, KY2, KY5: decisions, instants, refunds and tokens of keys that change
    // tiers while the tiers change.
    #[test]
    fn ky2_keys_are_decided_as_by_independent_naive_buckets(
        quotas in (quotas(), quotas()), steps in prop::collection::vec(step(), 1..150),
    ) {
        let quotas = [quotas.0, quotas.1];
        let table = Table::new(START, 64, &quotas);
        let mut naive = Naive::new(START, 64, &quotas);
        let mut now = at(100 * SECOND);
        let mut charges: Vec<(usize, KeyHandle, Charge)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Advance(by) => now = Tick(now.0 + by),
                Step::Back(by) => now = Tick(now.0 - by),
                Step::Change(tier, quota) => {
                    table.change(now, tier, quota);
                    prop_assert_eq!(table.quota(tier), quota);
                    naive.change(now, tier, quota);
                }
                Step::Admit(k, tier, cost) => {
                    let key = tiered(k, tier);
                    let peeked = table.peek(now, key, cost);
                    let ours = table.admit(now, key, cost);
                    prop_assert_eq!(peeked, ours);
                    let expected = naive.take(id, now, now, key, cost, now);
                    prop_assert_eq!(instants(ours.map(|()| now.0), now), expected);
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
                    let expected = naive.take(id, now, start, key, cost, latest);
                    prop_assert_eq!(instants(ours.map(|charge| charge.at.0), now), expected);
                }
                Step::Cancel(which) => if !charges.is_empty() {
                    let (id, key, charge) = charges.remove(which % charges.len());
                    table.cancel(key, &charge);
                    naive.cancel(id, key);
                },
            }
            for n in 0..6 {
                let key = tiered(n, (id % 2) as u8);
                prop_assert_eq!(table.available(now, key), naive.available(now, key));
            }
        }
        prop_assert_eq!(table.evicted(), 0);
    }
}
