//! The deadline of a call that is under a timer.

use std::marker::PhantomData;

use super::{CELLS, CallContext};
use crate::time::Tick;

impl CallContext {
    /// Sets a deadline that the caller enforces with a timer, until the guard is dropped.
    // The two cells alone: a timeout does this for each call and each poll.
    #[inline]
    pub(crate) fn enforce(deadline: Tick) -> Enforcing {
        CELLS.with(|cells| {
            let before = (cells.deadline.get(), cells.enforced.get());
            cells.deadline.set(before.0.min(deadline));
            cells.enforced.set(before.1.min(deadline));
            Enforcing {
                before,
                not_send: PhantomData,
            }
        })
    }
}

/// Restores the deadlines that were there before.
#[must_use]
pub(crate) struct Enforcing {
    /// The earliest one, and the earliest that is enforced.
    before: (Tick, Tick),
    not_send: PhantomData<*const ()>,
}

impl Drop for Enforcing {
    #[inline]
    fn drop(&mut self) {
        CELLS.with(|cells| {
            cells.deadline.set(self.before.0);
            cells.enforced.set(self.before.1);
        });
    }
}
