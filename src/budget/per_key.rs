//! A budget per key: an object of its own for each.

use super::Budget;
use super::state::ONE;
use crate::config::{ConfigError, Mode, PolicyKind};
use crate::keyed::{Idle, Key, PerKey, Policies};
use crate::sync::Arc;
use crate::time;

/// Attempts per second. Without it a budget without a floor that was spent would never be evicted.
/// A key that returns later than its burst takes at this rate gets a burst again.
const LEAST_FLOOR: f64 = 0.1;

impl PerKey for Budget {
    type Store<K: ?Sized + Key> = Policies<K, Self>;
    type Entry = ();

    const REJECTS: bool = false;

    const KIND: PolicyKind = PolicyKind::Budget;

    fn mode(&self) -> Mode {
        self.mode()
    }

    fn set_mode(&self, mode: Mode) {
        self.set_mode(mode);
    }

    fn off() -> Result<Self, ConfigError> {
        Self::builder().mode(Mode::Off).build()
    }

    /// If it has what a new one starts with, or was unused for as long as its floor, or
    /// [`LEAST_FLOOR`], takes to give that much, and there is no other handle.
    fn idle(&self) -> Idle {
        if Arc::strong_count(&self.0) > 1 {
            return Idle::No;
        }
        if let Some((throttle, most)) = self.throttle() {
            return match throttle.tokens(most) == most * ONE {
                true => Idle::Fresh,
                false => Idle::No,
            };
        }
        let (now, terms) = (time::now(), self.terms());
        let idle = self.0.account.idle(now);
        let floor = self.0.floor.rate().max(LEAST_FLOOR);
        let given = floor * idle.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // At most a million attempts.
        let burst = (terms.burst() / ONE) as f64;
        let balance = self.0.account.balance(now, terms);
        match balance >= terms.burst() || given >= burst {
            true => Idle::Fresh,
            false => Idle::No,
        }
    }
}
