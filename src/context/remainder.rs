//! What a rate limiter has left after a decision, for a layer above that wants it.

use std::cell::Cell;
use std::time::Duration;

/// What is left in a bucket after one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remainder {
    /// The most tokens that the bucket holds.
    pub(crate) burst: u32,
    /// The time in which it fills; none if it never does.
    pub(crate) window: Option<Duration>,
    pub(crate) left: u32,
    /// Until the next token; none if it is full, or never gets one.
    pub(crate) next: Option<Duration>,
    /// Until it is full; none if it never is.
    pub(crate) full: Option<Duration>,
}

#[derive(Default)]
struct Note {
    wanted: Cell<bool>,
    noted: Cell<Option<Remainder>>,
}

thread_local! {
    static NOTE: Note = const { Note {
        wanted: Cell::new(false),
        noted: Cell::new(None),
    } };
}

impl Remainder {
    /// Makes a call, and returns what the first limiter in it has noted. Other limiters, such as
    /// those of a client in a handler, note nothing.
    #[cfg(feature = "http")]
    pub(crate) fn requested<T>(call: impl FnOnce() -> T) -> (T, Option<Self>) {
        NOTE.with(|note| note.wanted.set(true));
        Self::noted(call)
    }

    /// Polls a call, and returns what a limiter that has waited notes now.
    #[cfg(feature = "http")]
    pub(crate) fn noted<T>(poll: impl FnOnce() -> T) -> (T, Option<Self>) {
        let clear = Clear;
        NOTE.with(|note| note.noted.set(None));
        let output = poll();
        let noted = NOTE.with(|note| note.noted.take());
        drop(clear);
        (output, noted)
    }

    /// Whether a layer above wants it. Only the first limiter that looks may note it.
    #[inline]
    pub(crate) fn take_wanted() -> bool {
        NOTE.with(|note| note.wanted.get() && note.wanted.replace(false))
    }

    /// Answers the layer above.
    pub(crate) fn note(self) {
        NOTE.with(|note| note.noted.set(Some(self)));
    }
}

/// No request outlives its call, also after a panic.
#[cfg(feature = "http")]
struct Clear;

#[cfg(feature = "http")]
impl Drop for Clear {
    fn drop(&mut self) {
        NOTE.with(|note| note.wanted.set(false));
    }
}
