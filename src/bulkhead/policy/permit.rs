//! A place in flight.

use std::borrow::Borrow;
use std::fmt;

use super::Bulkhead;
use crate::bulkhead::state::{Answer, Word};
use crate::event::{Ending, EventKind};
use crate::in_flight::Settle;
use crate::rejection::Rejection;
use crate::time::{self, Tick};

/// A place in flight, held until it is [released](Self::release) or dropped.
///
/// However it ends, its place is free at once, or goes to the first who queues; only what
/// listeners are told differs.
#[must_use = "a permit that is dropped holds no place"]
pub struct Permit<B: Borrow<Bulkhead> = Bulkhead> {
    bulkhead: B,
    // None once it has ended.
    held: Option<Held>,
}

/// What is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Whether there is a place to give back; none if the bulkhead was off.
    counted: bool,
    /// When the call was admitted; zero where nobody needed to know.
    start: Tick,
}

impl<B: Borrow<Bulkhead>> Permit<B> {
    pub(super) fn new(bulkhead: B, held: Held) -> Self {
        let held = Some(held);
        Self { bulkhead, held }
    }

    /// The call has come back: its place is free. Listeners are told
    /// [`Completed`](Ending::Completed), where a drop tells them [`Dropped`](Ending::Dropped).
    #[inline]
    pub fn release(mut self) {
        self.end(Ending::Completed);
    }

    /// As [`release`](Self::release), where it is.
    // The common end, into the future that comes to it.
    #[inline(always)]
    pub(in crate::bulkhead) fn settle(&mut self) {
        if let Some(held) = self.held.take() {
            self.bulkhead.borrow().end(held, Ending::Completed);
        }
    }

    #[inline]
    fn end(&mut self, ending: Ending) {
        if let Some(held) = self.held.take() {
            self.bulkhead.borrow().end(held, ending);
        }
    }
}

impl<B: Borrow<Bulkhead>> Settle for Permit<B> {
    fn panicked(mut self) {
        self.end(Ending::Panicked);
    }
}

impl<B: Borrow<Bulkhead>> Drop for Permit<B> {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

impl<B: Borrow<Bulkhead>> fmt::Debug for Permit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("bulkhead", self.bulkhead.borrow().name())
            .finish_non_exhaustive()
    }
}

impl Bulkhead {
    /// Takes a place if there is one and nobody queues. Never waits.
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull).
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<&Self>, Rejection> {
        let held = self.admit()?;
        Ok(Permit::new(self, held))
    }

    /// As [`try_acquire`](Self::try_acquire), for a permit that outlives this handle.
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull).
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<Permit, Rejection> {
        self.clone().into_permit()
    }

    #[inline]
    pub(in crate::bulkhead) fn into_permit(self) -> Result<Permit, Rejection> {
        let held = self.admit()?;
        Ok(Permit::new(self, held))
    }

    #[inline]
    fn admit(&self) -> Result<Held, Rejection> {
        match self.0.machine.admit() {
            Answer::Ahead => Ok(self.hold(true)),
            answer => self.settle(answer, 0),
        }
    }

    /// What comes of an answer to somebody who does not queue, or may have queued behind fewer
    /// than `most_queued`.
    #[cold]
    pub(super) fn settle(&self, answer: Answer, most_queued: u32) -> Result<Held, Rejection> {
        match answer {
            Answer::Ahead => Ok(self.hold(true)),
            Answer::Above(word) => {
                if is_beyond(word, most_queued) {
                    self.record(word);
                }
                Ok(self.hold(true))
            }
            Answer::Unseen => Ok(Held {
                counted: false,
                start: Tick::ZERO,
            }),
            Answer::Full(word) => Err(self.refuse(word)),
            Answer::Queued(_) => unreachable!("who does not ask to queue does not"),
        }
    }

    /// A call that is in flight from now on.
    #[inline]
    pub(super) fn hold(&self, counted: bool) -> Held {
        let start = match self.0.listeners.any() {
            true => time::now(),
            false => Tick::ZERO,
        };
        Held { counted, start }
    }

    #[inline]
    fn end(&self, held: Held, ending: Ending) {
        if !held.counted {
            return;
        }
        if let Some(waker) = self.0.machine.leave() {
            waker.wake();
        }
        if self.0.listeners.any() {
            let elapsed = match held.start {
                Tick::ZERO => std::time::Duration::ZERO,
                start => time::now().since(start),
            };
            self.emit(EventKind::Ended { ending, elapsed });
        }
    }
}

/// Whether a call that was let ahead above the limit would have found the queue full: those
/// above the limit are those who would be in it.
fn is_beyond(word: Word, most_queued: u32) -> bool {
    let limit = u32::from(word.limit());
    limit == 0 || word.in_flight().saturating_sub(limit) >= most_queued
}
