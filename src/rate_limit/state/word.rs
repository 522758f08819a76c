//! The words that threads share: the debt, and the configurations. [`super`] has the reasons for
//! the orderings.

use super::config::{Config, STALE};
use super::grant::Shortfall;
use crate::rate_limit::quota::UNITS;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Tick;

/// The end of the debt (62 bits), and the generation of the configuration that counts it (2 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    #[inline]
    pub(crate) fn new(tat: u64, changes: u64) -> Self {
        Self((tat << 2) | (changes & 3))
    }

    #[inline]
    pub(crate) fn tat(self) -> u64 {
        self.0 >> 2
    }

    #[inline]
    pub(crate) fn generation(self) -> u64 {
        self.0 & 3
    }
}

/// A configuration that threads share. Written under the mutex while no word names it; published
/// by the word. The values that most admissions need come first.
pub(crate) struct Slot([AtomicU64; 8]);

impl Slot {
    #[inline]
    pub(crate) fn new(config: &Config) -> Self {
        Self(Self::values(config).map(AtomicU64::new))
    }

    fn values(config: &Config) -> [u64; 8] {
        let pace = Pace::of(config);
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

    pub(crate) fn write(&self, config: &Config) {
        for (cell, value) in self.0.iter().zip(Self::values(config)) {
            // Pairs with `load`: a thread that sees this sees that the slot is out of use.
            cell.store(value, Ordering::Release);
        }
    }

    #[inline]
    pub(crate) fn read(&self) -> Config {
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

    /// The tokens of a lease, in the configuration that [`pace`](Self::pace) reads.
    pub(super) fn lease(&self) -> u32 {
        let [.., stripes] = &self.0;
        halves(load(stripes)).0
    }

    #[inline]
    pub(crate) fn pace(&self) -> Pace {
        let [interval, tolerance, origin, ..] = &self.0;
        Pace {
            interval: load(interval),
            tolerance: load(tolerance),
            origin: Tick(load(origin)),
        }
    }
}

#[inline]
fn load(cell: &AtomicU64) -> u64 {
    // Pairs with `Slot::write`.
    cell.load(Ordering::Acquire)
}

fn halves(word: u64) -> (u32, u32) {
    // The high half is shifted down, the low half is cut out.
    ((word >> 32) as u32, word as u32)
}

/// As much of a configuration as decides over a charge for now at a rate that runs, which most
/// admissions are: the first three values of a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// As in [`Config`].
    pub(super) interval: u64,
    /// The burst in units, less what the stripes may hold. 0 if the limiter is stopped or
    /// unlimited, or if its origin is so near the end of time that an instant before the origin
    /// could look like one after it.
    pub(super) tolerance: u64,
    /// As in [`Config`].
    pub(super) origin: Tick,
}

impl Pace {
    fn of(config: &Config) -> Self {
        let runs = !config.is_unlimited() && !config.is_stopped();
        let is_early = config.origin.0 <= u64::MAX - STALE / UNITS;
        Self {
            interval: config.interval,
            tolerance: if runs && is_early { config.ready() } else { 0 },
            origin: config.origin,
        }
    }

    /// Where the debt ends after a charge of `cost`, at least 1, or the shortfall. None if it takes
    /// the whole configuration to decide: without a rate, with a cost above the burst, near the end
    /// of an origin's time.
    #[inline]
    pub(crate) fn charge(&self, tat: u64, now: Tick, cost: u32) -> Option<Result<u64, Shortfall>> {
        // Wraps to a large number if the clock stepped back behind the origin.
        let passed = now.0.wrapping_sub(self.origin.0);
        let units = u64::from(cost).checked_mul(self.interval)?;
        if units > self.tolerance || passed >= STALE / UNITS {
            return None;
        }
        // No sum below overflows: each term fits 62 bits.
        let from = passed * UNITS;
        // Without the time, which the processor has last.
        let due = (tat + units).saturating_sub(self.tolerance);
        if due <= from {
            return Some(Ok(tat.max(from) + units));
        }
        let at = self.origin.0.checked_add(due.div_ceil(UNITS))?;
        Some(Err(Shortfall::until(Tick(at), now)))
    }
}
