//! What flows down a task, and where it is kept.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::budget;
use crate::time::Tick;

/// What flows down a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambient {
    /// The earliest deadline.
    pub(crate) deadline: Tick,
    /// The earliest deadline that a timeout or shield further up enforces with a timer. A deadline
    /// that was only handed on (by `scope`) is enforced by the first timeout under it.
    pub(crate) enforced: Tick,
    /// Which attempt of a retry or a hedge this is, from 1; 0 outside of any.
    pub(crate) attempt: u32,
    /// Whether this attempt is one more than was asked for: nothing waits on its behalf.
    pub(crate) extra: bool,
    /// The budget of the attempt.
    pub(crate) budget: Option<crate::registry::PolicyId>,
}

/// Where it is kept. A cell for each part, so that whoever sets one part moves no other: a wide
/// load of what was just stored in parts has to wait until the stores are done.
struct Place {
    deadline: Cell<Tick>,
    enforced: Cell<Tick>,
    attempt: Cell<u32>,
    extra: Cell<bool>,
    budget: Cell<Option<crate::registry::PolicyId>>,
}

thread_local! {
    static AMBIENT: Place = const { Place {
        deadline: Cell::new(Tick::NEVER),
        enforced: Cell::new(Tick::NEVER),
        attempt: Cell::new(0),
        extra: Cell::new(false),
        budget: Cell::new(None),
    } };
}

impl Ambient {
    #[cfg(feature = "tokio")]
    pub(super) const NONE: Self = Self {
        deadline: Tick::NEVER,
        enforced: Tick::NEVER,
        attempt: 0,
        extra: false,
        budget: None,
    };

    // Each part by itself, because most ask for one, and a copy of the whole waits for all.
    #[inline(always)]
    pub(crate) fn deadline() -> Tick {
        AMBIENT.with(|place| place.deadline.get())
    }

    #[cfg(feature = "tokio")]
    #[inline(always)]
    pub(crate) fn enforced() -> Tick {
        AMBIENT.with(|place| place.enforced.get())
    }

    #[inline(always)]
    pub(crate) fn attempt() -> u32 {
        AMBIENT.with(|place| place.attempt.get())
    }

    #[inline(always)]
    pub(crate) fn extra() -> bool {
        AMBIENT.with(|place| place.extra.get())
    }

    #[inline(always)]
    pub(crate) fn budget() -> Option<crate::registry::PolicyId> {
        AMBIENT.with(|place| place.budget.get())
    }

    #[inline]
    pub(crate) fn current() -> Self {
        AMBIENT.with(|place| Self {
            deadline: place.deadline.get(),
            enforced: place.enforced.get(),
            attempt: place.attempt.get(),
            extra: place.extra.get(),
            budget: place.budget.get(),
        })
    }

    #[inline]
    fn set(self) {
        AMBIENT.with(|place| {
            place.deadline.set(self.deadline);
            place.enforced.set(self.enforced);
            place.attempt.set(self.attempt);
            place.extra.set(self.extra);
            place.budget.set(self.budget);
        });
    }

    /// Only ever earlier.
    #[inline]
    pub(super) fn within(self, deadline: Tick) -> Self {
        Self {
            deadline: self.deadline.min(deadline),
            ..self
        }
    }

    /// Makes this what is read until the guard is dropped, also by a panic.
    #[inline]
    pub(crate) fn enter(self) -> Restore {
        let before = Self::current();
        self.set();
        Restore {
            before,
            not_send: PhantomData,
        }
    }

    /// Sets a deadline that the caller enforces with a timer, until the guard is dropped.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn enforce(deadline: Tick) -> Enforcing {
        AMBIENT.with(|place| {
            let before = (place.deadline.get(), place.enforced.get());
            place.deadline.set(before.0.min(deadline));
            place.enforced.set(before.1.min(deadline));
            Enforcing {
                before,
                not_send: PhantomData,
            }
        })
    }

    /// Sets which attempt this is, until the guard is dropped.
    #[inline]
    pub(crate) fn attempting(
        number: u32,
        extra: bool,
        budget: Option<crate::registry::PolicyId>,
    ) -> Attempting {
        AMBIENT.with(|place| Attempting {
            before: (
                place.attempt.replace(number),
                place.extra.replace(place.extra.get() || extra),
                place.budget.replace(budget),
            ),
            not_send: PhantomData,
        })
    }
}

#[must_use]
pub(crate) struct Restore {
    before: Ambient,
    not_send: PhantomData<*const ()>,
}

impl Drop for Restore {
    #[inline]
    fn drop(&mut self) {
        self.before.set();
    }
}

/// Takes back what [`Ambient::enforce`] has set.
#[cfg(feature = "tokio")]
#[must_use]
pub(crate) struct Enforcing {
    before: (Tick, Tick),
    not_send: PhantomData<*const ()>,
}

#[cfg(feature = "tokio")]
impl Drop for Enforcing {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.with(|place| {
            place.deadline.set(self.before.0);
            place.enforced.set(self.before.1);
        });
    }
}

/// Takes back what [`Ambient::attempting`] has set.
#[must_use]
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
pub(crate) struct Attempting {
    before: (u32, bool, Option<crate::registry::PolicyId>),
    not_send: PhantomData<*const ()>,
}

impl Drop for Attempting {
    #[inline]
    fn drop(&mut self) {
        AMBIENT.with(|place| {
            place.attempt.set(self.before.0);
            place.extra.set(self.before.1);
            place.budget.set(self.before.2);
        });
    }
}
