//! A call that waits in the queue.

use std::task::Waker;
use std::time::Duration;

use super::state::{Admission, WaiterId, WaiterState, Word};
use super::{Bulkhead, Permit};
use crate::context::CallContext;
use crate::counters::Count;
use crate::event::Ending;
use crate::rejection::{Rejection, RejectionKind};
use crate::time::{self, Tick};
use crate::waiting::{Progress, block_on};

/// A position in the queue, or the permit that was handed to it. Dropping it gives back either.
#[derive(Debug)]
#[allow(unreachable_pub)] // Named by the future of a layer that waits.
pub struct Waiter {
    bulkhead: Bulkhead,
    /// None once the wait has ended.
    id: Option<WaiterId>,
    since: Tick,
    /// When it ends: after the longest wait, or at an earlier deadline.
    until: Tick,
    /// The caller's deadline.
    deadline: Tick,
}

const ENDED: &str = "polled after it was ready";

impl Bulkhead {
    /// Waits for a permit and blocks this thread meanwhile, for at most
    /// [`max_wait`](super::Builder::max_wait) and until the [deadline](crate::Deadline) in force.
    /// For code that is not async; it needs no runtime.
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`] at once if the queue is full too, or the bulkhead is
    /// closed; [`RejectionKind::QueueTimeout`] after the wait; [`RejectionKind::Expired`] if it
    /// would have to wait and the deadline has passed.
    pub fn acquire_blocking(&self) -> Result<Permit, Rejection> {
        self.enter(None)?.or_else(block_on)
    }

    /// Admits a call, or queues it. `max_wait` replaces the longest wait of the configuration.
    #[inline(always)]
    pub(super) fn enter(
        &self,
        max_wait: Option<Duration>,
    ) -> Result<Result<Permit, Waiter>, Rejection> {
        let counted = match self.machine().admit() {
            Admission::Admitted => true,
            other => match self.enter_full(other, max_wait)? {
                Ok(counted) => counted,
                Err(waiter) => return Ok(Err(waiter)),
            },
        };
        Ok(Ok(Permit::admitted(self.clone(), counted)))
    }

    /// The rest of [`enter`](Self::enter), for a call that was not admitted within the limit. The
    /// configuration is read only here. Returns whether an admitted call is counted.
    #[cold]
    fn enter_full(
        &self,
        mut decision: Admission,
        max_wait: Option<Duration>,
    ) -> Result<Result<bool, Waiter>, Rejection> {
        let (max_wait, max_queued) = self.wait_bounds(max_wait);
        let mut now = Tick::ZERO;
        let mut until = Tick::ZERO;
        // A call that finds the queue full neither reads the clock nor takes the lock.
        if matches!(decision, Admission::Full(word) if !word.rejects(max_queued)) {
            now = time::now();
            until = now.after(max_wait);
            self.take_over(now, None);
            decision = self.machine().admit_or_queue(max_queued, until);
        }
        let Admission::Queued(id) = decision else {
            return self.decided(decision, Some(max_queued)).map(Ok);
        };
        let mut waiter = Waiter {
            bulkhead: self.clone(),
            id: Some(id),
            since: now,
            until,
            deadline: Tick::NEVER,
        };
        self.common().cells().count(Count::QUEUED);
        waiter.end_by(CallContext::deadline(), now)?;
        Ok(Err(waiter))
    }

    /// Passes on the permits of waiters that were not polled until their wait ended.
    fn take_over(&self, now: Tick, except: Option<WaiterId>) {
        let admitted = self.machine().take_over(now, except);
        admitted.into_iter().for_each(Waker::wake);
    }
}

impl crate::waiting::Waiter for Waiter {
    type Permit = Permit;

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        self.deadline
    }

    /// A call behind a buffer was made in another task, where neither its deadline nor whether it is
    /// an extra attempt could be seen. The first poll sees both: the deadline bounds the wait, and an
    /// extra attempt does not wait.
    #[cfg(feature = "tokio")]
    fn first_poll(&mut self) -> Result<(), Rejection> {
        let deadline = CallContext::unenforced();
        if !deadline.is_never() {
            self.end_by(deadline, time::now())?;
        }
        // A permit that it was handed meanwhile goes to the next waiter.
        if CallContext::extra() && self.give_back() {
            self.waited(self.since);
            let word = self.bulkhead.machine().word();
            return Err(self.reject_full(word));
        }
        Ok(())
    }

    fn poll(&mut self, waker: &Waker, now: Tick) -> Progress<Permit> {
        let id = self.id.expect(ENDED);
        let ended = match self.bulkhead.machine().poll_waiter(id, self.until, waker) {
            WaiterState::Waiting if now < self.until => return Progress::Waits(self.until),
            WaiterState::Waiting => self.time_out(now),
            WaiterState::Admitted => self.admitted(),
            WaiterState::Closed(word) => Err(self.reject_full(word)),
            WaiterState::TakenOver(word) => Err(self.timed_out(word, now)),
        };
        self.id = None;
        self.waited(now);
        Progress::Ended(ended)
    }
}

impl Waiter {
    /// Counts the wait, which has ended.
    fn waited(&self, now: Tick) {
        self.bulkhead.common().cells().time(now.since(self.since));
    }

    /// Ends the wait at `deadline` at the latest. If that has passed, rejects the call.
    fn end_by(&mut self, deadline: Tick, now: Tick) -> Result<(), Rejection> {
        self.until = self.until.min(deadline);
        self.deadline = self.deadline.min(deadline);
        if now < deadline {
            return Ok(());
        }
        if self.give_back() {
            self.waited(now);
        }
        Err(self.bulkhead.reject(RejectionKind::Expired))
    }

    /// Ends a wait that has taken too long. The call is admitted if it has just got a permit, or
    /// gets one that another waiter has not collected.
    pub(super) fn time_out(&mut self, now: Tick) -> Result<Permit, Rejection> {
        let id = self.id.take().expect(ENDED);
        self.bulkhead.take_over(now, Some(id));
        match self.bulkhead.machine().cancel(id) {
            None => self.admitted(),
            Some(word) => Err(self.timed_out(word, now)),
        }
    }

    fn reject_full(&self, word: Word) -> Rejection {
        self.bulkhead.reject_full(word, Some(word.queued()))
    }

    fn timed_out(&self, word: Word, now: Tick) -> Rejection {
        self.bulkhead.reject(RejectionKind::QueueTimeout {
            limit: word.limit(),
            in_flight: word.in_flight(),
            queued: word.queued(),
            waited: now.since(self.since),
        })
    }

    /// The permit that was handed to the waiter. If the deadline of its caller has passed by now, it
    /// goes to the next waiter.
    fn admitted(&self) -> Result<Permit, Rejection> {
        if self.deadline.is_never() || time::now() < self.deadline {
            return Ok(Permit::counted(self.bulkhead.clone()));
        }
        self.bulkhead.free_permit();
        Err(self.bulkhead.reject(RejectionKind::Expired))
    }

    /// Leaves the queue, or passes on the permit that it was handed. False if the wait ended
    /// before.
    fn give_back(&mut self) -> bool {
        let Some(id) = self.id.take() else {
            return false;
        };
        if self.bulkhead.machine().cancel(id).is_none() {
            self.bulkhead.free_permit();
        }
        true
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.give_back() {
            let now = time::now();
            self.waited(now);
            // Every call counts as admitted or rejected, and this one was not rejected.
            let common = self.bulkhead.common();
            common.admitted();
            common.ended(Ending::Dropped, || now.since(self.since));
        }
    }
}
