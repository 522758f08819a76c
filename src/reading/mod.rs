//! One reading of the clock for a nest of calls.
//!
//! A layer that has read the clock in its `call` hands the reading to the service that it calls
//! next. That service takes it if it is one of the crate's, and nobody else does: it is known by
//! its place and by the length of its type's name, since what wraps it at the same place has a
//! longer one. So between a reading and its use run only layers of the crate, and the functions
//! that they were given (what copies a request, what it costs): it is older by what those take.
//! Below any other service, whatever that does before it calls on, the clock is read anew, and so
//! it is in every poll.
//!
//! What a layer has read when the call below it was over goes the other way, from its future to
//! that of the layer which polled it, known by its place and its type's name too.

use std::any::type_name;
use std::cell::Cell;
use std::marker::PhantomData;

use crate::time::{self, Count, Tick};

struct Handed {
    tick: Cell<Tick>,
    /// The address of the service it is for; zero if it was taken or withdrawn.
    place: Cell<usize>,
    name: Cell<usize>,
}

thread_local! {
    static HANDED: Handed = const { Handed {
        tick: Cell::new(Tick::ZERO),
        place: Cell::new(0),
        name: Cell::new(0),
    } };
}

#[inline]
fn place<S>(service: &S) -> usize {
    std::ptr::from_ref(service).addr()
}

/// What a layer knows of the time of its call: nothing, until it was handed a reading or made
/// one.
#[derive(Debug)]
pub(crate) struct Reading(Option<Tick>);

impl Reading {
    /// What was handed to `service`, in the first line of its `call`.
    #[inline]
    pub(crate) fn of<S>(service: &S) -> Self {
        HANDED.with(|handed| {
            let ours = handed.place.replace(0) == place(service)
                && handed.name.get() == type_name::<S>().len();
            Self(ours.then(|| handed.tick.get()))
        })
    }

    /// Outside of any service.
    #[inline]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The time of the call; reads the clock if nobody has.
    #[inline]
    pub(crate) fn now(&mut self) -> Tick {
        *self.0.get_or_insert_with(time::now)
    }

    /// As [`time::recent`], but for a reading that is there.
    #[inline]
    pub(crate) fn recent(&self) -> Tick {
        self.0.unwrap_or_else(time::recent)
    }

    /// Calls `service`, and hands it what is known.
    #[inline]
    pub(crate) fn call<S, T>(self, service: &mut S, call: impl FnOnce(&mut S) -> T) -> T {
        // One path for both cases: with two, the future that comes back is copied once more.
        HANDED.with(|handed| {
            handed.tick.set(self.0.unwrap_or(Tick::ZERO));
            handed.place.set(self.0.map_or(0, |_| place(service)));
            handed.name.set(type_name::<S>().len());
        });
        let _withdraw = Withdraw;
        call(service)
    }
}

/// A reading that was not taken is nobody's any more: another service may come to stand at that
/// place.
struct Withdraw;

impl Drop for Withdraw {
    #[inline]
    fn drop(&mut self) {
        HANDED.with(|handed| handed.place.set(0));
    }
}

struct Ended {
    count: Cell<u64>,
    /// The address of the future that has handed it up; zero if there is none.
    place: Cell<usize>,
    name: Cell<usize>,
}

thread_local! {
    static ENDED: Ended = const { Ended {
        count: Cell::new(0),
        place: Cell::new(0),
        name: Cell::new(0),
    } };
}

/// Where a future is while it is polled.
#[derive(Debug)]
pub(crate) struct FutureAt<F>(usize, PhantomData<fn(F)>);

impl<F> FutureAt<F> {
    #[inline]
    pub(crate) fn of(future: &F) -> Self {
        Self(place(future), PhantomData)
    }

    /// Forgets what was handed up before: it is not of the poll that follows.
    #[inline]
    pub(crate) fn begin(&self) {
        ENDED.with(|ended| ended.place.set(0));
    }

    /// Hands up what was read when the call of this future had ended.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn end(&self, count: Count) {
        ENDED.with(|ended| {
            ended.count.set(count.0);
            ended.place.set(self.0);
            ended.name.set(type_name::<F>().len());
        });
    }

    /// What this future handed up since it was begun.
    #[inline]
    pub(crate) fn ended(&self) -> Option<Tick> {
        ENDED.with(|ended| {
            let ours = ended.place.get() == self.0 && ended.name.get() == type_name::<F>().len();
            ours.then(|| Count(ended.count.get()).tick())
        })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
