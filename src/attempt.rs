//! Which attempt this is, and the budget that it came from: what flows from a retry or a hedge
//! down to what runs under it.

use crate::budget::{self, Budget};
use crate::deadline::{Ambient, Attempting};

/// The number of the attempt that is being made here, from 1; none outside of a retry and a
/// hedge. There while the attempt's `call` and its polls run, as a
/// [`Deadline`](crate::Deadline) is.
#[inline]
pub fn attempt() -> Option<u32> {
    let attempt = Ambient::current().attempt;
    (attempt > 0).then_some(attempt)
}

/// The budget of a call that was not given one: its own, or that of the attempt in which it was
/// made. It is looked up for an extra attempt only, so that what flows down counts no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inherited(budget::Number);

impl Inherited {
    /// What the attempt that is being made here draws on; none outside of one, and none where
    /// [`shield`](crate::Deadline::shield) has taken the work out of it.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
        Ambient::current().budget.map(Self)
    }

    #[inline]
    pub(crate) fn number(self) -> budget::Number {
        self.0
    }

    /// The budget; none if whoever made the attempt is gone, and his budget with him.
    #[cold]
    pub(crate) fn budget(self) -> Option<Budget> {
        self.0.budget()
    }
}

/// What one attempt carries down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    number: u32,
    extra: bool,
    budget: Option<budget::Number>,
}

impl Attempt {
    /// The attempt numbered `number` of somebody with `budget`. One that was not asked for is
    /// extra, and so is everything below an extra one.
    #[inline]
    pub(crate) fn new(number: u32, budget: Option<budget::Number>) -> Self {
        Self {
            number,
            extra: number > 1,
            budget,
        }
    }

    /// The same call's attempt numbered `number`.
    #[inline]
    pub(crate) fn numbered(self, number: u32) -> Self {
        Self::new(number, self.budget)
    }

    /// Makes this what is read until the guard is dropped, also by a panic.
    #[inline]
    pub(crate) fn enter(&self) -> Attempting {
        Ambient::attempting(self.number, self.extra, self.budget)
    }
}
