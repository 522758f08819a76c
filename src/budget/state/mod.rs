//! The budget's account: one word, and a sum for each thread that makes many deposits.
//!
//! # Memory ordering
//!
//! The word publishes nothing but itself, so everything is relaxed. A withdrawal is a
//! compare-exchange, so that it takes only what the balance has (model: `never_overdrawn`). A
//! deposit within the epoch is an addition, which is right whatever the word has become (models:
//! `a_deposit_is_not_lost`, `a_deposit_beside_the_cut_counts_one_call`).
//!
//! A thread's sum is written by that thread alone, with a load and a store, and never decreases. A
//! withdrawal adds the new part of each sum to the word, under a lock that guards how much of it
//! was added before. So every deposit is added once (model:
//! `a_sum_is_added_to_the_word_once`). A thread adds to a sum of the current epoch only: to start
//! an epoch, it first adds all sums to the word. A word of an earlier epoch therefore lacks
//! deposits of that epoch and of no later one, and the cut applies to all of them (model:
//! `deposits_before_the_cut_are_cut`).

mod throttle;

use std::time::Duration;

pub(super) use throttle::Throttle;

use crate::per_thread::{self, PerThread, SLOTS, SMALL, ThreadSlot};
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};
use crate::time::Tick;

/// How long an epoch lasts. Nothing is kept from before the last one but the burst.
const EPOCH: u64 = 10 * 1_000_000_000;

/// One attempt, in the unit of the balance. Thousandths make ratios like 0.6 exact.
pub(super) const ONE: u64 = 1_000;

/// What a budget is configured with, as every deposit reads it:
/// `[burst: 32 bits, attempts][ratio: 16 bits, thousandths]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms(u64);

impl Terms {
    /// `ratio` is in thousandths of an attempt.
    pub(super) fn new(ratio: u64, burst: u32) -> Self {
        Self(u64::from(burst) << 16 | ratio)
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
        (self.0 >> 16) * ONE
    }
}

/// `[epoch: 22 bits][room: 10 bits, attempts][balance: 32 bits, thousandths of an attempt]`
///
/// Written by every extra attempt, and by every deposit until the budget is [`HOT`].
#[derive(Debug)]
pub(super) struct Account {
    word: AtomicU64,
    /// Each thread's sum of deposits, in thousandths of an attempt, and the whole number of the
    /// epoch of its last one: with 22 bits of it, an epoch 485 days ago would look like this one.
    /// Both wrap after more years than a tick has.
    earned: PerThread<AtomicU64>,
    /// How much of each sum was added to the word, by thread slot. Empty until there are sums.
    added: Mutex<Vec<u64>>,
}

/// From how much above the burst a sum per thread is worth its memory: a balance that high means
/// many deposits in an epoch.
const HOT: u64 = match SMALL || cfg!(any(test, fuzzing)) {
    true => 2 * ONE,
    false => 500 * ONE,
};

const BALANCE_BITS: u32 = 32;
const ROOM_BITS: u32 = 10;
const MOST: u64 = (1 << BALANCE_BITS) - 1;
/// Above it deposits add nothing: two million attempts. The other half of the bits is for threads
/// that add to an old reading of the word; more would run into the room.
const MOST_SAVED: u64 = MOST / 2;
const MOST_ROOM: u64 = (1 << ROOM_BITS) - 1;
/// 485 days of epochs.
const EPOCHS: u64 = (1 << 22) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    epoch: u64,
    /// How many attempts of the last epoch may still be given back: as many as the cut would have
    /// kept, had they not been taken.
    room: u64,
    balance: u64,
}

impl Word {
    #[inline]
    fn unpack(word: u64) -> Self {
        Self {
            epoch: word >> (ROOM_BITS + BALANCE_BITS),
            room: word >> BALANCE_BITS & MOST_ROOM,
            balance: word & MOST,
        }
    }

    fn pack(self) -> u64 {
        let high = self.epoch << ROOM_BITS | self.room;
        high << BALANCE_BITS | self.balance.min(MOST)
    }

    /// With `more` in the balance, up to the most that can be saved.
    fn add(self, more: u64) -> Self {
        let most = self.balance.max(MOST_SAVED);
        Self {
            balance: self.balance.saturating_add(more).min(most),
            ..self
        }
    }

    /// The word at `epoch`: cut to the burst if the epoch is a new one. A clock that has stepped
    /// back makes no new one.
    fn at(self, epoch: u64, burst: u64) -> Self {
        let ahead = epoch.wrapping_sub(self.epoch) & EPOCHS;
        if ahead == 0 || ahead > EPOCHS / 2 {
            return self;
        }
        let balance = self.balance.min(burst);
        Self {
            epoch,
            room: ((burst - balance) / ONE).min(MOST_ROOM),
            balance,
        }
    }
}

#[inline]
fn epoch(now: Tick) -> u64 {
    (now.0 / EPOCH) & EPOCHS
}

impl Account {
    /// An account whose balance is the burst.
    pub(super) fn new(now: Tick, terms: Terms) -> Self {
        let word = Word {
            epoch: epoch(now),
            room: 0,
            balance: terms.burst(),
        };
        Self {
            word: AtomicU64::new(word.pack()),
            earned: PerThread::new(2),
            added: Mutex::default(),
        }
    }

    fn word(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
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
            if latest.load(Relaxed) == now.0 / EPOCH {
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
            latest.store(now.0 / EPOCH, Relaxed);
            let sum_now = sum.load(Relaxed).wrapping_add(terms.ratio());
            return sum.store(sum_now, Relaxed);
        }
        let word = self.word();
        if word.epoch != epoch(now) {
            self.update(now, terms, |word| Some(word.add(terms.ratio())));
        } else if word.balance < MOST_SAVED {
            self.word.fetch_add(terms.ratio(), Relaxed);
        }
        let hot = terms.burst() + HOT;
        if let Some(slot) = slot.filter(|_| word.balance >= hot) {
            self.earned.make(slot, || AtomicU64::new(0));
        }
    }

    /// Takes `price` attempts, if the balance has that much. Returns the epoch they were taken in.
    pub(super) fn withdraw(&self, now: Tick, terms: Terms, price: u64) -> Option<u64> {
        let taken = self.update(now, terms, |word| {
            let balance = word.balance.checked_sub(price * ONE)?;
            Some(Word { balance, ..word })
        });
        taken.map(|word| word.epoch)
    }

    /// Gives the price of an attempt back that was not made: in the epoch it was taken in always;
    /// in the next one if the cut would have kept it; later not at all, since nothing of two
    /// epochs ago may be spent now.
    pub(super) fn give_back(&self, now: Tick, terms: Terms, taken: u64, price: u64) {
        self.update(now, terms, |word| {
            let room = match word.epoch.wrapping_sub(taken) & EPOCHS {
                0 => word.room,
                1 => word.room.checked_sub(price)?,
                _ => return None,
            };
            let balance = word.balance + price * ONE;
            Some(Word {
                room,
                balance,
                ..word
            })
        });
    }

    pub(super) fn balance(&self, now: Tick, terms: Terms) -> u64 {
        let added = self.added.lock();
        let new: u64 = self
            .sums()
            .map(|(slot, sum)| new_of(&added, slot, sum))
            .sum();
        let word = self.word().add(new).at(epoch(now), terms.burst());
        word.balance
    }

    /// For how long at least there was no deposit and no withdrawal.
    pub(super) fn idle(&self, now: Tick) -> Duration {
        let ahead = epoch(now).wrapping_sub(self.word().epoch) & EPOCHS;
        match ahead {
            // A clock that has stepped back.
            ahead if ahead > EPOCHS / 2 => Duration::ZERO,
            ahead => Duration::from_nanos(ahead.saturating_sub(1) * EPOCH),
        }
    }

    fn sums(&self) -> impl Iterator<Item = (usize, u64)> {
        let sums = self.earned.first_words();
        sums.map(|(slot, sum)| (slot, sum.load(Relaxed)))
    }

    /// Adds the sums to the word, then applies `step`. Returns the new word if `step` made one.
    fn update(&self, now: Tick, terms: Terms, step: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut added = self.added.lock();
        let mut new = 0;
        for (slot, sum) in self.sums() {
            if added.is_empty() {
                added.resize(SLOTS, 0);
            }
            new += new_of(&added, slot, sum);
            added[slot] = sum;
        }
        let mut word = self.word();
        loop {
            let whole = word.add(new);
            let stepped = step(whole.at(epoch(now), terms.burst()));
            if stepped.is_none() && new == 0 {
                return None;
            }
            // A step that makes nothing starts no epoch.
            let (from, to) = (word.pack(), stepped.unwrap_or(whole).pack());
            match (self.word).compare_exchange_weak(from, to, Relaxed, Relaxed) {
                Ok(_) => return stepped,
                Err(now) => word = Word::unpack(now),
            }
        }
    }
}

/// The part of `sum` that has not been added to the word.
fn new_of(added: &[u64], slot: usize, sum: u64) -> u64 {
    let before = added.get(slot).copied().unwrap_or(0);
    sum.wrapping_sub(before)
}

#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
