//! A place in the queue.

use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::{Bulkhead, Permit};
use crate::bulkhead::state::{Answer, Turn};
use crate::context::CallContext;
use crate::event::{Ending, EventKind};
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::Arc;
use crate::time::{self, Tick};

/// What somebody gets who would wait.
pub(in crate::bulkhead) enum Entry {
    Admitted(Permit),
    Queued(Place),
}

/// A place in the queue, or the place in flight that it has been handed. Dropping it gives back
/// either.
#[derive(Debug)]
pub(in crate::bulkhead) struct Place {
    bulkhead: Bulkhead,
    // None once it has been told how it ended.
    ticket: Option<u64>,
    /// When the caller came.
    since: Tick,
    /// For how long the place is kept.
    latest: Tick,
}

const ENDED: &str = "polled after it was ready";

impl Bulkhead {
    /// Takes a place, waiting for at most [`max_wait`](super::Builder::max_wait) and the
    /// [deadline](crate::Deadline) in force, and blocking this thread meanwhile. For code that
    /// is not async; it needs no runtime.
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`] at once if the queue is full too, or the bulkhead is closed;
    /// [`RejectionKind::QueueTimeout`] after the wait; [`RejectionKind::Expired`] if it would have to wait and the
    /// deadline has passed.
    pub fn acquire_blocking(&self) -> Result<Permit, Rejection> {
        let mut place = match self.enter(self.max_wait())? {
            Entry::Admitted(permit) => return Ok(permit),
            Entry::Queued(place) => place,
        };
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Some(turn) = place.look(&waker) {
                return turn;
            }
            let now = time::now();
            if now >= place.latest {
                return place.give_up(now);
            }
            time::park_until(place.latest);
        }
    }

    /// Takes a place, or one in the queue.
    #[inline]
    pub(in crate::bulkhead) fn enter(&self, max_wait: Duration) -> Result<Entry, Rejection> {
        let most_queued = self.most_queued(max_wait);
        let machine = &self.0.machine;
        let answer = match most_queued {
            0 => machine.admit(),
            _ => machine.admit_or_queue(),
        };
        let Answer::Queued(ticket) = answer else {
            let held = match answer {
                Answer::Ahead => self.hold(true),
                answer => self.settle(answer, most_queued)?,
            };
            return Ok(Entry::Admitted(Permit::new(self.clone(), held)));
        };
        let now = time::now();
        let mut place = Place {
            bulkhead: self.clone(),
            ticket: Some(ticket),
            since: now,
            latest: now.after(max_wait),
        };
        place.bound(now, CallContext::deadline())?;
        Ok(Entry::Queued(place))
    }
}

impl Place {
    /// Until when it is kept.
    #[cfg(feature = "tokio")]
    pub(super) fn latest(&self) -> Tick {
        self.latest
    }

    /// Reads again what bounds the wait, now that it begins: behind a buffer the call knows
    /// neither the deadline nor that it is an extra attempt, which does not wait.
    #[cfg(feature = "tokio")]
    pub(super) fn begin(&mut self) -> Result<(), Rejection> {
        let CallContext {
            deadline, extra, ..
        } = CallContext::current();
        if !deadline.is_never() {
            self.bound(time::now(), deadline)?;
        }
        let word = match self.ticket {
            Some(ticket) if extra => self.bulkhead.0.machine.quit(ticket),
            _ => None,
        };
        if let Some(word) = word {
            self.ticket = None;
            return Err(self.bulkhead.refuse(word));
        }
        Ok(())
    }

    fn bound(&mut self, now: Tick, deadline: Tick) -> Result<(), Rejection> {
        self.latest = self.latest.min(deadline);
        if now < deadline {
            return Ok(());
        }
        self.give_back();
        let rejection = Rejection::new(RejectionKind::Expired, self.bulkhead.name().clone());
        self.bulkhead.emit_rejected(&rejection);
        Err(rejection)
    }

    /// How the wait ended, if it has; else `waker` is woken when it is this one's turn.
    pub(super) fn look(&mut self, waker: &Waker) -> Option<Result<Permit, Rejection>> {
        let ticket = self.ticket.expect(ENDED);
        let turn = match self.bulkhead.0.machine.look(ticket, waker) {
            Turn::Waits => return None,
            Turn::Handed => Ok(self.admitted()),
            Turn::Closed(word) => Err(self.bulkhead.refuse(word)),
        };
        self.ticket = None;
        Some(turn)
    }

    /// The wait has been too long; unless it is this one's turn in this very moment.
    pub(super) fn give_up(&mut self, now: Tick) -> Result<Permit, Rejection> {
        let ticket = self.ticket.take().expect(ENDED);
        let Some(word) = self.bulkhead.0.machine.quit(ticket) else {
            return Ok(self.admitted());
        };
        let kind = RejectionKind::QueueTimeout {
            limit: u32::from(word.limit()),
            in_flight: word.in_flight(),
            queued: word.queued(),
            waited: now.since(self.since),
        };
        let rejection = Rejection::new(kind, self.bulkhead.name().clone());
        self.bulkhead.emit_rejected(&rejection);
        Err(rejection)
    }

    fn admitted(&self) -> Permit {
        let held = self.bulkhead.hold(true);
        Permit::new(self.bulkhead.clone(), held)
    }

    /// Leaves the queue, or passes on the place that it has been handed. False if it has ended
    /// before.
    fn give_back(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else {
            return false;
        };
        let machine = &self.bulkhead.0.machine;
        if machine.quit(ticket).is_none() {
            if let Some(waker) = machine.leave() {
                waker.wake();
            }
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.give_back() && self.bulkhead.0.listeners.any() {
            let elapsed = time::now().since(self.since);
            let ending = Ending::Dropped;
            self.bulkhead.emit(EventKind::Ended { ending, elapsed });
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
