//! A tier: one quota, and the configuration that threads share. [`super`] has the reasons for the
//! orderings.

use crate::rate_limit::quota::{Quota, UNITS};
use crate::rate_limit::state::Striped;
use crate::rate_limit::state::config::{Config, Turn};
use crate::rate_limit::state::word::{Slot, Word};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::time::Tick;

/// Each entry's word names one of two slots, like the bucket's word does. Changes are serialised by
/// the mutex; a call takes no lock.
pub(super) struct Tier {
    slots: [Slot; 2],
    /// How many configurations came before the current one; its low bit names the slot. Written
    /// under the mutex. Publishes the slot.
    version: AtomicU64,
    /// The quota as configured.
    control: Mutex<Quota>,
}

impl Tier {
    pub(super) fn new(now: Tick, quota: Quota) -> Self {
        let config = Config::first(now, quota, Striped::Never);
        Self {
            slots: [Slot::new(&config), Slot::new(&config)],
            version: AtomicU64::new(config.changes),
            control: Mutex::new(quota),
        }
    }

    /// The configuration of a word; another one, or a torn one, if the word has moved on since.
    #[inline]
    pub(super) fn config_of(&self, word: Word) -> Config {
        self.slot(word.generation()).read()
    }

    /// The current configuration.
    pub(super) fn current(&self) -> Config {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let config = self.slot(version).read();
            // The loads of the slot are Acquire, so they come before this.
            if self.version.load(Ordering::Relaxed) == version {
                return config;
            }
        }
    }

    /// The quota as configured.
    pub(super) fn quota(&self) -> Quota {
        *self.control.lock()
    }

    /// Changes the quota. `sweep` carries every word of the tier over.
    pub(super) fn change(&self, now: Tick, quota: Quota, sweep: impl FnOnce()) {
        let mut control = self.control.lock();
        *control = quota;
        self.install(now, quota, sweep);
    }

    /// Moves the origin on, if it must be: once in two years.
    pub(super) fn rebase(&self, now: Tick, sweep: impl FnOnce()) {
        let control = self.control.lock();
        if self.current().is_stale(now) {
            self.install(now, *control, sweep);
        }
    }

    /// Under the mutex. When it returns, no word names the slot of the configuration before, which is
    /// written next.
    fn install(&self, now: Tick, quota: Quota, sweep: impl FnOnce()) {
        let next = self.current().next(now, quota, Tick::ZERO, Striped::Never);
        self.slot(next.changes).write(&next);
        self.version.store(next.changes, Ordering::Release);
        sweep();
    }

    #[inline]
    fn slot(&self, generation: u64) -> &Slot {
        &self.slots[usize::from(generation & 1 == 1)]
    }
}

impl Config {
    /// The instant at which a debt is repaid.
    pub(super) fn idle_at(&self, end: u64) -> Tick {
        if self.is_stopped() && end > self.clock(Tick::ZERO) {
            return Tick::NEVER;
        }
        Tick(self.origin.0.saturating_add(end.div_ceil(UNITS)))
    }

    /// The same debt in tokens in another configuration.
    pub(super) fn carried(&self, to: &Self, end: u64, now: Tick) -> u64 {
        let (end, _) = self.carry(to, end, None, Turn::Change, now);
        end
    }
}
