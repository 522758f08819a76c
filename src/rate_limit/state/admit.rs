//! Admission now: from the caller's stripe, from the word, or from the word with a lease.

use super::bucket::Bucket;
use super::grant::Shortfall;
use super::word::Word;
use crate::per_thread;
use crate::sync::Ordering;
use crate::time::Tick;

impl Bucket {
    /// Takes `cost` tokens if they are available. A cost of 0 is free, also in a paused or stopped
    /// bucket. `clock` is not read for what a stripe has, and read again where a lease is
    /// fetched.
    #[inline]
    pub(crate) fn admit_now(
        &self,
        clock: impl FnMut() -> Tick,
        cost: u32,
    ) -> Result<(), Shortfall> {
        if cost == 0 {
            return Ok(());
        }
        if self.stripes.is_empty() {
            return self.admit_from_word(clock, cost);
        }
        self.admit_from_stripe(per_thread::stripe(), clock, cost)
    }

    /// Takes tokens of the word alone. Not inlined, so that an admission from a stripe does not
    /// save the registers that this needs.
    #[inline(never)]
    fn admit_from_word(&self, mut clock: impl FnMut() -> Tick, cost: u32) -> Result<(), Shortfall> {
        let now = clock();
        loop {
            let word = Word(self.word.load(Ordering::Acquire));
            let pace = self.slot(word.generation()).pace();
            match pace.charge(word.tat(), now, cost) {
                Some(Ok(end)) => {
                    if self.exchange(word, Word::new(end, word.generation())) {
                        return Ok(());
                    }
                }
                Some(Err(shortfall)) => {
                    if self.is_still(word) {
                        return Err(shortfall);
                    }
                }
                None => return self.admit_by_config(now, cost),
            }
        }
    }

    /// Takes tokens where the pace alone does not decide.
    #[cold]
    #[inline(never)]
    fn admit_by_config(&self, now: Tick, cost: u32) -> Result<(), Shortfall> {
        self.take_now(now, cost).map(drop)
    }

    /// Takes tokens from the stripe that `slot` picks, or refills that.
    #[inline]
    pub(super) fn admit_from_stripe(
        &self,
        slot: usize,
        clock: impl FnMut() -> Tick,
        cost: u32,
    ) -> Result<(), Shortfall> {
        if self.stripes.spend(slot, cost) {
            return Ok(());
        }
        self.admit_with_lease(slot, clock, cost)
    }

    /// Takes tokens of the word, and a lease for the stripe if there are enough; the tokens of
    /// other stripes if there are not.
    #[inline(never)]
    fn admit_with_lease(
        &self,
        slot: usize,
        mut clock: impl FnMut() -> Tick,
        cost: u32,
    ) -> Result<(), Shortfall> {
        let mut now = clock();
        let word = Word(self.word.load(Ordering::Acquire));
        let pace = self.slot(word.generation()).pace();
        if let Some(Err(shortfall)) = pace.charge(word.tat(), now, cost) {
            // The word is looked at last, because a change empties the stripes first.
            if self.stripes.tokens() == 0 && self.is_still(word) {
                return Err(shortfall);
            }
        }
        if self.lease(now, cost).is_some() {
            if let Some(owned) = self.stripes.begin_lease(slot) {
                // Read again, now that the stripe is owned: see the head of `stripes`.
                now = clock();
                let leased = loop {
                    match self.lease(now, cost) {
                        Some((from, to, lease)) if self.exchange(from, to) => break lease,
                        Some(_) => {}
                        None => break 0,
                    }
                };
                self.stripes.fill(owned, leased);
                if leased > 0 {
                    return Ok(());
                }
            }
        }
        match self.admit_from_word(|| now, cost) {
            Err(_) if self.stripes.tokens() > 0 => self.admit_by_config(now, cost),
            decided => decided,
        }
    }

    /// The exchange that charges `cost` and a lease, and the lease, if both are available.
    #[inline]
    fn lease(&self, now: Tick, cost: u32) -> Option<(Word, Word, u32)> {
        let word = Word(self.word.load(Ordering::Acquire));
        let slot = self.slot(word.generation());
        let lease = slot.lease();
        let both = cost.checked_add(lease).filter(|_| lease > 0)?;
        let end = slot.pace().charge(word.tat(), now, both)?.ok()?;
        Some((word, Word::new(end, word.generation()), lease))
    }
}
