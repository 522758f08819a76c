//! Boxes of a thread.

use std::cell::RefCell;
use std::pin::Pin;
use std::thread::LocalKey;

/// Boxes that a thread uses again, so that not each use allocates.
pub(crate) struct Kept<T>(RefCell<Vec<Pin<Box<T>>>>);

impl<T> Kept<T> {
    /// More only lie there: what is kept is what ended on this thread and did not start there.
    const MOST: usize = 64;

    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// One that was kept. None if there is none, or the thread is about to end.
    #[inline]
    pub(crate) fn take(kept: &'static LocalKey<Self>) -> Option<Pin<Box<T>>> {
        let taken = kept.try_with(|kept| kept.0.borrow_mut().pop());
        taken.ok().flatten()
    }

    /// Keeps one, whose drop reads no other that is kept.
    #[inline]
    pub(crate) fn keep(kept: &'static LocalKey<Self>, value: Pin<Box<T>>) {
        // A thread that is about to end keeps none.
        let _ = kept.try_with(|kept| {
            let mut kept = kept.0.borrow_mut();
            if kept.len() < Self::MOST {
                kept.push(value);
            }
        });
    }
}

/// A thread-local [`Kept`].
macro_rules! kept {
    ($(#[$doc:meta])* $name:ident: $ty:ty) => {
        thread_local! {
            $(#[$doc])*
            static $name: $crate::per_thread::Kept<$ty> = const { $crate::per_thread::Kept::new() };
        }
    };
}
pub(crate) use kept;
