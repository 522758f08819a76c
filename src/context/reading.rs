//! The reading of the clock that a layer hands to the service below it.

use std::any::type_name;

use crate::time::{self, Tick};

use super::CELLS;

#[inline]
pub(super) fn address<S>(service: &S) -> usize {
    std::ptr::from_ref(service).addr()
}

/// The time of a call, as far as a layer knows it.
///
/// A layer that has read the clock in its `call` hands the reading to the service that it calls
/// next, so that a stack of layers reads the clock once. Only a service of this crate takes it: it
/// compares its own address and the length of its type name, because a wrapper at the same address
/// has a longer name. Between a reading and its use run only layers of this crate and the closures
/// that they were given. A poll always reads the clock again.
#[derive(Debug)]
pub(crate) struct ClockReading(pub(super) Option<Tick>);

impl ClockReading {
    /// The reading handed to `service`. Must be the first statement of its `call`.
    #[inline]
    pub(crate) fn of<S>(service: &S) -> Self {
        CELLS.with(|cells| {
            let ours = cells.receiver.replace(0) == address(service)
                && cells.receiver_type.get() == type_name::<S>().len();
            Self(ours.then(|| cells.reading.get()))
        })
    }

    /// No reading, for use outside of services.
    #[inline]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The time of the call; reads the clock if there is no reading.
    #[inline]
    pub(crate) fn now(&mut self) -> Tick {
        *self.0.get_or_insert_with(time::now)
    }

    /// Calls `service` and hands it the reading.
    #[inline]
    pub(crate) fn call<S, T>(self, service: &mut S, call: impl FnOnce(&mut S) -> T) -> T {
        // One path for both cases: with two, the returned future is copied once more.
        CELLS.with(|cells| {
            cells.reading.set(self.0.unwrap_or(Tick::ZERO));
            cells.receiver.set(self.0.map_or(0, |_| address(service)));
            cells.receiver_type.set(type_name::<S>().len());
        });
        let _withdraw = Withdraw;
        call(service)
    }
}

/// Withdraws a reading that was not taken: another service may come to stand at that address.
struct Withdraw;

impl Drop for Withdraw {
    #[inline]
    fn drop(&mut self) {
        CELLS.with(|cells| cells.receiver.set(0));
    }
}
