//! Which attempt this is, and the budget that it came from: what flows from a retry or a hedge
//! down to what runs under it.

use std::cell::Cell;

use crate::budget::Budget;
use crate::deadline::{Ambient, Restore};

thread_local! {
    static BUDGET: Cell<Option<Budget>> = const { Cell::new(None) };
}

/// The number of the attempt that is being made here, from 1; none outside of a retry and a
/// hedge. There while the attempt's `call` and its polls run, as a
/// [`Deadline`](crate::Deadline) is.
#[inline]
pub fn attempt() -> Option<u32> {
    let attempt = Ambient::current().attempt;
    (attempt > 0).then_some(attempt)
}

/// The budget of the attempt that is being made here; none outside of one, and none where
/// [`shield`](crate::Deadline::shield) has taken the work out of it.
pub(crate) fn inherited_budget() -> Option<Budget> {
    attempt()?;
    BUDGET.with(|place| {
        let budget = place.take();
        place.set(budget.clone());
        budget
    })
}

/// What one attempt carries down.
#[derive(Debug)]
pub(crate) struct Attempt {
    number: u32,
    extra: bool,
    /// Moved to its place while the attempt runs, so that entering counts no reference.
    budget: Option<Budget>,
}

impl Attempt {
    /// The attempt numbered `number` of somebody with `budget`. One that was not asked for is
    /// extra, and so is everything below an extra one.
    #[inline]
    pub(crate) fn new(number: u32, budget: Option<Budget>) -> Self {
        Self {
            number,
            extra: number > 1,
            budget,
        }
    }

    /// Whose budget this attempt and what is below it draw on; none while it is entered.
    pub(crate) fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }

    /// Makes this what is read until the guard is dropped, also by a panic.
    #[inline]
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        let ambient = Ambient::current();
        let restore = Ambient {
            attempt: self.number,
            extra: self.extra || ambient.extra,
            ..ambient
        }
        .enter();
        let outer = BUDGET.replace(self.budget.take());
        Entered {
            attempt: self,
            outer,
            _restore: restore,
        }
    }
}

#[must_use]
pub(crate) struct Entered<'a> {
    attempt: &'a mut Attempt,
    outer: Option<Budget>,
    _restore: Restore,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        self.attempt.budget = BUDGET.replace(self.outer.take());
    }
}
