//! How a tier's configuration changes for all keys.

use super::Table;
use super::set::WAYS;
use super::standing::Origin;
use crate::rate_limit::quota::Quota;
use crate::rate_limit::state::config::{Config, Turn};
use crate::rate_limit::state::word::Word;
use crate::time::Tick;

impl Table {
    /// Changes a tier's quota, which has been checked. Debts stay the same in tokens; an instant
    /// that was granted stays granted.
    pub(crate) fn change(&self, now: Tick, tier: u8, quota: Quota) {
        let mut locked = self.tier(tier).quota.lock();
        *locked = quota;
        self.install(now, tier, quota);
    }

    /// A tier's quota as configured. Takes the lock of changes.
    pub(crate) fn quota(&self, tier: u8) -> Quota {
        *self.tier(tier).quota.lock()
    }

    /// A tier's configuration, for use at `now`.
    pub(super) fn current(&self, tier: u8, now: Tick) -> Config {
        loop {
            let config = self.tier(tier).current();
            if !config.is_stale(now) {
                return config;
            }
            self.rebase(tier, now);
        }
    }

    /// Moves a tier's origin on if it is stale, which it is once in two years.
    #[cold]
    #[inline(never)]
    pub(super) fn rebase(&self, tier: u8, now: Tick) {
        let quota = self.tier(tier).quota.lock();
        if self.tier(tier).current().is_stale(now) {
            self.install(now, tier, *quota);
        }
    }

    /// Under the tier's mutex. When it returns, no word names the previous configuration, whose
    /// slot is the next to be written.
    fn install(&self, now: Tick, tier: u8, quota: Quota) {
        self.tier(tier).install(now, quota);
        for (index, lock) in self.locks.iter().enumerate() {
            self.carry_over(&mut lock.lock(), index, now, tier);
        }
    }

    /// Carries the words of a tier in a set over to the tier's current configuration, which it
    /// returns. A call that was decided with the previous configuration finds that its word was
    /// replaced.
    pub(super) fn carry_over(
        &self,
        origins: &mut [Origin; WAYS],
        index: usize,
        now: Tick,
        tier: u8,
    ) -> Config {
        let (set, next) = (&self.sets[index], self.tier(tier).current());
        let evicted = self.evicted_debt(index, tier);
        if evicted.generation() == Word::new(0, next.changes).generation() {
            return next;
        }
        let carried = |word: Word| {
            let previous = self.tier(tier).config_of(word);
            Word::new(previous.carried(&next, word.tat(), now), next.changes)
        };
        let in_tier = |way: &usize| set.tag(*way).owner().is_in(tier);
        for way in (0..WAYS).filter(in_tier) {
            let mut word = set.word(way);
            while !set.replace(way, word, carried(word)) {
                word = set.word(way);
            }
            let previous = self.tier(tier).config_of(word);
            origins[way] = origins[way].carried(&previous, &next, word.tat(), now);
        }
        self.set_evicted_debt(index, tier, carried(evicted));
        next
    }
}

impl Config {
    /// The same debt in tokens in another configuration.
    pub(super) fn carried(&self, to: &Self, end: u64, now: Tick) -> u64 {
        self.carry(to, end, None, Turn::Change, now).0
    }
}
