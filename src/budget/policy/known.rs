//! Budgets by number: what flows down to the policies below an attempt is a number, because a
//! handle would count a reference for every call. It is looked up for an extra attempt only.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::{Budget, Shared};
use crate::sync::{Arc, Mutex, OnceLock, Weak};

/// Which budget it is; no two in the life of a process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(NonZeroU64);

#[derive(Default)]
struct Known {
    made: u64,
    budgets: BTreeMap<Number, Weak<Shared>>,
}

/// Locked when a budget is made and dropped, and when one is looked up.
fn known() -> &'static Mutex<Known> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    KNOWN.get_or_init(|| Mutex::new(Known::default()))
}

pub(super) fn add(shared: impl FnOnce(Number) -> Shared) -> Budget {
    let mut known = known().lock();
    known.made += 1;
    let number = Number(NonZeroU64::new(known.made).expect("counted up from zero"));
    let shared = Arc::new(shared(number));
    known.budgets.insert(number, Arc::downgrade(&shared));
    Budget(shared)
}

impl Number {
    /// The budget, if anybody still has it.
    pub(crate) fn budget(self) -> Option<Budget> {
        // Not one expression: the last handle may be this one, and its drop locks again.
        let found = known().lock().budgets.get(&self).and_then(Weak::upgrade);
        found.map(Budget)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        known().lock().budgets.remove(&self.number);
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::known;
    use crate::budget::Budget;

    #[test]
    fn a_budget_is_known_for_as_long_as_somebody_has_it() {
        let budget = Budget::percent(10);
        let (number, clone) = (budget.0.number, budget.clone());
        drop(budget);
        assert!(
            number
                .budget()
                .is_some_and(|found| found.0.number == number)
        );
        drop(clone);
        assert!(number.budget().is_none());
        assert!(!known().lock().budgets.contains_key(&number));
    }
}
