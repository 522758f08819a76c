//! How far the request body of a call has been sent, for the timeout of the call.

use std::cell::RefCell;

use super::Expired;
use super::exchange::exchange;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{self, Tick};

thread_local! {
    /// The upload of the call that is being made.
    static ANNOUNCED: RefCell<Option<Upload>> = const { RefCell::new(None) };
}

/// How far a request body has been sent. The body notes it, and the timeout of the attempt reads
/// it: the attempt's clock starts when the body has been sent.
///
/// Each value is read for itself alone: relaxed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// When it had been sent; zero before.
    ended: AtomicU64,
    /// Twice the number of chunks, and one more while the caller's body has none.
    chunks: AtomicU64,
}

impl Upload {
    /// The caller's body has no chunk yet.
    pub(crate) fn waits(&self) {
        self.0.chunks.fetch_or(1, Ordering::Relaxed);
    }

    /// A chunk was sent.
    pub(crate) fn went_on(&self) {
        // Only the body writes it.
        let chunks = self.0.chunks.load(Ordering::Relaxed) | 1;
        self.0.chunks.store(chunks + 1, Ordering::Relaxed);
    }

    /// All of it was sent, or it failed.
    pub(crate) fn ended(&self) {
        if self.0.ended.load(Ordering::Relaxed) == 0 {
            let now = time::now().0.max(1);
            self.0.ended.store(now, Ordering::Relaxed);
        }
    }

    /// Says that this is the body of the call that is being made.
    pub(crate) fn announce(&self) {
        let upload = Some(self.clone());
        ANNOUNCED.with(|announced| announced.replace(upload));
    }

    /// Starts the call of an attempt.
    pub(crate) fn listen() -> Announced {
        Announced(ANNOUNCED.with(RefCell::take))
    }
}

/// The announcements during the call of an attempt.
// Not a closure around the call: the call is then built where it stays, with and without this.
#[must_use]
pub(crate) struct Announced(Option<Upload>);

impl Announced {
    /// The call has been made: the upload that was announced meanwhile.
    #[inline]
    pub(crate) fn take(self) -> Option<AttemptClock> {
        let upload = exchange(&ANNOUNCED, self.0);
        upload.map(|upload| AttemptClock { upload, seen: 0 })
    }
}

/// The clock of an attempt, which starts at the end of its upload.
#[derive(Debug)]
pub(crate) struct AttemptClock {
    upload: Upload,
    /// The chunks at the last look.
    seen: u64,
}

impl Drop for AttemptClock {
    /// A call that is dropped at its deadline while its caller's upload goes on is late through
    /// that.
    fn drop(&mut self) {
        let ended = self.upload.0.ended.load(Ordering::Relaxed) != 0;
        if !ended && self.start(Tick::ZERO).is_some() {
            Expired::excuse();
        }
    }
}

impl AttemptClock {
    /// When the clock of the call started, as far as is known at `now`. The time in which the
    /// caller's body has no chunk does not count; that in which the server takes none does.
    pub(crate) fn start(&mut self, now: Tick) -> Option<Tick> {
        let ended = self.upload.0.ended.load(Ordering::Relaxed);
        if ended != 0 {
            return Some(Tick(ended));
        }
        let chunks = self.upload.0.chunks.load(Ordering::Relaxed);
        let before = std::mem::replace(&mut self.seen, chunks);
        let waits = chunks % 2 == 1;
        (waits || chunks != before).then_some(now)
    }
}
