//! The budget's account: one word, and a sum for each thread that makes many deposits.
//!
//! # Memory ordering
//!
//! The word publishes nothing but itself, so everything is relaxed. A withdrawal is a
//! compare-exchange, so that it takes only what the balance has (model: `never_overdrawn`). A
//! deposit within the epoch is an addition, which is right whatever the word has become (models:
//! `a_deposit_is_not_lost`, `a_deposit_beside_a_new_epoch_counts_one_call`). All else happens under
//! the lock of the book.
//!
//! A thread's sum is written by that thread alone, with a load and a store, and never decreases. A
//! withdrawal adds the new part of each sum to the word, and the book has how much of it was added
//! before. So every deposit is added once (model: `a_sum_is_added_to_the_word_once`). A thread adds
//! to a sum of the current epoch only: to start an epoch, it first adds all sums to the word. A
//! word of an earlier epoch therefore lacks deposits of that epoch and of no later one, and they
//! end with it (model: `deposits_of_two_epochs_ago_are_cut`).

mod throttle;

use std::time::Duration;

pub(super) use throttle::Throttle;

use crate::per_thread::{self, PerThread, SLOTS, SMALL, ThreadSlot};
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};
use crate::time::Tick;

/// How long an epoch lasts. Nothing is kept from before the last one but the burst.
pub(super) const EPOCH: u64 = 4 * 1_000_000_000;

/// One attempt, in the unit of the balance. Thousandths make ratios like 0.6 exact.
pub(super) const ONE: u64 = 1_000;

/// What a budget is configured with, as every deposit reads it:
/// `[earns: 2 bits][burst: 32 bits, attempts][ratio: 16 bits, thousandths]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms(u64);

/// What adds to a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earns {
    BySuccesses,
    ByCalls,
    /// Nothing does: it throttles by failures.
    Tokens,
}

impl Terms {
    /// `ratio` is in thousandths of an attempt.
    pub(super) fn new(ratio: u64, burst: u32) -> Self {
        Self(u64::from(burst) << 16 | ratio)
    }

    pub(super) fn earning(self, earns: Earns) -> Self {
        Self(self.0 | (earns as u64) << 48)
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// In thousandths of an attempt.
    #[inline]
    pub(super) fn ratio(self) -> u64 {
        self.0 & 0xFFFF
    }

    /// In thousandths of an attempt.
    #[inline]
    pub(super) fn burst(self) -> u64 {
        (self.0 >> 16 & 0xFFFF_FFFF) * ONE
    }

    #[inline]
    pub(super) fn earns(self) -> Earns {
        match self.0 >> 48 {
            0 => Earns::BySuccesses,
            1 => Earns::ByCalls,
            _ => Earns::Tokens,
        }
    }
}

#[derive(Debug)]
pub(super) struct Account {
    /// `[epoch: 33 bits][balance: 31 bits, thousandths of an attempt]`
    ///
    /// Written by every extra attempt, and by every deposit until the budget is [`HOT`]. A tick has
    /// fewer epochs than that.
    word: AtomicU64,
    /// Each thread's sum of deposits, in thousandths of an attempt, and the epoch of its last one.
    earned: PerThread<AtomicU64>,
    book: Mutex<Book>,
}

/// What is needed to start an epoch.
#[derive(Debug, Default)]
struct Book {
    /// How much of each sum was added to the word, by thread slot. Empty until there are sums.
    added: Vec<u64>,
    /// [`Balance::base`] and [`Balance::room`] of the word's epoch.
    base: i64,
    room: u64,
}

/// From how much above the burst a sum per thread is worth its memory: a balance that high means
/// many deposits in an epoch.
const HOT: u64 = match SMALL || cfg!(any(test, fuzzing)) {
    true => 2 * ONE,
    false => 500 * ONE,
};

const BALANCE_BITS: u32 = 31;
const MOST: u64 = (1 << BALANCE_BITS) - 1;
/// Above it deposits add nothing: a million attempts. The other half of the bits is for threads
/// that add to an old reading of the word; more would run into the epoch.
const MOST_SAVED: u64 = MOST / 2;

/// The balance and its epoch; amounts in thousandths of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Balance {
    epoch: u64,
    now: u64,
    /// The balance without the deposits of the epoch: below zero if a part of these is spent.
    base: i64,
    /// How much of what comes back from the last epoch is kept.
    room: u64,
}

impl Balance {
    fn pack(self) -> u64 {
        self.epoch << BALANCE_BITS | self.now.min(MOST)
    }

    /// With `more`, up to the most that can be saved.
    fn add(self, more: u64) -> Self {
        let most = self.now.max(MOST_SAVED);
        let now = self.now.saturating_add(more).min(most);
        Self { now, ..self }
    }

    /// With as much more, or less, that is no deposit.
    #[allow(clippy::cast_possible_wrap)] // 31 bits.
    fn with(self, now: u64) -> Self {
        let base = self.base + (now as i64 - self.now as i64);
        Self { now, base, ..self }
    }

    /// The balance in `epoch`. A new epoch keeps at most the burst and the deposits of the one
    /// before: a deposit is there for its own epoch and the next, and the oldest is spent first.
    /// A clock that has stepped back starts none.
    fn at(self, epoch: u64, burst: u64) -> Self {
        if epoch <= self.epoch {
            return self;
        }
        #[allow(clippy::cast_possible_wrap)]
        let deposits = (self.now as i64 - self.base).unsigned_abs();
        // The epoch before had none.
        let deposits = if epoch > self.epoch + 1 { 0 } else { deposits };
        let most = burst + deposits;
        let now = self.now.min(most);
        #[allow(clippy::cast_possible_wrap)]
        let base = now as i64;
        let room = most - now;
        Self {
            epoch,
            now,
            base,
            room,
        }
    }
}

#[inline]
fn epoch(now: Tick) -> u64 {
    now.0 / EPOCH
}

/// The epoch and the balance of the word.
#[inline]
fn unpack(word: u64) -> (u64, u64) {
    (word >> BALANCE_BITS, word & MOST)
}

impl Account {
    /// An account whose balance is the burst.
    pub(super) fn new(now: Tick, terms: Terms) -> Self {
        let start = terms.burst();
        #[allow(clippy::cast_possible_wrap)]
        let base = start as i64;
        let book = Book {
            base,
            ..Book::default()
        };
        Self {
            word: AtomicU64::new(epoch(now) << BALANCE_BITS | start),
            earned: PerThread::new(2),
            book: Mutex::new(book),
        }
    }

    fn word(&self) -> (u64, u64) {
        unpack(self.word.load(Relaxed))
    }

    /// A call that adds to the budget.
    #[inline]
    pub(super) fn deposit(&self, now: Tick, terms: Terms) {
        self.deposit_by(per_thread::current(), now, terms);
    }

    /// A deposit by the thread with this slot.
    #[inline]
    pub(super) fn deposit_by(&self, slot: Option<ThreadSlot>, now: Tick, terms: Terms) {
        if let Some([sum, latest, ..]) = slot.and_then(|slot| self.earned.words(slot)) {
            if latest.load(Relaxed) == epoch(now) {
                let sum_now = sum.load(Relaxed).wrapping_add(terms.ratio());
                return sum.store(sum_now, Relaxed);
            }
        }
        self.deposit_slowly(slot, now, terms);
    }

    #[inline(never)]
    fn deposit_slowly(&self, slot: Option<ThreadSlot>, now: Tick, terms: Terms) {
        if let Some([sum, latest, ..]) = slot.and_then(|slot| self.earned.words(slot)) {
            // The sum is of an earlier epoch, which ends here: see "Memory ordering".
            self.update(now, terms, Some);
            latest.store(epoch(now), Relaxed);
            let sum_now = sum.load(Relaxed).wrapping_add(terms.ratio());
            return sum.store(sum_now, Relaxed);
        }
        let (of, balance) = self.word();
        if of != epoch(now) {
            self.update(now, terms, |balance| Some(balance.add(terms.ratio())));
        } else if balance < MOST_SAVED {
            self.word.fetch_add(terms.ratio(), Relaxed);
        }
        let hot = terms.burst() + HOT;
        if let Some(slot) = slot.filter(|_| balance >= hot) {
            self.earned.make(slot, || AtomicU64::new(0));
        }
    }

    /// Takes `price` attempts, if the balance has that much. Returns the epoch they were taken in.
    pub(super) fn withdraw(&self, now: Tick, terms: Terms, price: u64) -> Option<u64> {
        let taken = self.update(now, terms, |balance| {
            let now = balance.now.checked_sub(price * ONE)?;
            Some(balance.with(now))
        });
        taken.map(|balance| balance.epoch)
    }

    /// Gives the price of an attempt back that was not made: in the epoch it was taken in always;
    /// in the next one what that would have kept of it; later not at all, since nothing of two
    /// epochs ago may be spent now.
    pub(super) fn give_back(&self, now: Tick, terms: Terms, taken: u64, price: u64) {
        self.update(now, terms, |balance| {
            let (back, room) = match balance.epoch.checked_sub(taken)? {
                0 => (price * ONE, balance.room),
                1 => {
                    let back = balance.room.min(price * ONE);
                    (back, balance.room - back)
                }
                _ => return None,
            };
            let balance = balance.with(balance.now + back);
            Some(Balance { room, ..balance })
        });
    }

    pub(super) fn balance(&self, now: Tick, terms: Terms) -> u64 {
        let book = self.book.lock();
        let new = (self.sums()).map(|(slot, sum)| book.new_of(slot, sum));
        let balance = book.balance(self.word.load(Relaxed)).add(new.sum());
        balance.at(epoch(now), terms.burst()).now
    }

    /// For how long at least there was no deposit and no withdrawal.
    pub(super) fn idle(&self, now: Tick) -> Duration {
        let (of, _) = self.word();
        Duration::from_nanos(epoch(now).saturating_sub(of + 1) * EPOCH)
    }

    fn sums(&self) -> impl Iterator<Item = (usize, u64)> {
        let sums = self.earned.first_words();
        sums.map(|(slot, sum)| (slot, sum.load(Relaxed)))
    }

    /// Adds the sums to the word, then applies `step`. Returns the new balance if `step` made one.
    fn update(
        &self,
        now: Tick,
        terms: Terms,
        step: impl Fn(Balance) -> Option<Balance>,
    ) -> Option<Balance> {
        let mut book = self.book.lock();
        let mut new = 0;
        for (slot, sum) in self.sums() {
            new += book.new_of(slot, sum);
            if book.added.is_empty() {
                book.added.resize(SLOTS, 0);
            }
            book.added[slot] = sum;
        }
        let mut word = self.word.load(Relaxed);
        loop {
            let whole = book.balance(word).add(new);
            let stepped = step(whole.at(epoch(now), terms.burst()));
            if stepped.is_none() && new == 0 {
                return None;
            }
            // A step that makes nothing starts no epoch.
            let to = stepped.unwrap_or(whole);
            match (self.word).compare_exchange_weak(word, to.pack(), Relaxed, Relaxed) {
                Ok(_) => {
                    (book.base, book.room) = (to.base, to.room);
                    return stepped;
                }
                Err(now) => word = now,
            }
        }
    }
}

impl Book {
    /// The part of `sum` that has not been added to the word.
    fn new_of(&self, slot: usize, sum: u64) -> u64 {
        let before = self.added.get(slot).copied().unwrap_or(0);
        sum.wrapping_sub(before)
    }

    /// What the word says, and what belongs to its epoch.
    fn balance(&self, word: u64) -> Balance {
        let (epoch, now) = unpack(word);
        Balance {
            epoch,
            now,
            base: self.base,
            room: self.room,
        }
    }
}

#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
