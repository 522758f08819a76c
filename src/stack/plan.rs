//! What the policies of a stack are made by, and made by anew.
//!
//! Nothing of a user's runs under the lock. So two changes may be carried out at once, and the
//! earlier one may be the later to reach a policy: whoever has carried one out looks whether
//! there is a newer one by then, and if so does it again, by that.

use crate::config::ConfigError;
use crate::sync::{Arc, Mutex};

pub(super) struct Plan<C>(Mutex<Versioned<C>>);

struct Versioned<C> {
    version: u64,
    config: Arc<C>,
}

impl<C> Plan<C> {
    pub(super) fn new(config: C) -> Self {
        Self(Mutex::new(Versioned {
            version: 0,
            config: Arc::new(config),
        }))
    }

    pub(super) fn version(&self) -> u64 {
        self.0.lock().version
    }

    pub(super) fn config(&self) -> Arc<C> {
        Arc::clone(&self.0.lock().config)
    }

    /// Makes the next version by `to`, which has no code of a user's.
    pub(super) fn change(
        &self,
        to: impl FnOnce(&C) -> Result<C, ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut plan = self.0.lock();
        let config = Arc::new(to(&plan.config)?);
        let before = std::mem::replace(&mut plan.config, config);
        plan.version += 1;
        drop(plan);
        // It may own what was a user's.
        drop(before);
        Ok(())
    }

    /// Carries out the newest version, and again if it was not the newest any more.
    pub(super) fn carry_out(&self, apply: impl Fn(&C)) {
        loop {
            let (version, config) = {
                let plan = self.0.lock();
                (plan.version, Arc::clone(&plan.config))
            };
            apply(&config);
            if self.version() == version {
                return;
            }
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::cell::RefCell;

    use super::Plan;

    // CX19: of two changes at once, the one that is carried out last may be the older.
    #[test]
    fn cx19_whoever_is_overtaken_carries_out_what_is_newest() {
        let plan = Plan::new(0);
        plan.change(|_| Ok(1)).unwrap();
        let seen = RefCell::new(Vec::new());
        plan.carry_out(|config| {
            if seen.borrow().is_empty() {
                plan.change(|now| Ok(now + 1)).unwrap();
            }
            seen.borrow_mut().push(*config);
        });
        assert_eq!(*seen.borrow(), [1, 2]);
    }
}
