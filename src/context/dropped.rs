//! Why a call is dropped, for the layers below.

use std::marker::PhantomData;
use std::time::Duration;

use super::CELLS;
use crate::time::Tick;

/// Says to the layers below that a call is dropped by a hedge, because another attempt has won
/// after this one was outstanding for at least the hedge's delay.
#[must_use]
pub(crate) struct Overtaken {
    before: Option<Duration>,
    not_send: PhantomData<*const ()>,
}

impl Overtaken {
    /// Until the guard is dropped.
    pub(crate) fn after(delay: Duration) -> Self {
        Self {
            before: CELLS.with(|cells| cells.overtaken.replace(Some(delay))),
            not_send: PhantomData,
        }
    }

    /// The hedge's delay; none outside of such a drop.
    pub(crate) fn current() -> Option<Duration> {
        CELLS.with(|cells| cells.overtaken.get())
    }
}

impl Drop for Overtaken {
    fn drop(&mut self) {
        CELLS.with(|cells| cells.overtaken.set(self.before));
    }
}

/// Says to the layers below that a timeout drops a call at its deadline. A call behind a buffer
/// learns of that deadline only so. The user's destructors do not see it.
#[must_use]
pub(crate) struct Expired {
    before: Tick,
    not_send: PhantomData<*const ()>,
}

impl Expired {
    /// Until the guard is dropped.
    #[cfg(feature = "tokio")]
    pub(crate) fn at(deadline: Tick) -> Self {
        Self {
            before: CELLS.with(|cells| cells.expired.replace(deadline)),
            not_send: PhantomData,
        }
    }

    /// A call that is dropped so is not late through the service: the caller's request body was
    /// not there.
    #[cfg(all(feature = "http", feature = "tower"))]
    pub(crate) fn excuse() {
        if !Self::deadline().is_never() {
            CELLS.with(|cells| cells.excused.set(true));
        }
    }

    /// Whether such a call is excused.
    pub(crate) fn is_excused() -> bool {
        CELLS.with(|cells| cells.excused.get())
    }

    /// The deadline; never outside of such a drop.
    pub(crate) fn deadline() -> Tick {
        CELLS.with(|cells| cells.expired.get())
    }
}

impl Drop for Expired {
    fn drop(&mut self) {
        CELLS.with(|cells| {
            cells.expired.set(self.before);
            cells.excused.set(false);
        });
    }
}
