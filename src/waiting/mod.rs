//! A call that waits for its permit: as a future, or on its own thread.

#[cfg(feature = "tokio")]
mod acquire;

use std::task::Waker;

#[cfg(feature = "tower")]
pub(crate) use acquire::Waiting;
#[cfg(feature = "tokio")]
pub(crate) use acquire::{Acquire, Queued};

use crate::rejection::Rejection;
use crate::time::{self, Tick};

/// A position in the queue of a policy. Dropping it leaves the queue.
#[allow(unreachable_pub)] // Named by the futures of calls that wait.
pub trait Waiter {
    type Permit;

    /// What the first poll of a future finds, in the task that polls it.
    ///
    /// # Errors
    /// If that ends the wait.
    #[cfg(feature = "tokio")]
    fn first_poll(&mut self) -> Result<(), Rejection>;

    /// That of the caller.
    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick;

    /// How the wait ended, if it has. If not, `waker` is woken when it does, and at the returned
    /// instant at the latest it is to be polled again.
    fn poll(&mut self, waker: &Waker, now: Tick) -> Progress<Self::Permit>;
}

#[allow(unreachable_pub)]
pub enum Progress<P> {
    Ended(Result<P, Rejection>),
    Waits(Tick),
}

/// Waits and blocks this thread meanwhile.
pub(crate) fn block_on<W: Waiter>(mut waiter: W) -> Result<W::Permit, Rejection> {
    let waker = time::unparker();
    loop {
        match waiter.poll(&waker, time::now()) {
            Progress::Ended(ended) => return ended,
            Progress::Waits(until) => time::park_until(until),
        }
    }
}
