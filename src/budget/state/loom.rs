//! The claims under "Memory ordering", over every interleaving that the memory model allows.

use ::loom::thread;

use super::{Account, EPOCH, ONE, Terms, epoch};
use crate::per_thread::ThreadSlot;
use crate::sync::Arc;
use crate::time::Tick;

const NOW: Tick = Tick(7 * EPOCH);
const NEXT: Tick = Tick(8 * EPOCH);
const LATER: Tick = Tick(9 * EPOCH);

fn beside<A: Send + 'static, B: 'static>(
    terms: fn() -> Terms,
    one: fn(&Account, Terms) -> A,
    other: fn(&Account, Terms) -> B,
    check: fn(&Account, A, B),
) {
    ::loom::model(move || {
        let terms = terms();
        let account = Arc::new(Account::new(NOW, terms));
        let thread = {
            let account = Arc::clone(&account);
            thread::spawn(move || one(&account, terms))
        };
        let b = other(&account, terms);
        let a = thread.join().unwrap();
        check(&account, a, b);
    });
}

fn one_of_burst() -> Terms {
    Terms::new(1_000, 1)
}

fn withdraw(account: &Account, terms: Terms) -> u32 {
    u32::from(account.withdraw(NOW, terms, 1).is_some())
}

// RT4
#[test]
fn never_overdrawn() {
    beside(one_of_burst, withdraw, withdraw, |_, a, b| {
        assert_eq!(a + b, 1);
    });
}

// RT4: two withdrawals beside a deposit: the rest and what was taken are all that there was.
#[test]
fn a_deposit_is_not_lost() {
    beside(
        one_of_burst,
        |account, terms| account.deposit(NOW, terms),
        |account, terms| withdraw(account, terms) + withdraw(account, terms),
        |account, (), taken| {
            let left = account.balance(NOW, one_of_burst()) / ONE;
            assert_eq!(u64::from(taken) + left, 2);
        },
    );
}

const SLOT: Option<ThreadSlot> = Some(ThreadSlot::numbered(0));

/// An account in which the thread with the slot has one attempt in its sum.
fn hot(terms: Terms) -> Account {
    let account = Account::new(NOW, terms);
    // Two deposits make the account hot, and the third starts the sum.
    (0..4).for_each(|_| account.deposit_by(SLOT, NOW, terms));
    account
}

// RT4: two threads withdraw beside one that deposits: the rest and what was taken are all that
// there was.
#[test]
fn a_sum_is_added_to_the_word_once() {
    ::loom::model(|| {
        let terms = Terms::new(1_000, 2);
        let account = Arc::new(hot(terms));
        assert!(account.sums().any(|(_, sum)| sum == ONE));
        let take = || {
            let account = Arc::clone(&account);
            move || {
                (0..2)
                    .filter(|_| account.withdraw(NOW, terms, 1).is_some())
                    .count() as u64
            }
        };
        let others = [thread::spawn(take()), thread::spawn(take())];
        // The writing thread goes first: see the head of the table's models.
        account.deposit_by(SLOT, NOW, terms);
        let taken: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        // The burst, four and one.
        assert_eq!(taken + account.balance(NOW, terms) / ONE, 7);
    });
}

/// A thread starts an epoch by its deposit beside one that withdraws in it.
fn a_new_epoch(at: Tick) {
    ::loom::model(move || {
        let terms = Terms::new(1_000, 2);
        let account = Arc::new(hot(terms));
        let takes = {
            let account = Arc::clone(&account);
            thread::spawn(move || u64::from(account.withdraw(at, terms, 1).is_some()))
        };
        account.deposit_by(SLOT, at, terms);
        let taken = takes.join().unwrap();
        let kept = if at == NEXT { 2 + 4 } else { 2 };
        assert_eq!(taken + account.balance(at, terms) / ONE, kept + 1);
    });
}

// RT4: the burst and all deposits are kept, and one call was made since.
#[test]
fn deposits_of_the_last_epoch_are_kept() {
    a_new_epoch(NEXT);
}

// RT4: the burst is kept, and one call was made since.
#[test]
fn deposits_of_two_epochs_ago_are_cut() {
    a_new_epoch(LATER);
}

// RT4, CX7: an attempt that is given back beside the start of the next epoch counts once.
#[test]
fn given_back_once_beside_a_new_epoch() {
    beside(
        || Terms::new(1_000, 2),
        |account, terms| {
            let taken = account.withdraw(NOW, terms, 1);
            account.give_back(NEXT, terms, taken.expect("there are two for two"), 1);
        },
        |account, terms| u64::from(account.withdraw(NEXT, terms, 1).is_some()),
        |account, (), taken| {
            let terms = Terms::new(1_000, 2);
            assert_eq!(taken + account.balance(NEXT, terms) / ONE, 2);
        },
    );
}

// RT4: a deposit that has read an epoch before, beside the start of a later one: it is cut with
// the rest or kept, and never counts more than one call.
#[test]
fn a_deposit_beside_a_new_epoch_counts_one_call() {
    beside(
        one_of_burst,
        |account, terms| account.deposit(NOW, terms),
        |account, terms| u64::from(account.withdraw(LATER, terms, 1).is_some()),
        |account, (), taken| {
            let left = account.balance(LATER, one_of_burst()) / ONE;
            assert!((1..=2).contains(&(taken + left)), "{taken} and {left}");
            assert_eq!((taken, account.word().0), (1, epoch(LATER)));
        },
    );
}
