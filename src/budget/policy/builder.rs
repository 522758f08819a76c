//! Making a budget.

use std::panic::Location;

use super::{Budget, MOST_BURST, REGISTRY, Refill, Shared, Terms, check_ratio, floor, thousandths};
use crate::budget::state::Account;
use crate::config::{ConfigError, Mode, Name, Problems};
use crate::rate_limit::Bucket;
use crate::sync::AtomicU64;
use crate::time;

/// Builds a [`Budget`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: Name,
    ratio: f64,
    burst: u32,
    floor: u32,
    refill: Refill,
    mode: Mode,
}

impl Builder {
    pub(super) fn new(place: &Location<'_>) -> Self {
        Self {
            name: Name::at("budget", place),
            ratio: 0.1,
            burst: 10,
            floor: 1,
            refill: Refill::Calls,
            mode: Mode::Enforce,
        }
    }

    /// The name; by default `budget@` and the place of the builder.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// Extra attempts per call, 0 to 1, kept to the thousandth; 0.1 if not set.
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// How many attempts are there at the start and kept over an epoch; 10 if not set.
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// How many attempts a second there are when the balance is short; 1 if not set, 0 for
    /// none.
    pub fn floor(mut self, per_second: u32) -> Self {
        self.floor = per_second;
        self
    }

    /// What adds to it; every original call if not set.
    pub fn refill(mut self, refill: Refill) -> Self {
        self.refill = refill;
        self
    }

    /// The mode to start in; enforced if not set.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The budget, with its burst in it.
    ///
    /// # Errors
    /// Everything that is wrong with the numbers.
    pub fn build(self) -> Result<Budget, ConfigError> {
        let mut problems = Problems::default();
        check_ratio(self.ratio, &mut problems);
        let allowed = format!("at most {MOST_BURST}");
        problems.check(self.burst <= MOST_BURST, "burst", self.burst, allowed);
        problems.finish(&self.name)?;
        Ok(self.assemble())
    }

    pub(super) fn assemble(self) -> Budget {
        let now = time::now();
        let terms = Terms::new(thousandths(self.ratio), self.burst, self.mode);
        let bucket = Bucket::new(now, floor(self.floor));
        // From empty, so that the floor gives nothing that its seconds have not brought.
        let _ = bucket.take(now, now, 1, now);
        Budget(REGISTRY.add(|number| Shared {
            name: self.name,
            number,
            terms: AtomicU64::new(terms.0),
            refill: self.refill,
            account: Account::new(now, terms),
            floor: bucket,
            made: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }))
    }
}
