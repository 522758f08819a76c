//! RL15, for one key.

use super::*;
use crate::fuzzing::cases;
use crate::rate_limit::quota::UNITS;

proptest! {
    #![proptest_config(cases(512))]

    // RL15, RL3: at its end one token is there and no burst, whether the key was known or not;
    // who owes more than that is served as late as without the pause.
    #[test]
    fn rl15_one_token_is_there_at_the_end_and_no_burst(
        quota in quotas(), taken in 0u32..12, lasts in 1..SECOND, known in any::<bool>(),
    ) {
        let (table, now) = (table(8, quota), at(ms(7)));
        let who = key(if known { 1 } else { 99 });
        for _ in 0..taken {
            let _ = table.take(now, now, key(1), 1, Tick(now.0 + 2 * SECOND));
        }
        let before = table.probe(now, now, who, 1).unwrap();
        let until = Tick(now.0 + lasts);
        table.pause(now, who, until, &mut false);
        let due = table.probe(now, now, who, 1).unwrap();
        prop_assert_eq!(due, before.max(until));
        prop_assert!(table.admit(Tick(due.0 - 1), who, 1).is_err());
        prop_assert_eq!(table.available(Tick(due.0 - 1), who), 0);
        prop_assert_eq!(table.available(due, who), 1);
        prop_assert!(table.admit(due, who, 1).is_ok());
        // The next one comes as the rate has it.
        let next = table.probe(due, due, who, 1).unwrap();
        let each = quota.interval().div_ceil(UNITS);
        prop_assert!((next.0 - due.0).abs_diff(each) <= 1, "{next:?}");
        // Nobody else was paused.
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

// RL15, RL5: a charge from before it, under which the debt would end before the pause, stays.
#[test]
fn rl15_what_is_given_back_does_not_end_a_pause() {
    let table = table(8, Quota::per_second(10));
    let latest = at(10 * SECOND);
    let charge = table.take(START, START, key(1), 10, latest).unwrap();
    let other = table.take(START, START, key(1), 10, latest).unwrap();
    table.pause(START, key(1), at(ms(500)), &mut false);
    table.cancel(key(1), &other);
    table.cancel(key(1), &charge);
    let due = table.probe(START, START, key(1), 1).unwrap();
    assert_eq!(due, at(ms(1_100)));
    // One from after it goes back.
    let later = table.take(START, START, key(1), 10, latest).unwrap();
    table.cancel(key(1), &later);
    assert_eq!(table.probe(START, START, key(1), 1), Ok(due));
}

// RL15, RL7, KY5: what a pause adds is a debt, and kept in tokens.
#[test]
fn rl15_a_change_of_quota_or_tier_keeps_what_is_owed() {
    let quotas = [Quota::per_second(10), Quota::per_second(20).burst(5)];
    let table = Table::new(START, 8, &quotas);
    // 30 tokens of time, and nine of the burst.
    table.pause(START, tiered(1, 0), at(3 * SECOND), &mut false);
    let due = |tier| table.probe(START, START, tiered(1, tier), 1).unwrap();
    assert_eq!(due(0), at(3 * SECOND));
    assert_eq!(due(1), at((39 + 1 - 5) * ms(50)));
    table.change(START, 0, Quota::per_second(20).burst(10));
    assert_eq!(due(0), at(30 * ms(50)));
    // Paused in the other tier, it comes with the debt that it had in this one.
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
    // Without a limit nobody looks at what is owed.
    table.change(START, 0, Quota::unlimited());
    assert!(table.admit(START, key(1), 100).is_ok());
    table.pause(START, key(1), at(2 * SECOND), &mut false);
    table.pause(START, key(2), at(2 * SECOND), &mut false);
    assert!(table.admit(START, key(1), 1).is_ok());
    assert_eq!(table.used(), 1);
    // But it is owed still.
    table.change(START, 0, Quota::per_second(10));
    assert_eq!(
        table.probe(START, START, key(1), 1),
        Ok(at(SECOND)),
        "the pause from before"
    );
    // One that is past makes no place.
    table.pause(START, key(3), START, &mut false);
    assert_eq!(table.used(), 1);
}

// RL15, RL7: with the clock standing there is no instant to wait for.
#[test]
fn rl15_with_a_quota_of_zero_nothing_is_there_until_it_changes() {
    let table = table(8, Quota::per_second(0).burst(5));
    assert!(table.admit(START, key(1), 2).is_ok());
    table.pause(START, key(1), at(SECOND), &mut false);
    let refused = Shortfall {
        wait: None,
        above_burst: None,
    };
    for now in [START, at(SECOND), at(YEAR)] {
        assert_eq!(table.admit(now, key(1), 1), Err(refused));
        assert_eq!(table.available(now, key(2)), 5);
    }
    table.change(at(YEAR), 0, Quota::per_second(10).burst(5));
    let due = table.probe(at(YEAR), at(YEAR), key(1), 1);
    assert_eq!(due, Ok(at(YEAR + ms(100))));
}

// RL15, RL9: it lasts no longer than what a word can hold.
#[test]
fn rl15_a_pause_beyond_what_the_word_holds_is_as_long_as_that() {
    let table = table(8, Quota::per_second(10));
    table.pause(START, key(1), at(10 * YEAR), &mut false);
    // Its end has no room behind it, so nothing can be reserved for then.
    let refused = table.probe(START, START, key(1), 1).unwrap_err();
    let due = START.after(refused.wait.unwrap());
    assert!(due > at(4 * YEAR) && due < at(5 * YEAR), "{due:?}");
    assert!(table.admit(Tick(due.0 - 1), key(1), 1).is_err());
    assert!(table.admit(due, key(1), 1).is_ok());
}

// RL15, KY3: among debtors, the one that is paused is the last to lose its place.
#[test]
fn rl15_made_up_keys_do_not_end_a_pause() {
    let table = table(8, Quota::per_second(10));
    for n in 0..8 {
        assert!(table.admit(START, key(n), 3).is_ok());
    }
    let mut dropped = false;
    table.pause(START, key(100), at(60 * SECOND), &mut dropped);
    assert!(dropped, "it took a debtor's place");
    for n in 200..1_000 {
        let now = at(n * ms(50));
        let _ = table.admit(now, key(n), 1 + (n % 4) as u32);
        assert!(table.admit(now, key(100), 1).is_err());
    }
    assert_eq!(table.probe(START, START, key(100), 1), Ok(at(60 * SECOND)));
}
