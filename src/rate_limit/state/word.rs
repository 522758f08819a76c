//! What the threads share: the word, and the configurations that it names. Why in these orders
//! stands at the head of [`super`].

use super::config::Config;
use super::pace::Pace;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Tick;

/// The word: where the debt ends (62 bits), and the generation of the configuration that this
/// is counted in (2 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limit) struct Word(pub(in crate::rate_limit) u64);

impl Word {
    #[inline]
    pub(in crate::rate_limit) fn new(tat: u64, changes: u64) -> Self {
        Self((tat << 2) | (changes & 3))
    }

    #[inline]
    pub(in crate::rate_limit) fn tat(self) -> u64 {
        self.0 >> 2
    }

    #[inline]
    pub(in crate::rate_limit) fn generation(self) -> u64 {
        self.0 & 3
    }
}

/// A configuration that is shared. Written under the mutex while no word names it; published
/// by the word. What most admissions need comes first.
pub(in crate::rate_limit) struct Slot([AtomicU64; 8]);

impl Slot {
    #[inline]
    pub(in crate::rate_limit) fn new(config: &Config) -> Self {
        Self(Self::values(config).map(AtomicU64::new))
    }

    fn values(config: &Config) -> [u64; 8] {
        let pace = config.pace();
        [
            pace.interval,
            pace.tolerance,
            pace.origin.0,
            config.tolerance,
            config.frozen.0,
            config.paused.0,
            config.changes,
            u64::from(config.stripes.0) << 32 | u64::from(config.stripes.1),
        ]
    }

    pub(in crate::rate_limit) fn write(&self, config: &Config) {
        for (place, value) in self.0.iter().zip(Self::values(config)) {
            // Pairs with `read` and `pace`: who sees this sees that the slot is out of use.
            place.store(value, Ordering::Release);
        }
    }

    #[inline]
    pub(in crate::rate_limit) fn read(&self) -> Config {
        let [
            interval,
            _,
            origin,
            tolerance,
            frozen,
            paused,
            changes,
            stripes,
        ] = &self.0;
        Config {
            interval: load(interval),
            tolerance: load(tolerance),
            frozen: Tick(load(frozen)),
            origin: Tick(load(origin)),
            paused: Tick(load(paused)),
            changes: load(changes),
            stripes: halves(load(stripes)),
        }
    }

    /// How many tokens a lease is, of the configuration that [`pace`](Self::pace) reads.
    pub(super) fn lease(&self) -> u32 {
        let [.., stripes] = &self.0;
        halves(load(stripes)).0
    }

    #[inline]
    pub(super) fn pace(&self) -> Pace {
        let [interval, tolerance, origin, ..] = &self.0;
        Pace {
            interval: load(interval),
            tolerance: load(tolerance),
            origin: Tick(load(origin)),
        }
    }
}

#[inline]
fn load(place: &AtomicU64) -> u64 {
    // Pairs with `Slot::write`.
    place.load(Ordering::Acquire)
}

fn halves(word: u64) -> (u32, u32) {
    // Both fit: one is shifted down, the other is cut out.
    ((word >> 32) as u32, word as u32)
}
