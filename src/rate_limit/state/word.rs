//! What the threads share: the word, and the configurations that it names. Why in these orders
//! stands at the head of [`super`].

use super::config::Config;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Tick;

/// The word: where the debt ends (62 bits), and the generation of the configuration that this
/// is counted in (2 bits).
#[derive(Clone, Copy)]
pub(super) struct Word(pub(super) u64);

impl Word {
    #[inline]
    pub(super) fn new(tat: u64, changes: u64) -> Self {
        Self((tat << 2) | (changes & 3))
    }

    #[inline]
    pub(super) fn tat(self) -> u64 {
        self.0 >> 2
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 & 3
    }
}

/// A configuration that is shared. Written under the mutex while no word names it; published
/// by the word.
pub(super) struct Slot([AtomicU64; 6]);

impl Slot {
    #[inline]
    pub(super) fn new(config: &Config) -> Self {
        Self(Self::values(config).map(AtomicU64::new))
    }

    fn values(config: &Config) -> [u64; 6] {
        [
            config.interval,
            config.tolerance,
            config.frozen.0,
            config.origin.0,
            config.paused.0,
            config.changes,
        ]
    }

    pub(super) fn write(&self, config: &Config) {
        for (place, value) in self.0.iter().zip(Self::values(config)) {
            // Pairs with `read`: who sees this sees that the slot is out of use.
            place.store(value, Ordering::Release);
        }
    }

    #[inline]
    pub(super) fn read(&self) -> Config {
        let [interval, tolerance, frozen, origin, paused, changes] = &self.0;
        // Pairs with `write`.
        let load = |place: &AtomicU64| place.load(Ordering::Acquire);
        Config {
            interval: load(interval),
            tolerance: load(tolerance),
            frozen: Tick(load(frozen)),
            origin: Tick(load(origin)),
            paused: Tick(load(paused)),
            changes: load(changes),
        }
    }
}
