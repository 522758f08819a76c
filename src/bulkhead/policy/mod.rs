//! The bulkhead's handle: reads the clock where somebody waits or listens, and passes it down.

#[cfg(feature = "tokio")]
pub(super) mod acquire;
mod builder;
mod live;
mod permit;
mod place;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

#[cfg(feature = "tokio")]
pub use self::acquire::Acquire;
pub use self::builder::Builder;
pub use self::live::Snapshot;
pub use self::permit::Permit;
#[cfg(feature = "tower")]
pub(super) use self::place::Entry;

use super::state::{Machine, Word};
use crate::config::Name;
use crate::context::CallContext;
use crate::event::{EventKind, Listeners};
use crate::keyed::Idle;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{Arc, AtomicU64, Ordering};

/// How long a call queues at most, if not told otherwise: longer serves callers who have given
/// up, and makes those behind them late as well.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// A limit on how many calls run at once.
///
/// Cheap to clone; every clone is the same limit. Makes and takes nothing of a runtime, but for
/// [`acquire`](Self::acquire) and [`run_queued`](Self::run_queued). See the [module](super) for
/// a picture and the defaults.
///
/// ```
/// use seawall::{Bulkhead, RejectionKind};
///
/// let bulkhead = Bulkhead::new(1);
/// let permit = bulkhead.try_acquire()?;
/// let rejection = bulkhead.try_acquire().unwrap_err();
/// assert_eq!(rejection.kind(), RejectionKind::BulkheadFull { limit: 1, in_flight: 1, queued: 0 });
/// permit.release();
/// assert!(bulkhead.try_acquire().is_ok());
/// # Ok::<(), seawall::Rejection>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Bulkhead(Arc<Inner>);

struct Inner {
    name: Name,
    machine: Machine,
    /// In nanoseconds. Nothing but itself: relaxed.
    max_wait: AtomicU64,
    listeners: Listeners,
    /// What [`Mode::RecordOnly`](crate::Mode::RecordOnly) would have refused. Nothing but
    /// itself: relaxed.
    would_reject: AtomicU64,
}

impl From<&Bulkhead> for Bulkhead {
    fn from(bulkhead: &Bulkhead) -> Self {
        bulkhead.clone()
    }
}

impl Bulkhead {
    /// At most `limit` calls at once, and no queue; 0 is closed.
    #[track_caller]
    pub fn new(limit: u16) -> Self {
        Self::of(limit, Location::caller())
    }

    /// With a queue for `len` calls, of whoever asks to wait: [`acquire`](Self::acquire),
    /// [`BulkheadLayer::queued`](crate::BulkheadLayer::queued). They wait for at most
    /// [`max_wait`](Builder::max_wait).
    ///
    /// ```
    /// let bulkhead = seawall::Bulkhead::new(64).queue(128);
    /// # let _ = bulkhead;
    /// ```
    ///
    /// All clones have it: to a bulkhead that is in use it is a
    /// [`set_queue`](Self::set_queue).
    pub fn queue(self, len: u16) -> Self {
        self.0.machine.set_most_queued(u32::from(len));
        self
    }

    /// Whether a call would be refused now. Takes no place and tells nobody; the answer may be
    /// old when it arrives.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    pub fn peek(&self) -> Result<(), Rejection> {
        self.peek_behind(0)
    }

    /// Whether it may be forgotten: nobody is in it, and nobody else has a handle.
    pub(crate) fn idle(&self) -> Idle {
        let word = self.0.machine.word();
        let empty = word.in_flight() == 0 && word.queued() == 0;
        match empty && Arc::strong_count(&self.0) == 1 {
            true => Idle::Fresh,
            false => Idle::No,
        }
    }

    /// The bulkhead's name: in its rejections and events.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// What somebody who would queue is refused with now.
    #[cfg(feature = "tower")]
    pub(super) fn peek_queue(&self, max_wait: Duration) -> Result<(), Rejection> {
        self.peek_behind(self.most_queued(max_wait))
    }

    fn peek_behind(&self, most_queued: u32) -> Result<(), Rejection> {
        let word = self.0.machine.word();
        match word.refuses(most_queued) {
            true => Err(self.full(word)),
            false => Ok(()),
        }
    }

    /// How many may queue, the caller among them: none if he does not wait. An extra attempt
    /// does not: it takes no place from what was asked for.
    #[inline]
    fn most_queued(&self, max_wait: Duration) -> u32 {
        match max_wait.is_zero() || CallContext::extra() {
            true => 0,
            false => self.0.machine.most_queued(),
        }
    }

    #[inline]
    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.0.max_wait.load(Ordering::Relaxed))
    }

    /// The rejection of a call that found no place.
    #[cold]
    fn full(&self, word: Word) -> Rejection {
        let kind = RejectionKind::BulkheadFull {
            limit: u32::from(word.limit()),
            in_flight: word.in_flight(),
            queued: word.queued(),
        };
        Rejection::new(kind, self.0.name.clone())
    }

    #[cold]
    fn refuse(&self, word: Word) -> Rejection {
        let rejection = self.full(word);
        self.emit_rejected(&rejection);
        rejection
    }

    #[cold]
    fn record(&self, word: Word) {
        self.0.would_reject.fetch_add(1, Ordering::Relaxed);
        if self.0.listeners.any() {
            self.emit(EventKind::WouldReject(&self.full(word)));
        }
    }

    pub(super) fn emit_rejected(&self, rejection: &Rejection) {
        self.emit(EventKind::Rejected(rejection));
    }

    fn emit(&self, kind: EventKind<'_>) {
        self.0.listeners.emit(&self.0.name, kind);
    }
}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead")
            .field("name", self.name())
            .field("state", &self.0.machine)
            .finish_non_exhaustive()
    }
}
