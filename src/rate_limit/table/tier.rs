//! A tier: one quota, and how it changes for all keys. The head of [`super`] explains the
//! orderings.

use super::Table;
use super::eviction::Origin;
use super::set::WAYS;
use crate::rate_limit::quota::Quota;
use crate::rate_limit::state::Striped;
use crate::rate_limit::state::config::{Config, Turn};
use crate::rate_limit::state::word::{Slot, Word};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::time::Tick;

/// Two slots, of which each entry's word names one, as a bucket's word does: a word and the
/// configuration that it is counted in change in one exchange.
pub(super) struct Tier {
    slots: [Slot; 2],
    /// How many configurations came before the current one. Its low bit names the slot, which it
    /// publishes. Written under the mutex.
    version: AtomicU64,
    /// The quota as configured. Locked for the length of a change.
    quota: Mutex<Quota>,
}

impl Tier {
    pub(super) fn new(now: Tick, quota: Quota) -> Self {
        let config = Config::first(now, quota, Striped::Never);
        Self {
            slots: [Slot::new(&config), Slot::new(&config)],
            version: AtomicU64::new(config.changes),
            quota: Mutex::new(quota),
        }
    }

    /// The configuration that a word is counted in. If the word has been replaced since, it may be
    /// another one, or a mixture of two.
    #[inline]
    pub(super) fn config_of(&self, word: Word) -> Config {
        self.slot(word.generation()).read()
    }

    pub(super) fn current(&self) -> Config {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let config = self.slot(version).read();
            // The loads of the slot are Acquire, so this one comes after them.
            if self.version.load(Ordering::Relaxed) == version {
                return config;
            }
        }
    }

    #[inline]
    fn slot(&self, generation: u64) -> &Slot {
        &self.slots[usize::from(generation & 1 == 1)]
    }
}

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

    /// A tier's tokens per second, as they are kept.
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
        let of = self.tier(tier);
        let next = of.current().next(now, quota, Tick::ZERO, Striped::Never);
        of.slot(next.changes).write(&next);
        of.version.store(next.changes, Ordering::Release);
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
