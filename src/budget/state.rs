//! The budget's account: one word.
//!
//! # Orderings
//!
//! The word publishes nothing but itself, so all is relaxed. It is moved by compare-exchange,
//! so that what is withdrawn has been there (model: `never_overdrawn`), but for a deposit
//! within the epoch, which only adds: whatever the word has become meanwhile, one call was made
//! (models: `a_deposit_is_not_lost`, `a_deposit_beside_the_cut_is_of_one_call`).

use std::time::Duration;

use super::policy::Terms;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::Tick;

/// How long an epoch lasts: what was saved up before the last one is gone.
const EPOCH: u64 = 10 * 1_000_000_000;

/// One attempt, in the unit of the balance. Thousandths make ratios like 0.6 exact.
pub(super) const ONE: u64 = 1_000;

/// `[epoch: 22 bits][room: 10 bits, attempts][balance: 32 bits, thousandths of an attempt]`
///
/// Written by every original call and by every extra attempt.
#[derive(Debug)]
pub(super) struct Account(AtomicU64);

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
        Self(AtomicU64::new(word.pack()))
    }

    /// An original call has been made.
    #[inline]
    pub(super) fn deposit(&self, now: Tick, terms: Terms) {
        let word = Word::unpack(self.0.load(Relaxed));
        if word.epoch != epoch(now) {
            self.deposit_anew(now, terms);
        } else if word.balance < MOST_SAVED {
            self.0.fetch_add(terms.ratio(), Relaxed);
        }
    }

    #[cold]
    fn deposit_anew(&self, now: Tick, terms: Terms) {
        self.update(now, terms, |balance| {
            let most = balance.max(MOST_SAVED);
            Some((balance + terms.ratio()).min(most))
        });
    }

    /// Takes one attempt out, if it is there. Gives the epoch it was taken in.
    pub(super) fn withdraw(&self, now: Tick, terms: Terms) -> Option<u64> {
        self.update(now, terms, |balance| balance.checked_sub(ONE))
    }

    /// Puts one attempt back that was not made: in its own epoch whole; in the next one as far
    /// as it would have stayed through the cut; after that not at all, since what was there two
    /// epochs ago must not be spent now.
    pub(super) fn give_back(&self, now: Tick, terms: Terms, taken: u64) {
        let mut word = Word::unpack(self.0.load(Relaxed));
        loop {
            let at = word.at(epoch(now), terms.burst());
            let room = match at.epoch.wrapping_sub(taken) & EPOCHS {
                0 => at.room,
                1 if at.room > 0 => at.room - 1,
                _ => return,
            };
            let balance = at.balance + ONE;
            match self.exchange(
                word,
                Word {
                    room,
                    balance,
                    ..at
                },
            ) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }

    pub(super) fn balance(&self, now: Tick, terms: Terms) -> u64 {
        let word = Word::unpack(self.0.load(Relaxed));
        word.at(epoch(now), terms.burst()).balance
    }

    /// For how long at least nobody has moved the word.
    pub(super) fn idle(&self, now: Tick) -> Duration {
        let ahead = epoch(now).wrapping_sub(Word::unpack(self.0.load(Relaxed)).epoch) & EPOCHS;
        match ahead {
            // A clock that has stepped back.
            ahead if ahead > EPOCHS / 2 => Duration::ZERO,
            ahead => Duration::from_nanos(ahead.saturating_sub(1) * EPOCH),
        }
    }

    fn update(&self, now: Tick, terms: Terms, step: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut word = Word::unpack(self.0.load(Relaxed));
        loop {
            let at = word.at(epoch(now), terms.burst());
            let balance = step(at.balance)?;
            match self.exchange(word, Word { balance, ..at }) {
                Ok(()) => return Some(at.epoch),
                Err(now) => word = now,
            }
        }
    }

    fn exchange(&self, from: Word, to: Word) -> Result<(), Word> {
        let exchanged = (self.0).compare_exchange_weak(from.pack(), to.pack(), Relaxed, Relaxed);
        exchanged.map(drop).map_err(Word::unpack)
    }
}

#[cfg(all(any(test, fuzzing), not(seawall_loom)))]
pub(crate) mod fuzz;
#[cfg(all(test, seawall_loom))]
mod loom;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
