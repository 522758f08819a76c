//! More keys than entries.

use super::*;
/// Grants to one key, with `made_up` new keys between its calls.
fn beside_made_up_keys(
    quota: Quota,
    capacity: usize,
    made_up: u64,
    calls: u64,
    each: u64,
) -> Vec<Granted> {
    let table = table(capacity, quota);
    let (mut grants, mut next) = (Vec::new(), 1_000);
    for call in 0..calls {
        let now = at(call * each);
        if table.admit(now, key(1), 1).is_ok() {
            grants.push((now.0, 1));
        }
        for _ in 0..made_up {
            next += 1;
            let _ = table.admit(now, key(next), 1 + (next % 3) as u32);
        }
    }
    assert!(table.used() <= table.capacity());
    grants
}

/// Whether a key has an entry.
fn has_entry(table: &Table, n: u64) -> bool {
    let (set, owner) = (table.set(key(n)), Owner::new(key(n)));
    set.find_in_any_tier(owner).is_some()
}

// KY3, RL1
#[test]
fn ky3_an_evicted_key_that_comes_back_gets_no_more_than_its_quota() {
    for (capacity, made_up) in [(1, 1), (1, 20), (16, 3), (64, 100)] {
        for each in [0, 1, ms(3), ms(40), ms(101)] {
            let quota = Quota::per_second(10).burst(4);
            let mut grants = beside_made_up_keys(quota, capacity, made_up, 500, each);
            check_windows(quota, 1, &mut grants);
        }
    }
}

// KY3: a key that uses its whole quota is never the least indebted.
#[test]
fn ky3_a_key_in_constant_use_keeps_its_entry() {
    let quota = Quota::per_second(10).burst(10);
    for (capacity, made_up) in [(16, 10), (64, 100)] {
        let grants = beside_made_up_keys(quota, capacity, made_up, 2_500, ms(4));
        assert!(grants.len() >= 99, "{}", grants.len());
    }
}

// KY3: new keys share the tokens of the entries.
#[test]
fn ky3_made_up_keys_get_no_fresh_bursts() {
    let (capacity, keys) = (
        1_000,
        if cfg!(debug_assertions) {
            200_000
        } else {
            10_000_000
        },
    );
    let table = table(capacity, Quota::per_second(10).burst(5));
    let take = |n| table.take(START, START, key(n), 1, START).ok();
    let charges: Vec<_> = (0..keys).filter_map(take).collect();
    let admitted = charges.len();
    assert!(admitted <= table.capacity() * 5, "{admitted}");
    assert!(admitted >= table.capacity() * 4, "{admitted}");
    assert_eq!(table.used(), table.capacity());
    // With all entries in use, each admission evicts a key in debt.
    assert_eq!(table.evicted(), (admitted - table.capacity()) as u64);
    let evicted = charges.iter().filter(|charge| charge.evicted).count();
    assert_eq!(evicted as u64, table.evicted());
    // A tenth of a second later each entry has one more token, however many keys there are.
    let later = at(ms(100));
    let admitted = (keys..keys + 100_000)
        .filter(|n| table.admit(later, key(*n), 1).is_ok())
        .count();
    assert!(admitted <= table.capacity(), "{admitted}");
    assert!(admitted >= table.capacity() / 8, "{admitted}");
}

// KY3
#[test]
fn ky3_the_key_idle_for_the_longest_is_evicted_first() {
    let table = table(8, Quota::per_second(10));
    for n in 0..8 {
        assert!(table.admit(at(n * ms(10)), key(n), 1).is_ok());
    }
    let now = at(SECOND);
    // Key 0 is charged again, so key 1 has been idle for the longest.
    assert!(table.admit(now, key(0), 1).is_ok());
    let charge = table.take(now, now, key(100), 10, now).unwrap();
    assert!(!charge.evicted, "it was not in debt");
    assert_eq!(table.evicted(), 0);
    let left = [0, 2, 3, 4, 5, 6, 7, 100];
    assert!(!has_entry(&table, 1) && left.iter().all(|n| has_entry(&table, *n)));
}

// KY3, KY5
#[test]
fn ky3_the_least_indebted_key_of_several_tiers_is_the_one_that_is_idle_first() {
    let quotas = [Quota::per_second(1), Quota::per_second(100)].map(|quota| quota.burst(50));
    let table = Table::new(START, 8, &quotas);
    for n in 0..4 {
        assert!(table.admit(START, tiered(n, 0), 2).is_ok());
        assert!(table.admit(START, tiered(n + 4, 1), 40 + n as u32).is_ok());
    }
    let charge = table.take(START, START, tiered(100, 0), 50, START);
    assert!(charge.unwrap().evicted);
    assert!((0..8).all(|n| has_entry(&table, n) == (n != 4)));
    // The debt is kept in its tier: a new key of that starts behind it, and behind the next one to
    // be evicted.
    assert_eq!(table.available(START, tiered(4, 1)), 50 - 41);
}

// KY3: a new key starts with it, also if the keys of the set owe less by then.
#[test]
fn ky3_the_evicted_debt_outlasts_refunds_to_other_keys() {
    let table = table(8, Quota::per_second(10));
    let charges: Vec<_> = (0..8)
        .map(|n| table.take(START, START, key(n), 6, START).unwrap())
        .collect();
    assert!(table.admit(START, key(100), 1).is_ok());
    let gone = (0..8).find(|n| !has_entry(&table, *n)).unwrap();
    for n in (0..8).filter(|n| *n != gone) {
        table.cancel(key(n), &charges[n as usize]);
        assert_eq!(table.available(START, key(n)), 10);
    }
    assert_eq!(table.available(START, key(gone)), 4);
    assert_eq!(drain(&table, START, key(gone)), 4);
    assert_eq!(table.available(START, key(200)), 4);
}

// KY3, RL5: it is given back neither to the next owner of the entry, nor to the key itself after it
// came back.
#[test]
fn rl5_a_charge_of_an_evicted_key_returns_nothing() {
    let table = table(8, Quota::per_second(10));
    let charge = table.take(START, START, key(0), 1, START).unwrap();
    for n in 1..8 {
        assert!(table.admit(START, key(n), 5).is_ok());
    }
    assert!(table.admit(START, key(100), 3).is_ok());
    assert!(!has_entry(&table, 0));
    table.cancel(key(0), &charge);
    assert_eq!(table.available(START, key(100)), 6);
    let left = table.available(at(ms(100)), key(0));
    assert!(table.admit(at(ms(100)), key(0), 1).is_ok());
    table.cancel(key(0), &charge);
    assert_eq!(table.available(at(ms(100)), key(0)), left - 1);
}

proptest! {
    #![proptest_config(cases(512))]

    // RL3, RL10, KY5: whatever the entries owe.
    #[test]
    fn rl3_the_wait_of_a_new_key_is_exact_among_keys_of_several_tiers(
        quotas in prop::collection::vec(quotas(), 3), tier in 0u8..3, cost in 1u32..6,
        taken in prop::collection::vec((0u64..14, 0u8..3, 1u32..7, 0..ms(50)), 1..60),
    ) {
        let table = Table::new(START, 8, &quotas);
        let mut now = START;
        for (n, tier, cost, by) in taken {
            now = Tick(now.0 + by);
            let _ = table.take(now, now, tiered(n, tier), cost, Tick(now.0 + ms(400)));
        }
        let new = tiered(1_000, tier);
        match table.peek(now, new, cost) {
            Ok(()) => prop_assert!(table.available(now, new) >= cost),
            Err(Shortfall::For(wait)) => {
                let due = now.after(Duration::from_nanos(wait));
                prop_assert_eq!(table.probe(now, now, new, cost), Ok(due));
                prop_assert!(table.admit(Tick(due.0 - 1), new, cost).is_err());
                prop_assert!(table.admit(due, new, cost).is_ok());
            }
            Err(_) => prop_assert!(cost > quotas[usize::from(tier)].max_burst()),
        }
    }
}

// KY4: it would wait for ever.
#[test]
fn ky4_a_call_of_an_existing_key_takes_no_lock() {
    let table = table(8, Quota::per_second(10));
    assert!(table.admit(START, key(1), 1).is_ok());
    let _locked = table.locks[0].lock();
    assert!(table.take(START, START, key(1), 4, START).is_ok());
    assert!(table.admit(START, key(1), 6).is_err());
    assert!(table.peek(START, key(1), 5).is_ok());
    assert_eq!(table.available(START, key(1)), 5);
}

// RL10
#[test]
fn rl10_reading_assigns_no_entry() {
    let table = table(8, Quota::per_second(10));
    for n in 0..100 {
        assert!(table.peek(START, key(n), 1).is_ok());
        assert_eq!(table.probe(START, START, key(n), 1), Ok(START));
        assert_eq!(table.available(START, key(n)), 10);
        assert!(table.admit(START, key(n), 0).is_ok());
    }
    assert_eq!(table.used(), 0);
}

// KY3
#[test]
fn ky3_a_rejected_key_evicts_no_key() {
    let table = table(8, Quota::per_second(10));
    for n in 0..8 {
        assert_eq!(drain(&table, START, key(n)), 10);
    }
    for n in 100..200 {
        assert!(table.admit(START, key(n), 1).is_err());
    }
    let known = |n| has_entry(&table, n);
    assert!((0..8).all(known));
    assert_eq!(table.evicted(), 0);
}

// KY2, RL1: a key that several threads insert at once is inserted once.
#[test]
fn ky2_eight_threads_with_the_same_new_keys_share_their_bursts() {
    for capacity in [8, 64, 10_000] {
        let table = table(capacity, Quota::per_second(1).burst(3));
        let grants: Vec<Vec<u64>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let table = &table;
                    scope.spawn(move || {
                        (0..5_000)
                            .filter(|n| table.admit(START, key(*n), 1).is_ok())
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let mut each = std::collections::HashMap::new();
        for n in grants.iter().flatten() {
            *each.entry(n).or_insert(0) += 1;
        }
        assert!(each.values().all(|n| *n <= 3));
        let admitted = grants.iter().flatten().count();
        assert!(admitted <= table.capacity() * 3, "{admitted}");
        assert_eq!(table.used(), table.capacity().min(table.used()));
        let mut tags = std::collections::HashSet::new();
        for (index, set) in table.sets.iter().enumerate() {
            for way in 0..super::super::WAYS {
                let tag = set.tag(way);
                assert!(tag.is_empty() || tags.insert((index, tag.owner().hash())));
            }
        }
    }
}

// KY3, RL1 with eight threads: keys that come back between made-up ones get no more than their
// quotas.
#[test]
fn ky3_eight_threads_that_evict_each_others_keys_mint_nothing() {
    let quota = Quota::per_second(10_000).burst(20);
    let table = table(16, quota);
    let clock = AtomicU64::new(START.0);
    let grants: Vec<(u64, Granted)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8u64)
            .map(|n| {
                let (table, clock) = (&table, &clock);
                scope.spawn(move || {
                    let mut grants = Vec::new();
                    for i in 0..20_000u64 {
                        let now = Tick(clock.fetch_add(1_000, Ordering::Relaxed));
                        let which = i % 4;
                        if table.admit(now, key(which), 1).is_ok() {
                            grants.push((which, (now.0, 1)));
                        }
                        for j in 0..i % 3 {
                            let _ = table.admit(now, key(1_000 + (n << 32) + i * 3 + j), 2);
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
    assert!(table.evicted() > 100, "{}", table.evicted());
    for which in 0..4 {
        let mine = grants.iter().filter(|(k, _)| *k == which);
        let mut mine: Vec<Granted> = mine.map(|(_, granted)| *granted).collect();
        assert!(mine.len() > 20, "{}", mine.len());
        check_windows(quota, 1, &mut mine);
    }
}

/// How many of the 1,000 calls that 100 clients make in five seconds are rejected, beside 50,000
/// made-up keys a second, each of which is sent `times`, in a limiter of 1,000 keys. The clients
/// called for `before` nanoseconds.
fn rejected_beside_a_flood(quota: Quota, before: u64, times: u32) -> usize {
    // A limiter has twice as many entries as its capacity.
    let table = table(2_000, quota);
    let (calls_before, mut made_up) = (before / ms(5), 1_000_000);
    let mut rejected = 0;
    for n in 0..calls_before + 1_000 {
        let now = at(n * ms(5));
        let admitted = table.admit(now, key(n % 100), 1).is_ok();
        if n < calls_before {
            continue;
        }
        rejected += usize::from(!admitted);
        for i in 0..250 {
            made_up += 1;
            let now = Tick(now.0 + i * ms(5) / 250);
            for _ in 0..times {
                let _ = table.admit(now, key(made_up), 1);
            }
        }
    }
    assert!(table.used() <= table.capacity());
    rejected
}

// KY3
#[test]
fn ky3_existing_keys_are_protected_from_made_up_keys() {
    for quota in [
        Quota::per_second(5).burst(10),
        Quota::per_second(10),
        Quota::per_second(20),
        Quota::per_minute(120),
        Quota::per_day(1_000),
    ] {
        let rejected = rejected_beside_a_flood(quota, 2 * SECOND, 1);
        assert!(rejected <= 10, "{quota}: {rejected} of 1,000");
    }
}

// KY3: keys that were in use for longer than a burst takes to be refilled.
#[test]
fn ky3_existing_keys_are_protected_from_made_up_keys_that_are_sent_several_times() {
    for times in [2, 5] {
        let rejected = rejected_beside_a_flood(Quota::per_second(10), 4 * SECOND, times);
        assert!(rejected <= 10, "{times} times: {rejected} of 1,000");
    }
}

// KY3: a key that was charged again is evicted after all keys that were charged once.
#[test]
fn ky3_keys_charged_once_evict_keys_charged_once_first() {
    let table = table(8, Quota::per_second(10));
    for n in [0, 1, 2, 3, 4, 5, 6, 7, 1, 3] {
        assert!(table.admit(START, key(n), 1).is_ok());
    }
    let is_left = |n| has_entry(&table, n);
    for n in 100..200 {
        let _ = table.admit(at(n * ms(20)), key(n), 1);
        assert!(is_left(1) && is_left(3), "{n}");
    }
    assert!([0, 2, 4, 5, 6, 7].iter().all(|n| !is_left(*n)));
}

// KY3: a protected entry that is not used any more is evicted before keys in debt.
#[test]
fn ky3_the_protection_of_an_unused_key_ends() {
    let table = table(8, Quota::per_second(10));
    for n in [0, 1, 2, 3, 4, 5, 6, 7, 0] {
        assert!(table.admit(START, key(n), 1).is_ok());
    }
    // Its debt is repaid after 200 ms, and then it is protected for a second and a minute.
    for (seconds, is_left) in [(61, true), (62, false)] {
        let now = at(seconds * SECOND);
        for n in 1..=8 {
            assert!(table.admit(now, key(seconds * 1_000 + n), 1).is_ok());
        }
        assert_eq!(has_entry(&table, 0), is_left, "after {seconds} s");
    }
}

// KY3, RL5: a charge that was given back does not count.
#[test]
fn ky3_a_refund_does_not_protect_a_key() {
    let table = table(8, Quota::per_second(10));
    let charge = table.take(START, START, key(0), 5, START).unwrap();
    let again = table.take(START, START, key(0), 1, START).unwrap();
    table.cancel(key(0), &again);
    table.cancel(key(0), &charge);
    for n in 1..9 {
        assert!(table.admit(at(ms(n)), key(n), 1).is_ok());
    }
    assert!(!has_entry(&table, 0));
}

// KY3, RL7, KY5, RL15: also if nothing is owed any more.
#[test]
fn ky3_a_change_of_quota_or_tier_and_a_pause_keep_the_protection() {
    for change in 0..3 {
        let quotas = [Quota::per_second(10), Quota::per_second(20)];
        let table = Table::new(START, 8, &quotas);
        for n in [0, 1, 2, 3, 4, 5, 6, 7, 0] {
            assert!(table.admit(START, key(n), 1).is_ok());
        }
        let now = at(SECOND);
        match change {
            0 => table.change(now, 0, Quota::per_second(5)),
            1 => assert!(table.admit(now, tiered(0, 1), 1).is_ok()),
            _ => assert!(!table.pause(now, key(0), at(SECOND + 1))),
        }
        for n in 100..200 {
            let _ = table.admit(at(n * ms(20)), key(n), 1);
            assert!(has_entry(&table, 0), "{change}: {n}");
        }
    }
}
