//! What a bucket does with its stripes: spends from them, fills them, and looks into all of them
//! before it refuses.

use super::config::Config;
use super::stripes::{Held, MOST};
use super::word::Word;
use super::{Bucket, Charge, Early, Refused};
use crate::sync::Ordering;
use crate::time::Tick;

impl Bucket {
    /// As [`ask`](Self::ask), of a bucket with stripes; `slot` picks the caller's.
    #[inline]
    pub(super) fn ask_stripes(
        &self,
        slot: usize,
        clock: impl FnMut() -> Tick,
        cost: u32,
    ) -> Result<(), Early> {
        if self.stripes.spend(slot, cost) {
            return Ok(());
        }
        self.ask_beyond(slot, clock, cost)
    }

    /// As [`ask_stripes`](Self::ask_stripes), where the caller's stripe does not have it.
    #[inline(never)]
    fn ask_beyond(
        &self,
        slot: usize,
        mut clock: impl FnMut() -> Tick,
        cost: u32,
    ) -> Result<(), Early> {
        let now = clock();
        let word = Word(self.word.load(Ordering::Acquire));
        let pace = self.slot(word.generation()).pace();
        match pace.charge(word.tat(), now, cost) {
            Some(Err(lack)) if self.stripes.tokens() == 0 && self.is_still(word) => {
                match lack.early() {
                    Some(early) => Err(early),
                    None => self.ask_leasing(slot, clock, now, cost),
                }
            }
            _ => self.ask_leasing(slot, clock, now, cost),
        }
    }

    fn ask_leasing(
        &self,
        slot: usize,
        mut clock: impl FnMut() -> Tick,
        mut now: Tick,
        cost: u32,
    ) -> Result<(), Early> {
        if self.lease(now, cost).is_some() {
            if let Some(owned) = self.stripes.begin_lease(slot) {
                // Anew: see the head of `stripes`.
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
        let early = match self.ask_word::<true>(|| now, cost) {
            Err(early) if self.stripes.tokens() > 0 => early,
            decided => return decided,
        };
        if cost == 1 {
            return self.stripes.spend_any().then_some(()).ok_or(early);
        }
        self.ask_all(now, cost)
    }

    /// The exchange that charges `cost` and a lease, and the lease, if as much is there.
    #[inline]
    fn lease(&self, now: Tick, cost: u32) -> Option<(Word, Word, u32)> {
        let word = Word(self.word.load(Ordering::Acquire));
        let slot = self.slot(word.generation());
        let lease = slot.lease();
        let both = cost.checked_add(lease).filter(|_| lease > 0)?;
        match slot.pace().charge(word.tat(), now, both)? {
            Ok(end) => Some((word, Word::new(end, word.generation()), lease)),
            Err(_) => None,
        }
    }

    /// As [`take`](Self::take), where the word alone does not grant it at once. The tokens in
    /// the stripes are taken first, so that nobody comes before who waits for the rest.
    #[cold]
    pub(super) fn take_with_stripes(
        &self,
        now: Tick,
        not_before: Tick,
        cost: u32,
        latest: Tick,
    ) -> Result<Charge, Refused> {
        loop {
            let (_, before) = self.view(now);
            let mut held: Held = [None; MOST];
            let tokens = self.stripes.hold(&mut held, false);
            let (word, config) = self.view_for(now, cost);
            let (granted, ahead) = config.grant_with(word.tat(), now, not_before, cost, tokens);
            let decided = granted.and_then(|grant| grant.by(now, latest));
            // What was held of another configuration was spent there, and is not to be given
            // back to this one.
            let settled = before.changes == config.changes && self.settle(word, &decided);
            let spent = if settled && decided.is_ok() { ahead } else { 0 };
            self.stripes.release(&held, spent);
            if settled {
                return decided.map(|grant| Charge::new(&grant, &config, ahead));
            }
        }
    }

    /// Gives back what a charge had from the stripes, if the word has not been charged since:
    /// then nothing was leased since either, and there is room for it. The stripes are owned
    /// before the word is looked at, so that nothing is leased to them meanwhile.
    #[cold]
    pub(super) fn give_back(&self, charge: &Charge) {
        let mut held: Held = [None; MOST];
        self.stripes.hold(&mut held, true);
        let (tat, changes, lease) = self.look(Tick::ZERO, |tat, config| {
            (tat, config.changes, config.stripes.0)
        });
        let is_last = changes == charge.changes && tat == charge.end;
        let more = if is_last { charge.ahead } else { 0 };
        self.stripes.refill(&held, lease, more);
    }

    /// As [`view`](Self::view), of a configuration in which `cost` can be had, if it is within
    /// the burst. A cost that needs what is kept for the stripes takes it away from them for
    /// good: the bucket is exact from then on.
    #[inline]
    pub(super) fn view_for(&self, now: Tick, cost: u32) -> (Word, Config) {
        let (word, config) = self.view(now);
        if config.needs_all(cost) {
            self.without_stripes(now);
            return self.view(now);
        }
        (word, config)
    }
}
