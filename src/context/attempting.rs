//! The parts of the context that attempts set. A guard sets and restores its own parts alone, because
//! a call passes several guards.

use std::marker::PhantomData;

use super::{Attempt, CELLS, CallContext};
use crate::policy_id::PolicyId;

/// Restores the attempt that was there before.
#[must_use]
pub(crate) struct Attempting {
    attempt: u32,
    extra: bool,
    budget: Option<PolicyId>,
    not_send: PhantomData<*const ()>,
}

impl Attempt {
    /// Sets this attempt until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Attempting {
        let current = CallContext::current();
        let entered = current.attempting(self);
        CELLS.with(|cells| {
            cells.attempt.set(entered.attempt);
            cells.extra.set(entered.extra);
            cells.budget.set(entered.budget);
        });
        Attempting {
            attempt: current.attempt,
            extra: current.extra,
            budget: current.budget,
            not_send: PhantomData,
        }
    }
}

impl Drop for Attempting {
    #[inline]
    fn drop(&mut self) {
        CELLS.with(|cells| {
            cells.attempt.set(self.attempt);
            cells.extra.set(self.extra);
            cells.budget.set(self.budget);
        });
    }
}

/// Restores the budget that was there before, and its count of successes.
#[cfg(feature = "tower")]
#[must_use]
pub(crate) struct Budgeted {
    budget: Option<PolicyId>,
    successes: u32,
    not_send: PhantomData<*const ()>,
}

#[cfg(feature = "tower")]
impl Budgeted {
    /// Sets the budget of the calls below until the guard is dropped.
    // Not a closure around the call: what it returns would be copied out of it.
    #[inline]
    pub(crate) fn by(budget: PolicyId) -> Self {
        CELLS.with(|cells| Self {
            budget: cells.budget.replace(Some(budget)),
            successes: cells.successes.replace(0),
            not_send: PhantomData,
        })
    }

    /// How many of these calls have succeeded.
    #[inline]
    pub(crate) fn end(self) -> u32 {
        CELLS.with(|cells| cells.successes.get())
    }
}

#[cfg(feature = "tower")]
impl Drop for Budgeted {
    #[inline]
    fn drop(&mut self) {
        CELLS.with(|cells| {
            cells.budget.set(self.budget);
            cells.successes.set(self.successes);
        });
    }
}
