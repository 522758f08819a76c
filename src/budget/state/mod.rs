//! The budget's account: one word, and beside it what threads have earned that do not meet there.
//!
//! # Orderings
//!
//! The word publishes nothing but itself, so all is relaxed. It is moved by compare-exchange,
//! so that what is withdrawn has been there (model: `never_overdrawn`), but for a deposit
//! within the epoch, which only adds: whatever the word has become meanwhile, one call was made
//! (models: `a_deposit_is_not_lost`, `a_deposit_beside_the_cut_is_of_one_call`).
//!
//! What a thread has earned is a sum that only it adds to, by a load and a store, and that is
//! never taken back: whoever withdraws brings what is new of it to the word, under a lock that
//! keeps how much of it was brought before. So it is brought once (model:
//! `what_a_thread_has_earned_is_brought_once`). A thread adds to a sum of this epoch only; to
//! begin one it brings all sums to the word first. Therefore a word of an earlier epoch lacks
//! what was earned in that epoch and nothing later, and the cut is of the whole (model:
//! `what_was_earned_before_the_cut_is_cut`).

use std::time::Duration;

use crate::per_thread::{self, PerThread, SLOTS, SMALL, ThreadSlot};
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};
use crate::time::Tick;

/// How long an epoch lasts: what was saved up before the last one is gone.
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
/// Written by every extra attempt, and by every original call until the budget is [`HOT`].
#[derive(Debug)]
pub(super) struct Account {
    word: AtomicU64,
    /// What each thread has earned ever, in thousandths of an attempt, and the epoch in which it
    /// last did, whole: of 22 bits of it one from 485 days ago would be taken for this one. Both
    /// wrap after more years than a tick has.
    earned: PerThread<AtomicU64>,
    /// How much of each sum was brought to the word, by slot; empty until there are sums.
    brought: Mutex<Vec<u64>>,
}

/// With how much more than the burst sums of the threads' own are worth their memory: who has
/// earned so much in an epoch makes many calls.
const HOT: u64 = match SMALL || cfg!(any(test, fuzzing)) {
    true => 2 * ONE,
    false => 100 * ONE,
};

const BALANCE_BITS: u32 = 32;
const ROOM_BITS: u32 = 10;
const MOST: u64 = (1 << BALANCE_BITS) - 1;
/// Above it deposits add nothing: two million attempts. As much again is free above it, for sums
/// by threads that have read a word from before; a sum of too much would run into the room.
const MOST_SAVED: u64 = MOST / 2;
const MOST_ROOM: u64 = (1 << ROOM_BITS) - 1;
/// 485 days of epochs.
const EPOCHS: u64 = (1 << 22) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    epoch: u64,
    /// How many attempts that were taken in the last epoch may still come back: no more than
    /// the cut would have left standing, had they not been taken.
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

    /// With so much more, as far as that can be saved.
    fn and(self, more: u64) -> Self {
        let most = self.balance.max(MOST_SAVED);
        Self {
            balance: self.balance.saturating_add(more).min(most),
            ..self
        }
    }

    /// As it is at `epoch`: cut to the burst if that is a new one. A clock that has stepped
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
    /// With the burst in it.
    pub(super) fn new(now: Tick, terms: Terms) -> Self {
        let word = Word {
            epoch: epoch(now),
            room: 0,
            balance: terms.burst(),
        };
        Self {
            word: AtomicU64::new(word.pack()),
            earned: PerThread::new(2),
            brought: Mutex::default(),
        }
    }

    fn word(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
    }

    /// An original call has been made.
    #[inline]
    pub(super) fn deposit(&self, now: Tick, terms: Terms) {
        self.deposit_by(per_thread::current(), now, terms);
    }

    /// As [`deposit`](Self::deposit), by the thread with this slot.
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
            // Of an earlier epoch, so that there is an end to that: see `# Orderings`.
            self.update(now, terms, Some);
            latest.store(now.0 / EPOCH, Relaxed);
            let sum_now = sum.load(Relaxed).wrapping_add(terms.ratio());
            return sum.store(sum_now, Relaxed);
        }
        let word = self.word();
        if word.epoch != epoch(now) {
            self.update(now, terms, |word| Some(word.and(terms.ratio())));
        } else if word.balance < MOST_SAVED {
            self.word.fetch_add(terms.ratio(), Relaxed);
        }
        let hot = terms.burst() + HOT;
        if let Some(slot) = slot.filter(|_| word.balance >= hot) {
            self.earned.make(slot, || AtomicU64::new(0));
        }
    }

    /// Takes one attempt out, if it is there. Gives the epoch it was taken in.
    pub(super) fn withdraw(&self, now: Tick, terms: Terms) -> Option<u64> {
        let taken = self.update(now, terms, |word| {
            let balance = word.balance.checked_sub(ONE)?;
            Some(Word { balance, ..word })
        });
        taken.map(|word| word.epoch)
    }

    /// Puts one attempt back that was not made: in its own epoch whole; in the next one as far
    /// as it would have stayed through the cut; after that not at all, since what was there two
    /// epochs ago must not be spent now.
    pub(super) fn give_back(&self, now: Tick, terms: Terms, taken: u64) {
        self.update(now, terms, |word| {
            let room = match word.epoch.wrapping_sub(taken) & EPOCHS {
                0 => word.room,
                1 if word.room > 0 => word.room - 1,
                _ => return None,
            };
            let balance = word.balance + ONE;
            Some(Word {
                room,
                balance,
                ..word
            })
        });
    }

    pub(super) fn balance(&self, now: Tick, terms: Terms) -> u64 {
        let brought = self.brought.lock();
        let new: u64 = self
            .sums()
            .map(|(slot, sum)| new_of(&brought, slot, sum))
            .sum();
        let word = self.word().and(new).at(epoch(now), terms.burst());
        word.balance
    }

    /// For how long at least nobody has earned or taken anything.
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

    /// Brings to the word what was earned, then moves it by `step`, if that gives another. Gives
    /// what it has become by that.
    fn update(&self, now: Tick, terms: Terms, step: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut brought = self.brought.lock();
        let mut new = 0;
        for (slot, sum) in self.sums() {
            if brought.is_empty() {
                brought.resize(SLOTS, 0);
            }
            new += new_of(&brought, slot, sum);
            brought[slot] = sum;
        }
        let mut word = self.word();
        loop {
            let whole = word.and(new);
            let stepped = step(whole.at(epoch(now), terms.burst()));
            if stepped.is_none() && new == 0 {
                return None;
            }
            // Of a step that is not made no epoch comes.
            let (from, to) = (word.pack(), stepped.unwrap_or(whole).pack());
            match (self.word).compare_exchange_weak(from, to, Relaxed, Relaxed) {
                Ok(_) => return stepped,
                Err(now) => word = Word::unpack(now),
            }
        }
    }
}

/// What `sum` has more than was brought of it.
fn new_of(brought: &[u64], slot: usize, sum: u64) -> u64 {
    let before = brought.get(slot).copied().unwrap_or(0);
    sum.wrapping_sub(before)
}

#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
