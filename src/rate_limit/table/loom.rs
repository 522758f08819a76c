//! The claims under `# Orderings`, over every interleaving that the memory model allows. Sets
//! have two entries here. Time stands still, so nothing is repaid and every count is exact.
//!
//! The thread that only loads, or loads before it exchanges, is the spawned one and comes second:
//! loom remembers one access of each atomic, so it does not try a write before the loads of
//! another thread if a load of its own came between.

use ::loom::thread;

use super::{KeyHandle, Table, WAYS};
use crate::rate_limit::Quota;
use crate::sync::Arc;
use crate::time::Tick;

const NOW: Tick = Tick(1 << 50);

/// One set of two entries.
fn table(quota: Quota) -> Table {
    Table::new(NOW, WAYS, &[quota])
}

fn key(hash: u64) -> KeyHandle {
    KeyHandle { hash, tier: 0 }
}

/// A charge reads a whole configuration, so a run is longer than loom expects.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut model = ::loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(run);
}

fn admit(table: &Table, n: u64) -> u32 {
    admit_n(table, n, 1)
}

fn admit_n(table: &Table, n: u64, cost: u32) -> u32 {
    u32::from(table.admit(NOW, key(n), cost).is_ok())
}

/// Key 1 owes 3 and key 2 owes 1, so key 2 is the one to be evicted.
fn two_entries(table: &Table) {
    assert_eq!((admit_n(table, 1, 3), admit_n(table, 2, 1)), (1, 1));
}

/// No key has two entries, and every word is of the configuration that the set is of.
fn is_whole(table: &Table) {
    let set = &table.sets[0];
    let tags = [set.tag(0).owner().hash(), set.tag(1).owner().hash()];
    assert!(tags[0] != tags[1] || tags[0] == 0, "{tags:?}");
    for way in (0..WAYS).filter(|way| !set.tag(*way).is_empty()) {
        let evicted = table.evicted_debt(0, set.tag(way).owner().tier());
        assert_eq!(set.word(way).generation(), evicted.generation());
    }
}

/// Runs `before`, then `one` beside `other`, then `check` with the results of both.
fn beside<A: Send + 'static, B: 'static>(
    quota: Quota,
    before: fn(&Table),
    one: fn(&Table) -> A,
    other: fn(&Table) -> B,
    check: fn(&Table, A, B),
) {
    model(move || {
        let table = Arc::new(table(quota));
        before(&table);
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || one(&table))
        };
        let b = other(&table);
        let a = thread.join().unwrap();
        is_whole(&table);
        check(&table, a, b);
    });
}

// RL1
#[test]
fn two_admissions_never_exceed_the_burst() {
    beside(
        Quota::per_second(1).burst(2),
        |table| assert!(table.admit(NOW, key(1), 1).is_ok()),
        |table| admit(table, 1),
        |table| admit(table, 1),
        |_, a, b| assert_eq!(a + b, 1),
    );
}

// KY2, RL1: the key gets one entry, which both calls charge.
#[test]
fn one_new_key_of_two_calls() {
    beside(
        Quota::per_second(1),
        |_| {},
        |table| admit(table, 1),
        |table| admit(table, 1),
        |table, a, b| {
            assert_eq!(a + b, 1);
            assert_eq!(table.used(), 1);
        },
    );
}

// KY2, RL1: the same where another key is evicted.
#[test]
fn one_new_key_of_two_calls_that_evicts() {
    beside(
        Quota::per_second(1).burst(4),
        two_entries,
        |table| admit_n(table, 3, 2),
        |table| admit_n(table, 3, 1),
        |table, a, b| {
            // The evicted debt of 1 comes first.
            assert_eq!((a, b), (1, 1));
            assert_eq!(table.available(NOW, key(3)), 0);
            assert_eq!((table.used(), table.evicted()), (2, 1));
        },
    );
}

// KY3: one of the two fits behind the evicted debt of 1, and neither behind 3.
#[test]
fn two_new_keys_for_one_entry() {
    beside(
        Quota::per_second(1).burst(4),
        two_entries,
        |table| admit_n(table, 3, 2),
        |table| admit_n(table, 4, 2),
        |table, a, b| {
            assert_eq!(a + b, 1);
            assert_eq!((table.used(), table.evicted()), (2, 1));
        },
    );
}

// KY3, RL1: the charge is part of the evicted debt, behind which the new key does not fit; or the
// charge comes after the eviction, and does not fit itself.
#[test]
fn eviction_against_charge() {
    beside(
        Quota::per_second(1).burst(4),
        two_entries,
        |table| admit_n(table, 2, 2),
        |table| admit_n(table, 3, 2),
        |table, charged, inserted| {
            assert_eq!(charged + inserted, 1);
            assert_eq!(table.evicted(), u64::from(inserted));
        },
    );
}

// KY3: a call of a key that stays finds its entry beside an eviction in the same set.
#[test]
fn eviction_against_charge_of_another_key() {
    beside(
        Quota::per_second(1).burst(4),
        two_entries,
        |table| admit_n(table, 1, 1),
        |table| admit_n(table, 3, 1),
        |table, charged, inserted| {
            assert_eq!((charged, inserted), (1, 1));
            assert_eq!(table.available(NOW, key(1)), 0);
            assert_eq!(table.available(NOW, key(3)), 2);
        },
    );
}

// RL1, KY2: the charge of key 2 is part of the evicted debt, or that of a new key. It is never made
// to key 3, which has the entry by then.
#[test]
fn a_charge_is_never_made_to_the_next_owner() {
    beside_eviction_of_key_2(|table| assert_eq!(admit(table, 3), 1));
}

// RL5, RL1, KY2: the same where the charge of key 3 is given back.
#[test]
fn a_refund_brings_no_word_of_the_last_owner_back() {
    beside_eviction_of_key_2(|table| {
        let charge = table.take(NOW, NOW, key(3), 1, NOW).unwrap();
        table.cancel(key(3), &charge);
    });
}

/// Key 2, which owes 3, is charged 2 beside `other`.
fn beside_eviction_of_key_2(other: fn(&Table)) {
    model(move || {
        let table = Arc::new(table(Quota::per_second(1).burst(8)));
        let first = table.take(NOW, NOW, key(1), 6, NOW).unwrap();
        assert_eq!(admit_n(&table, 2, 3), 1);
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || assert_eq!(admit_n(&table, 2, 2), 1))
        };
        other(&table);
        thread.join().unwrap();
        is_whole(&table);
        // Otherwise the debts of the entries would count for key 2 too.
        table.cancel(key(1), &first);
        assert!(table.available(NOW, key(2)) <= 3);
    });
}

// RL15, RL1: the same where key 3 is paused, for less time than the evicted debt takes.
#[test]
fn a_pause_brings_no_word_of_the_last_owner_back() {
    let later = |nanos| Tick(NOW.0 + nanos);
    model(move || {
        let table = Arc::new(table(Quota::per_second(1).burst(1)));
        let reserve = |table: &Table, n| table.take(NOW, NOW, key(n), 1, Tick::NEVER).unwrap();
        let [first, second] = [(); 2].map(|()| reserve(&table, 1));
        reserve(&table, 2);
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || reserve(&table, 2))
        };
        table.pause(NOW, key(3), later(1));
        thread.join().unwrap();
        is_whole(&table);
        table.cancel(key(1), &second);
        table.cancel(key(1), &first);
        let due = table.probe(NOW, NOW, key(2), 1).unwrap();
        assert!(due >= later(2_000_000_000), "{due:?}");
    });
}

// RL10, KY3: a new key is found with its own debt, behind the evicted one.
#[test]
fn a_new_key_is_never_seen_with_the_debt_of_another() {
    model(|| {
        let table = Arc::new(table(Quota::per_second(1).burst(8)));
        let first = table.take(NOW, NOW, key(1), 6, NOW).unwrap();
        assert_eq!(admit_n(&table, 2, 3), 1);
        assert_eq!(admit(&table, 3), 1);
        table.cancel(key(1), &first);
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.available(NOW, key(4)))
        };
        assert_eq!(admit(&table, 4), 1);
        let seen = thread.join().unwrap();
        assert!(seen == 5 || seen == 4, "{seen}");
    });
}

// RL5: the charge goes back whole before the other, or not at all after it.
#[test]
fn cancel_against_charge() {
    model(|| {
        let table = Arc::new(table(Quota::per_second(1).burst(3)));
        let charge = table.take(NOW, NOW, key(1), 2, NOW).unwrap();
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.cancel(key(1), &charge))
        };
        assert!(table.admit(NOW, key(1), 1).is_ok());
        thread.join().unwrap();
        let left = table.available(NOW, key(1));
        assert!(left == 0 || left == 2, "{left}");
    });
}

// RL5, KY3: the charge goes back before its key is evicted, or not at all.
#[test]
fn cancel_against_eviction() {
    model(|| {
        let table = Arc::new(table(Quota::per_second(1).burst(4)));
        assert!(table.admit(NOW, key(1), 4).is_ok());
        let charge = table.take(NOW, NOW, key(2), 2, NOW).unwrap();
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.cancel(key(2), &charge))
        };
        assert!(table.admit(NOW, key(3), 1).is_ok());
        thread.join().unwrap();
        is_whole(&table);
        // Behind an evicted debt of 2, or of none.
        let left = table.available(NOW, key(3));
        assert!(left == 1 || left == 3, "{left}");
    });
}

// RL7: the admission is counted in full, whichever configuration it loaded.
#[test]
fn change_against_admission() {
    beside(
        Quota::per_second(1).burst(3),
        |table| assert!(table.admit(NOW, key(1), 1).is_ok()),
        |table| admit(table, 1),
        |table| table.change(NOW, 0, Quota::per_second(1_000).burst(3)),
        |table, admitted, ()| {
            assert_eq!(admitted, 1);
            assert_eq!(table.available(NOW, key(1)), 1);
        },
    );
}

// RL7: the second change writes the slot that the call may be reading. A mixture of both would have
// the burst of one change with the count of another.
#[test]
fn two_changes_against_admission() {
    beside(
        Quota::per_second(1).burst(3),
        |table| assert_eq!(admit(table, 1), 1),
        |table| {
            let [burst, changes, fast] = table.read(NOW, key(1), |_, config| {
                let fast = config.interval < 1_000_000_000;
                let burst = config.tolerance / config.interval;
                [burst, config.changes, u64::from(fast)]
            });
            assert_eq!(burst, 3 + changes);
            assert_eq!(fast, u64::from(changes == 2));
        },
        |table| {
            table.change(NOW, 0, Quota::per_second(1).burst(4));
            table.change(NOW, 0, Quota::per_second(1_000).burst(5));
        },
        |_, (), ()| {},
    );
}

// RL5, KY5: the debt is repaid in another tier, and back in the first one, whose clock stands still,
// the key comes to owe the same again. A charge from before that is not given back.
#[test]
fn a_change_of_tier_against_a_charge() {
    let in_tier = |tier| KeyHandle { hash: 1, tier };
    let later = |seconds: u64| Tick(NOW.0 + seconds * 1_000_000_000);
    model(move || {
        let stopped = Quota::per_second(0).burst(3);
        let quotas = [stopped, Quota::per_second(1_000_000)];
        let table = Arc::new(Table::new(NOW, WAYS, &quotas));
        assert!(table.admit(NOW, in_tier(0), 1).is_ok());
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.take(NOW, NOW, in_tier(0), 1, NOW))
        };
        assert!(table.admit(later(1), in_tier(1), 1).is_ok());
        assert!(table.admit(later(2), in_tier(0), 2).is_ok());
        if let Ok(charge) = thread.join().unwrap() {
            table.cancel(in_tier(0), &charge);
        }
        assert!(table.available(later(2), in_tier(0)) <= 1);
    });
}

// RL15, RL5: a charge from before the pause is not given back after it.
#[test]
fn a_pause_against_a_charge() {
    let until = Tick(NOW.0 + 1_000_000_000);
    model(move || {
        let table = Arc::new(table(Quota::per_second(1).burst(3)));
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.take(NOW, NOW, key(1), 3, Tick::NEVER))
        };
        table.pause(NOW, key(1), until);
        let charge = thread.join().unwrap().unwrap();
        table.cancel(key(1), &charge);
        let due = table.probe(NOW, NOW, key(1), 1).unwrap();
        assert!(due >= until, "{due:?}");
        is_whole(&table);
    });
}

// RL7, KY3: the word of the new key is carried over with the others, or made with the new quota.
#[test]
fn change_against_insertion() {
    beside(
        Quota::per_second(1).burst(4),
        two_entries,
        |table| admit_n(table, 3, 2),
        |table| table.change(NOW, 0, Quota::per_second(1_000).burst(4)),
        |table, admitted, ()| {
            assert_eq!(admitted, 1);
            assert_eq!(table.available(NOW, key(3)), 1);
            assert_eq!(table.available(NOW, key(1)), 1);
        },
    );
}

// RL1, RL9: the origin is moved on while a key is charged.
#[test]
fn rebase_against_charge() {
    let later = Tick(NOW.0 + 3 * 365 * 24 * 3_600 * 1_000_000_000);
    model(move || {
        let table = Arc::new(table(Quota::per_second(1).burst(2)));
        assert_eq!(admit(&table, 1), 1);
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.admit(later, key(1), 2).is_ok())
        };
        table.rebase(0, later);
        assert!(thread.join().unwrap());
        is_whole(&table);
        assert_eq!(table.available(later, key(1)), 0);
    });
}
