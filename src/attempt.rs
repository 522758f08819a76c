//! Which attempt this is, and the budget that it came from: what flows from a retry or a hedge
//! down to what runs under it.

use crate::budget::{self, Budget};
use crate::deadline::{Ambient, Attempting};

/// The number of the attempt that is being made here, from 1; none outside of a retry and a
/// hedge. There while the attempt's `call` and its polls run, as a
/// [`Deadline`](crate::Deadline) is.
#[inline]
pub fn attempt() -> Option<u32> {
    let attempt = Ambient::attempt();
    (attempt > 0).then_some(attempt)
}

/// The budget of a call that was not given one: its own, or that of the attempt in which it was
/// made. It is looked up for an extra attempt only, so that what flows down counts no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inherited(crate::registry::PolicyId);

impl Inherited {
    /// What the attempt that is being made here draws on; none outside of one, and none where
    /// [`shield`](crate::Deadline::shield) has taken the work out of it.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
        Ambient::budget().map(Self)
    }

    #[inline]
    pub(crate) fn number(self) -> crate::registry::PolicyId {
        self.0
    }

    /// The budget; none if whoever made the attempt is gone, and his budget with him.
    #[cold]
    pub(crate) fn budget(self) -> Option<Budget> {
        Budget::numbered(self.0)
    }
}

/// What one attempt carries down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    number: u32,
    extra: bool,
    budget: Option<crate::registry::PolicyId>,
}

impl Attempt {
    /// The attempt numbered `number` of somebody with `budget`. One that was not asked for is
    /// extra, and so is everything below an extra one.
    #[inline]
    pub(crate) fn new(number: u32, budget: Option<crate::registry::PolicyId>) -> Self {
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

#[cfg(all(test, feature = "tokio", not(seawall_loom)))]
mod tests {
    use super::{Attempt, Inherited, attempt};
    use crate::budget::Budget;
    use crate::deadline::Ambient;

    // RT11: what waits for nothing is an extra attempt, and all that is made below it.
    #[test]
    fn rt11_what_is_below_an_extra_attempt_is_extra() {
        let (outer, inner) = (Budget::percent(10), Budget::percent(10));
        let here = || (attempt(), Ambient::extra(), Inherited::here());
        let of = |budget: &Budget| Some(Inherited(budget.number()));
        assert_eq!(here(), (None, false, None));
        {
            let _entered = Attempt::new(2, Some(outer.number())).enter();
            assert_eq!(here(), (Some(2), true, of(&outer)));
            {
                let _entered = Attempt::new(1, Some(inner.number())).enter();
                assert_eq!(here(), (Some(1), true, of(&inner)));
                let _entered = Attempt::new(3, None).enter();
                assert_eq!(here(), (Some(3), true, None));
            }
            assert_eq!(here(), (Some(2), true, of(&outer)));
        }
        assert_eq!(here(), (None, false, None));
        let _entered = Attempt::new(1, None).enter();
        assert_eq!(here(), (Some(1), false, None));
    }
}
