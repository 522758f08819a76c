//! A tier: one quota, with its configuration. The head of [`super`] explains the orderings.

use crate::rate_limit::quota::Quota;
use crate::rate_limit::state::Striped;
use crate::rate_limit::state::config::Config;
use crate::rate_limit::state::word::{Pace, Slot, Word};
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
    pub(super) quota: Mutex<Quota>,
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

    /// As much of it as decides over most charges for now.
    #[inline]
    pub(super) fn pace_of(&self, word: Word) -> Pace {
        self.slot(word.generation()).pace()
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

    /// Makes the next configuration the current one. Under the mutex. No word names its slot.
    pub(super) fn install(&self, now: Tick, quota: Quota) {
        let next = self.current().next(now, quota, Tick::ZERO, Striped::Never);
        self.slot(next.changes).write(&next);
        self.version.store(next.changes, Ordering::Release);
    }
}
