//! The permit of one call in flight.

use std::borrow::Borrow;
#[cfg(all(feature = "http", feature = "tower"))]
use std::fmt;
use std::time::Duration;

use super::Bulkhead;
use super::state::{Admission, Word};
use crate::common::Common;
use crate::context::CallContext;
#[cfg(all(feature = "http", feature = "tower"))]
use crate::context::{offer, offered};
use crate::event::Ending;
use crate::in_flight::Settle;
use crate::macros::debug_fields;
use crate::rejection::{Rejection, RejectionKind};
#[cfg(all(feature = "http", feature = "tower"))]
use crate::sync::{Arc, Mutex};
use crate::time::{self, Tick};

const UNUSED_QUEUE: &str = "its queue is not used by a layer or call that does not wait";
const NO_QUEUE: &str = "the layer or call may wait, and it has no queue";

/// The permit of one call, held until it is [released](Self::release) or dropped.
///
/// Either way the permit is free at once, or goes to the next waiter. Only the event differs.
#[must_use = "a permit that is dropped is released"]
pub struct Permit<B: Borrow<Bulkhead> = Bulkhead> {
    /// None if the call is not counted in flight: once it has ended, and if it began while the
    /// bulkhead was off.
    pub(super) bulkhead: Option<B>,
    /// The share of the permit that the call's request carries, if it does. The permit moves into it
    /// at the end of the call, while work that outlives the call still holds it.
    #[cfg(all(feature = "http", feature = "tower"))]
    shared: Option<SharedPermit>,
    /// When the call was admitted; none if there was no listener to report the time to.
    start: Option<Tick>,
}

impl<B: Borrow<Bulkhead>> Permit<B> {
    /// The permit of a call that the machine has counted.
    // Inlined with the next ones, so that the permit is built where it stays.
    #[inline(always)]
    pub(super) fn counted(bulkhead: B) -> Self {
        bulkhead.borrow().common().admitted();
        let start = match bulkhead.borrow().common().observed() {
            true => Some(time::now_observed()),
            false => None,
        };
        Self {
            bulkhead: Some(bulkhead),
            #[cfg(all(feature = "http", feature = "tower"))]
            shared: None,
            start,
        }
    }

    /// The permit of a call that the machine has not counted.
    fn uncounted() -> Self {
        Self {
            bulkhead: None,
            #[cfg(all(feature = "http", feature = "tower"))]
            shared: None,
            start: None,
        }
    }

    /// The permit of a call that was admitted.
    #[inline(always)]
    pub(super) fn admitted(bulkhead: B, counted: bool) -> Self {
        match counted {
            true => Self::counted(bulkhead),
            false => Self::uncounted(),
        }
    }

    /// Admits a call that does not wait.
    // `decided` returns no permit: what a function returns by its address stays in memory.
    #[inline(always)]
    pub(super) fn admit(bulkhead: B) -> Result<Self, Rejection> {
        let counted = match bulkhead.borrow().machine().admit() {
            Admission::Admitted => true,
            other => bulkhead.borrow().decided(other, None)?,
        };
        Ok(Self::admitted(bulkhead, counted))
    }

    /// Ends the call. The event says [`Completed`](Ending::Completed); after a drop it says
    /// [`Dropped`](Ending::Dropped).
    #[inline]
    pub fn release(mut self) {
        self.end(Ending::Completed);
    }

    #[inline(always)]
    fn end(&mut self, ending: Ending) {
        #[cfg(all(feature = "http", feature = "tower"))]
        if let Some(shared) = self.shared.take() {
            self.keep(&shared);
        }
        if let Some(bulkhead) = self.bulkhead.take() {
            let bulkhead = bulkhead.borrow();
            bulkhead.free_permit();
            let start = self.start;
            let elapsed = || start.map(|start| time::now().since(start));
            bulkhead
                .common()
                .ended(ending, || elapsed().unwrap_or_default());
        }
    }
}

// By `InFlight`: `made` once the call has its future, then `completed`, `panicked` or, if the call is
// dropped, the permit's own drop.
impl<B: Borrow<Bulkhead>> Settle for Permit<B> {
    #[inline(always)]
    fn made(permit: &mut Option<Self>) -> Option<Self> {
        let permit = permit.as_mut()?;
        Some(Self {
            bulkhead: permit.bulkhead.take(),
            #[cfg(all(feature = "http", feature = "tower"))]
            shared: offered().map(SharedPermit),
            start: permit.start,
        })
    }

    // Inlined into the future that ends the call.
    #[inline(always)]
    fn completed(&mut self) {
        self.end(Ending::Completed);
    }

    #[cold]
    fn panicked(mut self) {
        self.end(Ending::Panicked);
    }

    fn common(&self) -> Option<&Common> {
        Some(self.bulkhead.as_ref()?.borrow().common())
    }
}

/// The permit of a call, which work that outlives the call can keep: it is free when the call has
/// ended and every clone of this is dropped. A request has it as an extension under
/// [`ServerStack::share_permit`](crate::ServerStack::share_permit).
#[cfg(all(feature = "http", feature = "tower"))]
#[derive(Clone)]
#[must_use = "a permit that is dropped is not kept"]
pub struct SharedPermit(Arc<Kept>);

/// The permit of a call that has ended.
#[cfg(all(feature = "http", feature = "tower"))]
#[derive(Default)]
struct Kept(Mutex<Option<Permit>>);

#[cfg(all(feature = "http", feature = "tower"))]
impl SharedPermit {
    /// A share of the permit of the call that is being made.
    pub(crate) fn offer() -> Self {
        let kept = Arc::new(Kept::default());
        offer(kept.clone());
        Self(kept)
    }
}

#[cfg(all(feature = "http", feature = "tower"))]
impl fmt::Debug for SharedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedPermit")
    }
}

#[cfg(all(feature = "http", feature = "tower"))]
impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(permit) = self.0.lock().take() {
            permit.release();
        }
    }
}

#[cfg(all(feature = "http", feature = "tower"))]
impl<B: Borrow<Bulkhead>> Permit<B> {
    /// Moves the permit of a call that has ended to those that keep it, if there are any.
    #[cold]
    fn keep(&mut self, shared: &SharedPermit) {
        // Otherwise it ends here, as the call did.
        if Arc::strong_count(&shared.0) > 1 {
            if let Some(bulkhead) = self.bulkhead.take() {
                let kept = Permit {
                    bulkhead: Some(bulkhead.borrow().clone()),
                    shared: None,
                    start: self.start,
                };
                *shared.0.0.lock() = Some(kept);
            }
        }
    }
}

impl<B: Borrow<Bulkhead>> Drop for Permit<B> {
    #[inline]
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}

debug_fields!([B: Borrow<Bulkhead>] Permit<B>, this: bulkhead = this.bulkhead.as_ref().map(|bulkhead| bulkhead.borrow().name()));

impl Bulkhead {
    /// Admits a call if a permit is free and no call waits. Never waits itself.
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull).
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<&Self>, Rejection> {
        Permit::admit(self)
    }

    /// Admits a call by a permit that owns a handle of the bulkhead, for a call that goes to
    /// another task.
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull).
    #[inline]
    pub fn try_acquire_owned(&self) -> Result<Permit, Rejection> {
        Permit::admit(self.clone())
    }

    /// Whether a call that does not wait would be rejected now. Takes no permit and emits no
    /// event. Other calls may change the answer before it is used.
    ///
    /// # Errors
    /// The rejection of [`try_acquire`](Self::try_acquire).
    #[inline]
    pub fn peek(&self) -> Result<(), Rejection> {
        self.peek_queue_of(None)
    }

    /// Whether a call that waits for at most `max_wait` would be rejected now.
    #[cfg(feature = "tower")]
    #[inline]
    pub(super) fn peek_queued(&self, max_wait: Option<Duration>) -> Result<(), Rejection> {
        // If a permit is free, the queue does not matter.
        self.peek()
            .or_else(|_| self.peek_queue_of(Some(self.wait_bounds(max_wait).1)))
    }

    #[inline]
    fn peek_queue_of(&self, max_queued: Option<u32>) -> Result<(), Rejection> {
        let word = self.machine().word();
        match word.rejects(max_queued.unwrap_or(0)) {
            true => Err(self.full(word, max_queued)),
            false => Ok(()),
        }
    }

    /// Records or rejects a call by a decision other than `Admitted`. `max_queued` is none for a call
    /// that does not wait. Returns whether the admitted call is counted.
    #[cold]
    pub(super) fn decided(
        &self,
        decision: Admission,
        max_queued: Option<u32>,
    ) -> Result<bool, Rejection> {
        match decision {
            Admission::Admitted => Ok(true),
            Admission::AboveLimit(word) => {
                self.record_if_full(word, max_queued);
                Ok(true)
            }
            Admission::Uncounted => Ok(false),
            Admission::Full(word) => Err(self.reject_full(word, max_queued)),
            Admission::Queued(_) => unreachable!("a waiter has no permit yet"),
        }
    }

    /// The longest wait of this call, and the longest queue that it joins: none for an extra attempt,
    /// which must not take a permit from a first one.
    pub(super) fn wait_bounds(&self, max_wait: Option<Duration>) -> (Duration, u32) {
        let (longest, max_queued) = self.queue_bounds();
        let max_wait = max_wait.unwrap_or(longest);
        match max_wait.is_zero() || CallContext::extra() {
            true => (max_wait, 0),
            false => (max_wait, max_queued),
        }
    }

    /// The rejection of a call that finds no permit and cannot wait. Its hint says if the call and the
    /// bulkhead disagree on whether calls wait.
    #[cold]
    fn full(&self, word: Word, max_queued: Option<u32>) -> Rejection {
        let kind = RejectionKind::BulkheadFull {
            limit: word.limit(),
            in_flight: word.in_flight(),
            queued: word.queued(),
        };
        let has_queue = self.queue_bounds().1 > 0;
        let hint = match max_queued {
            _ if word.limit() == 0 => None,
            None if has_queue => Some(UNUSED_QUEUE),
            Some(_) if !has_queue => Some(NO_QUEUE),
            _ => None,
        };
        Rejection::new(kind, self.name().clone()).with_hint(hint)
    }

    /// Records the rejection of a call that was admitted above the limit, unless it would have waited:
    /// the calls above the limit are those that would be in the queue.
    pub(super) fn record_if_full(&self, word: Word, max_queued: Option<u32>) {
        let above_limit = word.in_flight().saturating_sub(word.limit());
        if word.limit() == 0 || above_limit >= max_queued.unwrap_or(0) {
            self.common()
                .record_rejection(|| self.full(word, max_queued));
        }
    }

    #[cold]
    pub(super) fn reject_full(&self, word: Word, max_queued: Option<u32>) -> Rejection {
        self.common().rejected(self.full(word, max_queued))
    }

    pub(super) fn reject(&self, kind: RejectionKind) -> Rejection {
        let rejection = Rejection::new(kind, self.name().clone());
        self.common().rejected(rejection)
    }

    /// Frees a permit, or hands it to the next waiter.
    #[inline]
    pub(super) fn free_permit(&self) {
        if let Some(waker) = self.machine().release() {
            waker.wake();
        }
    }
}
