//! The short way to a token, or to a refusal.

#[cfg(any(test, fuzzing))]
use super::Refused;
use super::word::{Slot, Word};
use super::{Bucket, Early};
use crate::sync::{Ordering, thread_slot};
use crate::time::Tick;

impl Bucket {
    /// Takes `cost` tokens if they are there. A cost of 0 is free, also in a paused or stopped
    /// bucket.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn admit(&self, now: Tick, cost: u32) -> Result<(), Refused> {
        self.ask(|| now, cost).map_err(Refused::from)
    }

    /// As [`admit`](Self::admit), and answers in two registers. `clock` is not read for what a
    /// stripe has, and twice where one is filled.
    #[inline]
    pub(crate) fn ask(&self, clock: impl FnMut() -> Tick, cost: u32) -> Result<(), Early> {
        if cost == 0 {
            return Ok(());
        }
        if self.stripes.is_empty() {
            return self.ask_word::<true>(clock, cost);
        }
        self.ask_stripes(thread_slot(), clock, cost)
    }

    /// As [`ask`](Self::ask), for who does not want to know how early he is.
    #[inline]
    pub(crate) fn allows(&self, clock: impl FnMut() -> Tick, cost: u32) -> bool {
        if self.stripes.is_empty() && cost > 0 {
            return self.ask_word::<false>(clock, cost).is_ok();
        }
        self.ask(clock, cost).is_ok()
    }

    /// As [`ask`](Self::ask), without stripes. How early a refusal comes is told only if `TOLD`.
    /// Not inlined, so that who asks a stripe does not save the registers that this needs.
    #[inline(never)]
    pub(super) fn ask_word<const TOLD: bool>(
        &self,
        clock: impl FnOnce() -> Tick,
        cost: u32,
    ) -> Result<(), Early> {
        // First, because a processor that reads the counter waits for all before it and lets all
        // after it wait.
        let now = clock();
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            // By a jump, so that the slot is read while the word is still on its way.
            let tried = match word.generation() & 1 {
                0 => self.ask_slot::<TOLD>(&self.slots[0], word, now, cost),
                _ => self.ask_odd_slot::<TOLD>(word, now, cost),
            };
            if let Some(answer) = tried {
                return answer;
            }
        }
    }

    /// None if the word has moved since.
    #[inline(always)]
    fn ask_slot<const TOLD: bool>(
        &self,
        slot: &Slot,
        word: Word,
        now: Tick,
        cost: u32,
    ) -> Option<Result<(), Early>> {
        match slot.pace().charge(word.tat(), now, cost) {
            Some(Ok(end)) => {
                let exchanged = self.exchange(word, Word::new(end, word.generation()));
                exchanged.then_some(Ok(()))
            }
            Some(Err(_)) if !self.is_still(word) => None,
            Some(Err(_)) if !TOLD => Some(Err(Early::UNTOLD)),
            Some(Err(lack)) => Some(match lack.early() {
                Some(early) => Err(early),
                None => self.ask_all(now, cost),
            }),
            None => Some(self.ask_all(now, cost)),
        }
    }

    // Kept out of the other's way, or the two would be one again.
    #[inline(never)]
    fn ask_odd_slot<const TOLD: bool>(
        &self,
        word: Word,
        now: Tick,
        cost: u32,
    ) -> Option<Result<(), Early>> {
        self.ask_slot::<TOLD>(&self.slots[1], word, now, cost)
    }

    /// As [`ask`](Self::ask), by the whole configuration.
    #[cold]
    pub(super) fn ask_all(&self, now: Tick, cost: u32) -> Result<(), Early> {
        let taken = self.take(now, now, cost, now);
        taken.map(drop).map_err(Early::from)
    }
}
