//! RL15 for one key.

use super::*;
use crate::rate_limit::quota::UNITS;

proptest! {
    #![proptest_config(cases(512))]

    // RL15, RL3: of an existing and of a new key. A debt that lasts longer than the pause stays.
    #[test]
    fn rl15_one_token_and_no_burst_is_available_at_the_end(
        quota in quotas(), taken in 0u32..12, lasts in 1..SECOND, existing in any::<bool>(),
    ) {
        let (table, now) = (table(8, quota), at(ms(7)));
        let paused = key(if existing { 1 } else { 99 });
        for _ in 0..taken {
            let _ = table.take(now, now, key(1), 1, Tick(now.0 + 2 * SECOND));
        }
        let before = table.probe(now, now, paused, 1).unwrap();
        let until = Tick(now.0 + lasts);
        table.pause(now, paused, until);
        let due = table.probe(now, now, paused, 1).unwrap();
        prop_assert_eq!(due, before.max(until));
        prop_assert!(table.admit(Tick(due.0 - 1), paused, 1).is_err());
        prop_assert_eq!(table.available(Tick(due.0 - 1), paused), 0);
        prop_assert_eq!(table.available(due, paused), 1);
        prop_assert!(table.admit(due, paused, 1).is_ok());
        // The next token comes at the rate of the quota.
        let next = table.probe(due, due, paused, 1).unwrap();
        let each = quota.interval().div_ceil(UNITS);
        prop_assert!((next.0 - due.0).abs_diff(each) <= 1, "{next:?}");
        // No other key is paused.
        prop_assert_eq!(table.available(now, key(2)), quota.max_burst());
    }
}

// RL15
#[test]
fn rl15_a_pause_is_not_shortened_by_another() {
    let table = table(8, Quota::per_second(10));
    table.pause(START, key(1), at(2 * SECOND));
    table.pause(START, key(1), at(SECOND));
    table.pause(at(SECOND), key(1), at(ms(500)));
    let due = table.probe(at(SECOND), at(SECOND), key(1), 1);
    assert_eq!(due, Ok(at(2 * SECOND)));
    table.pause(at(SECOND), key(1), at(3 * SECOND));
    let due = table.probe(at(SECOND), at(SECOND), key(1), 1);
    assert_eq!(due, Ok(at(3 * SECOND)));
}

// RL15, RL5: a charge from before the pause is not given back.
#[test]
fn rl15_a_refund_does_not_end_a_pause() {
    let table = table(8, Quota::per_second(10));
    let latest = at(10 * SECOND);
    let charge = table.take(START, START, key(1), 10, latest).unwrap();
    let other = table.take(START, START, key(1), 10, latest).unwrap();
    table.pause(START, key(1), at(ms(500)));
    table.cancel(key(1), &other);
    table.cancel(key(1), &charge);
    let due = table.probe(START, START, key(1), 1).unwrap();
    assert_eq!(due, at(ms(1_100)));
    // A charge from after it is.
    let later = table.take(START, START, key(1), 10, latest).unwrap();
    table.cancel(key(1), &later);
    assert_eq!(table.probe(START, START, key(1), 1), Ok(due));
}

// RL15, RL7, KY5: a pause adds a debt, which is kept in tokens.
#[test]
fn rl15_a_change_of_quota_or_tier_keeps_the_debt() {
    let quotas = [Quota::per_second(10), Quota::per_second(20).burst(5)];
    let table = Table::new(START, 8, &quotas);
    // 30 tokens of time, and nine of the burst.
    table.pause(START, tiered(1, 0), at(3 * SECOND));
    let due = |tier| table.probe(START, START, tiered(1, tier), 1).unwrap();
    assert_eq!(due(0), at(3 * SECOND));
    assert_eq!(due(1), at((39 + 1 - 5) * ms(50)));
    table.change(START, 0, Quota::per_second(20).burst(10));
    assert_eq!(due(0), at(30 * ms(50)));
    // Paused in the other tier, it starts with the debt that it had in this one.
    table.pause(START, tiered(1, 1), at(3 * SECOND));
    assert_eq!(due(1), at(3 * SECOND));
    assert_eq!(due(0), at((64 + 1 - 10) * ms(50)));
}

// RL15, RL6, RL7
#[test]
fn rl15_a_pause_does_not_stop_a_free_call_or_an_unlimited_key() {
    let table = table(8, Quota::per_second(10));
    table.pause(START, key(1), at(SECOND));
    assert!(table.admit(START, key(1), 0).is_ok());
    assert!(table.admit(START, key(1), 1).is_err());
    // An unlimited key is admitted whatever its debt.
    table.change(START, 0, Quota::unlimited());
    assert!(table.admit(START, key(1), 100).is_ok());
    table.pause(START, key(1), at(2 * SECOND));
    table.pause(START, key(2), at(2 * SECOND));
    assert!(table.admit(START, key(1), 1).is_ok());
    assert_eq!(table.used(), 1);
    // The debt stays.
    table.change(START, 0, Quota::per_second(10));
    assert_eq!(
        table.probe(START, START, key(1), 1),
        Ok(at(SECOND)),
        "the first pause"
    );
    // A pause that is over assigns no entry.
    table.pause(START, key(3), START);
    assert_eq!(table.used(), 1);
}

// RL15, RL7: the clock stands still, so there is no instant to wait for.
#[test]
fn rl15_with_a_quota_of_zero_no_token_is_available_until_it_changes() {
    let table = table(8, Quota::per_second(0).burst(5));
    assert!(table.admit(START, key(1), 2).is_ok());
    table.pause(START, key(1), at(SECOND));
    let shortfall = Shortfall::Unknown;
    for now in [START, at(SECOND), at(YEAR)] {
        assert_eq!(table.admit(now, key(1), 1), Err(shortfall));
        assert_eq!(table.available(now, key(2)), 5);
    }
    table.change(at(YEAR), 0, Quota::per_second(10).burst(5));
    let due = table.probe(at(YEAR), at(YEAR), key(1), 1);
    assert_eq!(due, Ok(at(YEAR + ms(100))));
}

// RL15, RL9
#[test]
fn rl15_a_pause_ends_no_later_than_the_word_can_hold() {
    let table = table(8, Quota::per_second(10));
    table.pause(START, key(1), at(10 * YEAR));
    // The word has no room for a reservation behind it.
    let shortfall = table.probe(START, START, key(1), 1).unwrap_err();
    let due = START.after(shortfall.wait().unwrap());
    assert!(due > at(4 * YEAR) && due < at(5 * YEAR), "{due:?}");
    assert!(table.admit(Tick(due.0 - 1), key(1), 1).is_err());
    assert!(table.admit(due, key(1), 1).is_ok());
}

// RL15, KY3: of the keys in debt, the paused one is the last to be evicted.
#[test]
fn rl15_made_up_keys_do_not_end_a_pause() {
    let table = table(8, Quota::per_second(10));
    for n in 0..8 {
        assert!(table.admit(START, key(n), 3).is_ok());
    }
    let evicted = table.pause(START, key(100), at(60 * SECOND));
    assert!(evicted);
    for n in 200..1_000 {
        let now = at(n * ms(50));
        let _ = table.admit(now, key(n), 1 + (n % 4) as u32);
        assert!(table.admit(now, key(100), 1).is_err());
    }
    assert_eq!(table.probe(START, START, key(100), 1), Ok(at(60 * SECOND)));
}
