//! RL15, for one key.

use super::*;
use crate::fuzzing::cases;
use crate::rate_limit::quota::UNITS;

proptest! {
    #![proptest_config(cases(512))]

    // RL15, RL3: for existing and new keys. A key with a longer debt is admitted when that is repaid.
    #[test]
    fn rl15_one_token_is_available_at_the_end_and_no_burst(
        quota in quotas(), taken in 0u32..12, lasts in 1..SECOND, exists in any::<bool>(),
    ) {
        let (table, now) = (table(8, quota), at(ms(7)));
        let paused = key(if exists { 1 } else { 99 });
        for _ in 0..taken {
            let _ = table.take(now, now, key(1), 1, Tick(now.0 + 2 * SECOND));
        }
        let before = table.probe(now, now, paused, 1).unwrap();
        let until = Tick(now.0 + lasts);
        table.pause(now, paused, until, &mut false);
        let due = table.probe(now, now, paused, 1).unwrap();
        prop_assert_eq!(due, before.max(until));
        prop_assert!(table.admit(Tick(due.0 - 1), paused, 1).is_err());
        prop_assert_eq!(table.available(Tick(due.0 - 1), paused), 0);
        prop_assert_eq!(table.available(due, paused), 1);
        prop_assert!(table.admit(due, paused, 1).is_ok());
        // The next token comes at the rate.
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
    table.pause(START, key(1), at(2 * SECOND), &mut false);
    table.pause(START, key(1), at(SECOND), &mut false);
    table.pause(at(SECOND), key(1), at(ms(500)), &mut false);
    let due = table.probe(at(SECOND), at(SECOND), key(1), 1);
    assert_eq!(due, Ok(at(2 * SECOND)));
    table.pause(at(SECOND), key(1), at(3 * SECOND), &mut false);
    let due = table.probe(at(SECOND), at(SECOND), key(1), 1);
    assert_eq!(due, Ok(at(3 * SECOND)));
}

// RL15, RL5: a charge from before the pause is not returned, because the debt would end before it.
#[test]
fn rl15_a_returned_charge_does_not_end_a_pause() {
    let table = table(8, Quota::per_second(10));
    let latest = at(10 * SECOND);
    let charge = table.take(START, START, key(1), 10, latest).unwrap();
    let other = table.take(START, START, key(1), 10, latest).unwrap();
    table.pause(START, key(1), at(ms(500)), &mut false);
    table.cancel(key(1), &other);
    table.cancel(key(1), &charge);
    let due = table.probe(START, START, key(1), 1).unwrap();
    assert_eq!(due, at(ms(1_100)));
    // A charge from after the pause returns.
    let later = table.take(START, START, key(1), 10, latest).unwrap();
    table.cancel(key(1), &later);
    assert_eq!(table.probe(START, START, key(1), 1), Ok(due));
}

// RL15, RL7, KY5: a pause is a debt, and kept in tokens.
#[test]
fn rl15_a_change_of_quota_or_tier_keeps_the_debt() {
    let quotas = [Quota::per_second(10), Quota::per_second(20).burst(5)];
    let table = Table::new(START, 8, &quotas);
    // 30 tokens of time, and nine of the burst.
    table.pause(START, tiered(1, 0), at(3 * SECOND), &mut false);
    let due = |tier| table.probe(START, START, tiered(1, tier), 1).unwrap();
    assert_eq!(due(0), at(3 * SECOND));
    assert_eq!(due(1), at((39 + 1 - 5) * ms(50)));
    table.change(START, 0, Quota::per_second(20).burst(10));
    assert_eq!(due(0), at(30 * ms(50)));
    // Paused in the other tier, the key brings its debt from this one.
    table.pause(START, tiered(1, 1), at(3 * SECOND), &mut false);
    assert_eq!(due(1), at(3 * SECOND));
    assert_eq!(due(0), at((64 + 1 - 10) * ms(50)));
}

// RL15, RL6, RL7
#[test]
fn rl15_what_a_pause_does_not_stop() {
    let table = table(8, Quota::per_second(10));
    table.pause(START, key(1), at(SECOND), &mut false);
    assert!(table.admit(START, key(1), 0).is_ok());
    assert!(table.admit(START, key(1), 1).is_err());
    // Without a limit the debt does not matter.
    table.change(START, 0, Quota::unlimited());
    assert!(table.admit(START, key(1), 100).is_ok());
    table.pause(START, key(1), at(2 * SECOND), &mut false);
    table.pause(START, key(2), at(2 * SECOND), &mut false);
    assert!(table.admit(START, key(1), 1).is_ok());
    assert_eq!(table.used(), 1);
    // But it is kept.
    table.change(START, 0, Quota::per_second(10));
    assert_eq!(
        table.probe(START, START, key(1), 1),
        Ok(at(SECOND)),
        "the pause from before"
    );
    // A pause that has passed makes no entry.
    table.pause(START, key(3), START, &mut false);
    assert_eq!(table.used(), 1);
}

// RL15, RL7: with a stopped clock there is no instant to wait for.
#[test]
fn rl15_with_a_quota_of_zero_a_pause_lasts_until_the_quota_changes() {
    let table = table(8, Quota::per_second(0).burst(5));
    assert!(table.admit(START, key(1), 2).is_ok());
    table.pause(START, key(1), at(SECOND), &mut false);
    let shortfall = Shortfall {
        wait: None,
        above_burst: None,
    };
    for now in [START, at(SECOND), at(YEAR)] {
        assert_eq!(table.admit(now, key(1), 1), Err(shortfall));
        assert_eq!(table.available(now, key(2)), 5);
    }
    table.change(at(YEAR), 0, Quota::per_second(10).burst(5));
    let due = table.probe(at(YEAR), at(YEAR), key(1), 1);
    assert_eq!(due, Ok(at(YEAR + ms(100))));
}

// RL15, RL9: it lasts no longer than what a word can hold.
#[test]
fn rl15_a_pause_is_no_longer_than_the_word_holds() {
    let table = table(8, Quota::per_second(10));
    table.pause(START, key(1), at(10 * YEAR), &mut false);
    // There is no room after its end, so nothing can be reserved for then.
    let shortfall = table.probe(START, START, key(1), 1).unwrap_err();
    let due = START.after(shortfall.wait.unwrap());
    assert!(due > at(4 * YEAR) && due < at(5 * YEAR), "{due:?}");
    assert!(table.admit(Tick(due.0 - 1), key(1), 1).is_err());
    assert!(table.admit(due, key(1), 1).is_ok());
}

// RL15, KY3: among keys in debt, the paused one is evicted last.
#[test]
fn rl15_made_up_keys_do_not_end_a_pause() {
    let table = table(8, Quota::per_second(10));
    for n in 0..8 {
        assert!(table.admit(START, key(n), 3).is_ok());
    }
    let mut evicted = false;
    table.pause(START, key(100), at(60 * SECOND), &mut evicted);
    assert!(evicted, "a key in debt is evicted");
    for n in 200..1_000 {
        let now = at(n * ms(50));
        let _ = table.admit(now, key(n), 1 + (n % 4) as u32);
        assert!(table.admit(now, key(100), 1).is_err());
    }
    assert_eq!(table.probe(START, START, key(100), 1), Ok(at(60 * SECOND)));
}
