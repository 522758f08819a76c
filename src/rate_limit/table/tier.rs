//! A tier's configuration, as the threads share it. Why in these orders stands at the head of
//! [`super`].

use super::clock::Config;
use super::rate::Rate;
use crate::rate_limit::Quota;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::time::Tick;

/// Two slots, and which of them is in force. Changes are serialised by the mutex; readers take
/// no lock.
pub(super) struct Tier {
    /// How many configurations were installed; its low bit names the slot. Written under the
    /// mutex. Publishes the slot.
    version: AtomicU64,
    slots: [Slot; 2],
    /// The quota as it was asked for.
    control: Mutex<Quota>,
}

impl Tier {
    pub(super) fn new(now: Tick, quota: Quota) -> Self {
        let config = Config::first(now, quota);
        Self {
            version: AtomicU64::new(0),
            slots: [Slot::new(&config), Slot::new(&config)],
            control: Mutex::new(quota),
        }
    }

    /// The configuration in force.
    #[inline]
    pub(super) fn config(&self) -> Config {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let config = self.slot(version).read();
            // The loads of the slot, being Acquire, come before.
            if self.version.load(Ordering::Relaxed) == version {
                return config;
            }
        }
    }

    /// The quota as it was asked for. Takes the lock of changes.
    pub(super) fn quota(&self) -> Quota {
        *self.control.lock()
    }

    /// Changes the quota. `sweep` raises the ends that are below the floor of what it is given,
    /// if that has moved.
    pub(super) fn change(&self, now: Tick, quota: Quota, sweep: impl FnOnce(&Config)) {
        let mut control = self.control.lock();
        *control = quota;
        self.renew_locked(now, sweep);
        self.install(&self.config().changed(now, quota));
    }

    /// Moves the base on, if it must be.
    pub(super) fn renew(&self, now: Tick, sweep: impl FnOnce(&Config)) {
        let _control = self.control.lock();
        self.renew_locked(now, sweep);
    }

    fn renew_locked(&self, now: Tick, sweep: impl FnOnce(&Config)) {
        let old = self.config();
        if old.is_stale(now) {
            let next = old.moved(now);
            self.install(&next);
            sweep(&next);
        }
    }

    /// Under the mutex.
    fn install(&self, config: &Config) {
        // Only written under the mutex: relaxed.
        let next = self.version.load(Ordering::Relaxed).wrapping_add(1);
        self.slot(next).write(config);
        self.version.store(next, Ordering::Release);
    }

    #[inline]
    fn slot(&self, version: u64) -> &Slot {
        &self.slots[usize::from(version & 1 == 1)]
    }
}

/// A configuration that is shared. Written under the mutex while no version names it; published
/// by the version.
struct Slot([AtomicU64; 10]);

impl Slot {
    fn new(config: &Config) -> Self {
        Self(Self::values(config).map(AtomicU64::new))
    }

    fn values(config: &Config) -> [u64; 10] {
        [
            config.since.0,
            config.until.0,
            (config.rate.mul >> 64) as u64,
            config.rate.mul as u64,
            config.from,
            config.base,
            config.tolerance,
            (config.changes << 8) | u64::from(config.rate.shift),
            config.rate.units,
            config.rate.nanos,
        ]
    }

    fn write(&self, config: &Config) {
        for (place, value) in self.0.iter().zip(Self::values(config)) {
            // Pairs with `read`: who sees this sees that the version has moved on.
            place.store(value, Ordering::Release);
        }
    }

    #[inline]
    fn read(&self) -> Config {
        let [
            since,
            until,
            high,
            low,
            from,
            base,
            tolerance,
            packed,
            units,
            nanos,
        ] = &self.0;
        // Pairs with `write`.
        let load = |place: &AtomicU64| place.load(Ordering::Acquire);
        let packed = load(packed);
        Config {
            rate: Rate {
                units: load(units),
                nanos: load(nanos),
                mul: (u128::from(load(high)) << 64) | u128::from(load(low)),
                shift: (packed & 63) as u32,
            },
            tolerance: load(tolerance),
            base: load(base),
            from: load(from),
            since: Tick(load(since)),
            until: Tick(load(until)),
            changes: packed >> 8,
        }
    }
}
