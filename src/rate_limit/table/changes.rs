//! Changes of a tier's configuration, for all keys.

use super::Table;
use super::set::WAYS;
use crate::rate_limit::Quota;
use crate::rate_limit::state::config::Config;
use crate::rate_limit::state::word::Word;
use crate::time::Tick;

impl Table {
    /// Changes a tier to a valid quota. Every debt stays the same number of tokens, and an instant that
    /// was granted stays.
    pub(crate) fn change(&self, now: Tick, tier: u8, quota: Quota) {
        let sweep = || self.sweep(now, tier);
        self.tier(tier).change(now, quota, sweep);
    }

    /// A tier's quota as configured.
    pub(crate) fn quota(&self, tier: u8) -> Quota {
        self.tier(tier).quota()
    }

    /// A tier's exact rate, in tokens per second.
    pub(crate) fn rate(&self, tier: u8) -> f64 {
        self.tier(tier).current().rate()
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

    #[cold]
    #[inline(never)]
    pub(super) fn rebase(&self, tier: u8, now: Tick) {
        self.tier(tier).rebase(now, || self.sweep(now, tier));
    }

    /// Carries every word of a tier over to its current configuration.
    fn sweep(&self, now: Tick, tier: u8) {
        for (index, lock) in self.locks.iter().enumerate() {
            let _locked = lock.lock();
            self.settle(index, now, tier);
        }
    }

    /// Carries a tier's words in a set over to the current configuration, which it returns. Under
    /// the set's lock. A call that was decided with the configuration before fails to exchange its
    /// word.
    pub(super) fn settle(&self, index: usize, now: Tick, tier: u8) -> Config {
        let (set, next) = (&self.sets[index], self.tier(tier).current());
        let seen = self.evicted_debt(index, tier);
        let carried = |word: Word| {
            let old = self.tier(tier).config_of(word);
            Word::new(old.carried(&next, word.tat(), now), next.changes)
        };
        if seen.generation() != Word::new(0, next.changes).generation() {
            for way in 0..WAYS {
                let tag = set.tag(way);
                let mut word = set.word(way);
                while !tag.is_empty()
                    && tag.owner().tier() == tier
                    && !set.turn(way, word, carried(word))
                {
                    word = set.word(way);
                }
            }
            self.set_evicted_debt(index, tier, carried(seen));
        }
        next
    }
}
