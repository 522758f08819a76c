//! The claims under `# Orderings`, over every interleaving that the memory model allows. Sets
//! have two places here. Time stands still, so nothing is repaid and every count is exact.
//!
//! Who only looks, or looks before it exchanges, is the spawned thread and comes second: loom
//! remembers one access of each atomic, so that a write is not tried before the looks of another
//! thread if its own look came between.

use ::loom::thread;

use super::set::{Door, Word, short};
use super::{Place, Table, WAYS};
use crate::rate_limit::Quota;
use crate::sync::Arc;
use crate::time::Tick;

const NOW: Tick = Tick(1 << 50);

/// One set of two places.
fn table(quota: Quota) -> Table {
    Table::new(NOW, WAYS, &[quota])
}

fn key(hash: u64) -> Place {
    Place { hash, tier: 0 }
}

/// A charge reads a whole configuration, so a run is longer than loom expects.
fn model(run: impl Fn() + Sync + Send + 'static) {
    model_preempted(usize::MAX, run);
}

/// With no more preemptions than so many, where two take minutes.
fn model_preempted(most: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = ::loom::model::Builder::new();
    model.max_branches = 10_000;
    model.preemption_bound = match model.preemption_bound {
        None if most == usize::MAX => None,
        bound => Some(bound.unwrap_or(most).min(most)),
    };
    model.check(run);
}

fn admit(table: &Table, n: u64) -> u32 {
    u32::from(table.admit(NOW, key(n), 1).is_ok())
}

/// No insertion is under way, and no key is there twice.
fn is_whole(table: &Table) {
    assert!(!table.side(0).door().is_open());
    let set = &table.sets[0];
    let tags = [set.tag(0).hash(), set.tag(1).hash()];
    assert!(tags[0] != tags[1] || tags[0] == 0, "{tags:?}");
    assert!((0..WAYS).all(|way| !set.word(way).is_claimed()));
}

/// Runs `one` beside `other` over a table that `before` was done to, then `check` with what
/// came of both.
fn beside<A: Send + 'static, B: 'static>(
    quota: Quota,
    before: fn(&Table),
    one: fn(&Table) -> A,
    other: fn(&Table) -> B,
    check: fn(&Table, A, B),
) {
    beside_preempted(usize::MAX, quota, before, one, other, check);
}

fn beside_preempted<A: Send + 'static, B: 'static>(
    most: usize,
    quota: Quota,
    before: fn(&Table),
    one: fn(&Table) -> A,
    other: fn(&Table) -> B,
    check: fn(&Table, A, B),
) {
    model_preempted(most, move || {
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

// KY2, RL1: the key is inserted once, and both charge that place.
#[test]
fn one_key_inserted_by_two() {
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

// KY3: each finds the other's insertion under way, or the other's debt.
#[test]
fn two_keys_for_one_place() {
    beside_preempted(
        1,
        Quota::per_second(1).burst(4),
        |table| {
            assert!(table.admit(NOW, key(1), 3).is_ok());
            assert!(table.admit(NOW, key(2), 1).is_ok());
        },
        |table| table.admit(NOW, key(3), 2).is_ok(),
        |table| table.admit(NOW, key(4), 2).is_ok(),
        check_two_keys,
    );
}

// KY3: the same, with the one's insertion begun.
#[test]
fn two_keys_for_one_place_of_which_one_has_come() {
    beside(
        Quota::per_second(1).burst(4),
        |table| stall(table, 0),
        |table| finish(table, 2),
        |table| table.admit(NOW, key(4), 2).is_ok(),
        check_two_keys,
    );
}

/// There is room for one of them behind the debt of 1, and for none behind 3.
fn check_two_keys(table: &Table, a: bool, b: bool) {
    assert!(a ^ b);
    // The second, and perhaps one of these before it was charged.
    assert!(table.evicted() >= 1);
    assert_eq!(table.used(), 2);
}

// KY3, RL1: the charge is part of the debt that is dropped, behind which there is no room for
// two more; or it comes after the two, behind which there is none for it.
#[test]
fn eviction_against_charge() {
    beside(
        Quota::per_second(1).burst(4),
        |table| stall(table, 0),
        |table| admit(table, 2),
        |table| u32::from(finish(table, 2)),
        |_, charged, inserted| assert_eq!(charged + inserted, 1),
    );
}

// KY3, RL1: the same from the beginning.
#[test]
fn eviction_against_charge_from_the_search_on() {
    beside_preempted(
        1,
        Quota::per_second(1).burst(4),
        |table| {
            assert!(table.admit(NOW, key(1), 3).is_ok());
            assert!(table.admit(NOW, key(2), 1).is_ok());
        },
        |table| admit(table, 2),
        |table| u32::from(table.admit(NOW, key(3), 2).is_ok()),
        |_, charged, inserted| assert_eq!(charged + inserted, 1),
    );
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

// RL5, KY3: the charge goes back before its key is dropped, or not at all.
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
        // Its own charge is not given back with the other's, behind which it begins, by a unit.
        let left = table.available(NOW, key(3));
        assert!(left == 0 || left == 3, "{left}");
    });
}

// RL7: the admission is counted in full, whichever configuration it saw.
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

// RL7: the second change rewrites the slot that may be being read. A mixture of the two would
// have a burst of 3 with the count of another change.
#[test]
fn two_changes_against_admission() {
    beside(
        Quota::per_second(1).burst(3),
        |_| {},
        |table| {
            let config = table.tier(0).config();
            assert_eq!(config.tolerance / super::rate::TOKEN, 3 + config.changes);
            let fast = config.rate.units > config.rate.nanos / 100;
            assert_eq!(fast, config.changes == 2, "{config:?}");
        },
        |table| {
            table.change(NOW, 0, Quota::per_second(1).burst(4));
            table.change(NOW, 0, Quota::per_second(1_000).burst(5));
        },
        |_, (), ()| {},
    );
}

// KY3: whoever comes upon an insertion that stands still, at any step, carries it through, and
// so do two at once.
#[test]
fn a_stalled_insertion_is_carried_through() {
    let help = |table: &Table| carry(table);
    for steps in 0..4 {
        model(move || {
            let table = Arc::new(table(Quota::per_second(1).burst(4)));
            stall(&table, steps);
            let thread = {
                let table = Arc::clone(&table);
                thread::spawn(move || help(&table))
            };
            help(&table);
            thread.join().unwrap();
            is_whole(&table);
            // The third stands behind the second's debt of one, and so does the second again.
            assert_eq!(table.available(NOW, key(3)), 2);
            assert_eq!(table.available(NOW, key(2)), 2);
            assert_eq!(table.used(), 2);
        });
    }
}

// KY3: beside the charge of the key that it drops.
#[test]
fn a_stalled_insertion_against_charge() {
    beside(
        Quota::per_second(1).burst(4),
        |table| stall(table, 0),
        |table| admit(table, 2),
        carry,
        |table, charged, ()| {
            assert!(charged + table.available(NOW, key(2)) <= 3);
        },
    );
}

// RL5, KY5: in another tier the debt is repaid at once, and where the first tier's clock stood
// the key comes to owe the same again. A charge from before that is not given back.
#[test]
fn a_change_of_tier_against_a_charge() {
    let in_tier = |tier| Place { hash: 1, tier };
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

// RL15, RL5: a charge from before the pause is not given back from under it.
#[test]
fn a_pause_against_a_charge() {
    let until = Tick(NOW.0 + 1_000_000_000);
    model(move || {
        let table = Arc::new(table(Quota::per_second(1).burst(3)));
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.take(NOW, NOW, key(1), 3, Tick::NEVER))
        };
        table.pause(NOW, key(1), until, &mut false);
        let charge = thread.join().unwrap().unwrap();
        table.cancel(key(1), &charge);
        let due = table.probe(NOW, NOW, key(1), 1).unwrap();
        assert!(due >= until, "{due:?}");
        is_whole(&table);
    });
}

// KY3: a claim that came too late holds nobody up, whoever finds it first.
#[test]
fn a_stray_claim_is_taken_back() {
    let stray = |table: &Table| {
        assert!(table.admit(NOW, key(1), 3).is_ok());
        assert!(table.admit(NOW, key(2), 1).is_ok());
        let word = table.sets[0].word(1);
        assert!(table.sets[0].turn(1, word, word.claimed()));
    };
    let quota = Quota::per_second(1).burst(4);
    let known = |table: &Table| admit(table, 2);
    let check = |table: &Table, a, b| {
        assert_eq!((a, b), (1, 1));
        assert_eq!(table.available(NOW, key(2)), 1);
    };
    beside(quota, stray, known, known, check);
    let new = |table: &Table| u32::from(table.admit(NOW, key(3), 2).is_ok());
    // Beside an insertion, what it finds may be the other's to charge.
    let check = |table: &Table, charged, inserted| {
        assert!(charged + inserted >= 1);
        assert_eq!(table.used(), 2);
    };
    beside_preempted(1, quota, stray, known, new, check);
}

// RL1, KY2: the second is charged in its place, where that is dropped, or anew where there is
// room; but not in its place when that is the third's already.
#[test]
fn a_charge_is_never_made_to_the_next_owner() {
    beside(
        Quota::per_second(1).burst(8),
        |table| stall_owing(table, 0, [1, 3]),
        |table| assert_eq!(admit(table, 2), 1),
        carry,
        |table, (), ()| assert_eq!(table.available(NOW, key(2)), 3),
    );
}

// RL1, RL9: the base is moved on under a key that is charged with the new one before its end,
// by then below the floor, is raised.
#[test]
fn a_sweep_against_a_charge() {
    let later = Tick(NOW.0 + 9_000_000_000);
    model(move || {
        let table = Arc::new(table(Quota::per_second(u32::MAX).burst(2)));
        assert!(table.admit(NOW, key(1), 1).is_ok());
        let thread = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.admit(later, key(1), 2).is_ok())
        };
        table.renew(0, later);
        assert!(thread.join().unwrap());
        assert_eq!(table.available(later, key(1)), 0);
    });
}

/// As who comes with a new key finds it.
fn carry(table: &Table) {
    let (door, config) = (table.side(0).door(), table.config(0, NOW));
    if door.is_open() {
        table.carry_through(0, door, NOW, (0, &config), &mut false, |begins, _| begins);
    }
}

/// The door with the third's insertion, the third of all, for the second's place.
fn opened() -> Door {
    Door(Door::FIRST.0 + 2).open(short(3), 0, 1)
}

/// As the thread does that began the insertion of the third, up to where it would begin again.
fn finish(table: &Table, cost: u32) -> bool {
    let config = table.config(0, NOW);
    let decide = |end| config.grant_by(end, NOW, NOW, cost, NOW);
    let finished = table.finish(opened(), NOW, key(3), &config, &decide, &mut false);
    finished.is_some_and(|decided| decided.is_ok())
}

/// Two keys, and the insertion of a third for the second's place, left after so many steps.
fn stall(table: &Table, steps: u32) {
    stall_owing(table, steps, [3, 1]);
}

fn stall_owing(table: &Table, steps: u32, [first, second]: [u32; 2]) {
    assert!(table.admit(NOW, key(1), first).is_ok());
    assert!(table.admit(NOW, key(2), second).is_ok());
    let (set, side) = (&table.sets[0], table.side(0));
    let (way, tag) = set.find(short(2)).unwrap();
    let word = set.word(way);
    let door = side.door();
    assert_eq!(door.open(short(3), 0, way), opened());
    assert!(side.move_door(door, opened()));
    if steps > 0 {
        assert!(set.turn(way, word, word.claimed()));
    }
    if steps > 1 {
        side.raise(0, word.end() + 1, |seen| seen < word.end() + 1);
        assert!(set.give(way, tag, short(3)));
    }
    if steps > 2 {
        assert!(set.turn(way, word.claimed(), Word::new(side.dropped(0), 0)));
    }
}
