use std::time::Duration;

use proptest::prelude::*;

use super::fuzz::{self, Entry, Log};
use super::{Account, EPOCH, ONE, Terms};
use crate::fuzzing::cases;
use crate::per_thread::ThreadSlot;
use crate::time::Tick;

fn terms(ratio: u64, burst: u32) -> Terms {
    Terms::new(ratio, burst)
}

/// Some epochs after zero, and some way into one.
const START: Tick = Tick(1_000 * EPOCH + 3);

fn later(epochs: u64) -> Tick {
    Tick(START.0 + epochs * EPOCH)
}

fn take(account: &Account, now: Tick, terms: Terms) -> u64 {
    let taken = |_: &u64| account.withdraw(now, terms, 1).is_some();
    (0..1_000_000).take_while(taken).count() as u64
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The thread, if it has a slot.
    Deposit(Option<u8>),
    /// At this price.
    Withdraw(u64),
    /// Which of the withdrawals.
    GiveBack(usize),
    /// How far the clock moves, in ms; it may step back.
    Clock(i64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => proptest::option::of(0u8..40).prop_map(Op::Deposit),
        4 => prop_oneof![3 => Just(1), 1 => Just(5)].prop_map(Op::Withdraw),
        3 => any::<usize>().prop_map(Op::GiveBack),
        1 => (-9_000i64..15_000).prop_map(Op::Clock),
    ];
    proptest::collection::vec(op, 0..300)
}

proptest! {
    #![proptest_config(cases(256))]

    // With a clock that also steps back; and in every two epochs within ratio x deposits + burst.
    #[test]
    fn rt4_every_decision_is_that_of_the_log(
        ops in ops(), burst in 0u32..20, ratio in prop_oneof![Just(0u64), Just(1_000), 0u64..=1_000],
    ) {
        let terms = terms(ratio, burst);
        let account = Account::new(START, terms);
        let mut now = START.0;
        let mut log = Log::new(now, terms);
        let mut out = Vec::new();
        for op in ops {
            let tick = Tick(now);
            match op {
                Op::Deposit(by) => {
                    account.deposit_by(by.map(ThreadSlot::numbered), tick, terms);
                    log.push(now, terms, Entry::Deposit);
                }
                Op::Withdraw(price) => {
                    let available = log.balance(now, terms) >= price * ONE;
                    let taken = account.withdraw(tick, terms, price);
                    prop_assert_eq!(taken.is_some(), available);
                    if let Some(taken) = taken {
                        out.push((taken, price, log.push(now, terms, Entry::Withdrawal(price))));
                    }
                }
                Op::GiveBack(which) if !out.is_empty() => {
                    let (taken, price, at) = out.swap_remove(which % out.len());
                    let before = account.balance(tick, terms);
                    account.give_back(tick, terms, taken, price);
                    let back = account.balance(tick, terms) - before;
                    prop_assert_eq!(back, log.erase(at, now, terms));
                }
                Op::GiveBack(_) => {}
                Op::Clock(ms) => now = now.saturating_add_signed(ms * 1_000_000),
            }
            prop_assert_eq!(account.balance(Tick(now), terms), log.balance(now, terms));
        }
        log.check();
    }
}

proptest! {
    #![proptest_config(cases(200))]

    // With terms that change, epochs that wrap and a clock that goes anywhere.
    #[test]
    fn rt4_cx7_long_schedules_are_decided_as_by_the_log(data in proptest::collection::vec(any::<u8>(), 0..1_500)) {
        fuzz::run(&data);
    }
}

#[test]
fn rt4_an_epoch_keeps_the_burst_and_the_deposits_of_the_last_one() {
    let terms = terms(600, 3);
    let account = Account::new(START, terms);
    (0..10).for_each(|_| account.deposit(START, terms));
    assert_eq!(account.balance(START, terms), 9_000);
    assert_eq!(account.balance(later(1), terms), 9_000);
    assert_eq!(account.balance(later(2), terms), 3_000);

    // The first epoch has left six: two are spent, and the others expire.
    assert!(account.withdraw(later(1), terms, 2).is_some());
    (0..5).for_each(|_| account.deposit(later(1), terms));
    assert_eq!(account.balance(later(1), terms), 10_000);
    assert_eq!(account.balance(later(2), terms), 6_000);
    assert_eq!(take(&account, later(2), terms), 6);
}

#[test]
fn rt4_ratios_of_thousandths_are_exact() {
    for (ratio, calls, extra) in [
        (600, 5, 3),
        (750, 4, 3),
        (200, 10_000, 2_000),
        (1, 1_000, 1),
    ] {
        let terms = terms(ratio, 0);
        let account = Account::new(START, terms);
        (0..calls).for_each(|_| account.deposit(START, terms));
        assert_eq!(take(&account, START, terms), extra, "{ratio} thousandths");
    }
}

#[test]
fn rt4_cx7_an_attempt_given_back_after_the_cut_counts_as_if_it_had_never_been_taken() {
    let terms = terms(1_000, 10);
    let account = Account::new(START, terms);
    let out: Vec<_> = (0..4).map(|_| account.withdraw(START, terms, 1)).collect();
    for taken in out.into_iter().flatten() {
        account.give_back(later(1), terms, taken, 1);
    }
    assert_eq!(account.balance(later(1), terms), 10_000);

    // The second epoch has 20 and spends 14. The third keeps ten of them.
    let account = Account::new(START, terms);
    (0..10).for_each(|_| account.deposit(START, terms));
    let taken = |_| account.withdraw(later(1), terms, 1);
    let out: Vec<_> = (0..14).map(taken).collect();
    assert_eq!(account.balance(later(2), terms), 6_000);
    for taken in out.iter().flatten() {
        account.give_back(later(2), terms, *taken, 1);
    }
    assert_eq!(take(&account, later(2), terms), 10);
}

#[test]
fn rt4_a_clock_that_steps_back_makes_no_new_epoch() {
    let terms = terms(1_000, 2);
    let account = Account::new(later(5), terms);
    (0..5).for_each(|_| account.deposit(later(5), terms));
    assert_eq!(account.balance(later(4), terms), 7_000);
    account.deposit(later(4), terms);
    assert_eq!(account.balance(later(5), terms), 8_000);
}

// A burst is not earned: a large one does not start the sums per thread.
#[test]
fn cx13_a_burst_alone_makes_no_account_hot() {
    let terms = terms(1_000, 1_000);
    let account = Account::new(START, terms);
    let slot = Some(ThreadSlot::numbered(0));
    let sums = || account.sums().count();
    (0..super::HOT / ONE).for_each(|_| account.deposit_by(slot, START, terms));
    assert_eq!(sums(), 0);
    account.deposit_by(slot, START, terms);
    assert!(sums() > 0);
}

#[test]
fn rt4_the_balance_stops_at_the_most_that_the_word_holds() {
    let terms = terms(1_000, 1_000_000);
    let account = Account::new(Tick(u64::MAX - 1), terms);
    let word = account.word.load(super::Relaxed);
    account.word.store(word | super::MOST, super::Relaxed);
    account.deposit(Tick(u64::MAX), terms);
    assert_eq!(account.balance(Tick(u64::MAX), terms), super::MOST);
    assert!(account.withdraw(Tick(u64::MAX), terms, 1).is_some());
}

#[test]
fn rt4_eight_threads_neither_lose_nor_invent_an_attempt() {
    const EACH: u64 = 20_000;
    let terms = terms(250, 10);
    let account = Account::new(START, terms);
    let taken: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let account = &account;
                scope.spawn(move || {
                    let mut spent = 0;
                    for i in 0..EACH {
                        account.deposit(START, terms);
                        match account.withdraw(START, terms, 1) {
                            Some(taken) if (i + thread) % 3 == 0 => {
                                account.give_back(START, terms, taken, 1);
                            }
                            taken => spent += u64::from(taken.is_some()),
                        }
                    }
                    spent
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let left = take(&account, START, terms);
    assert_eq!(taken + left, 8 * EACH / 4 + 10);
    assert_eq!(Duration::from_nanos(EPOCH), Duration::from_secs(4));
}
