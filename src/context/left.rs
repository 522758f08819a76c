//! What a call leaves behind of its request body, for the service around the call.

use std::cell::RefCell;

use super::exchange::exchange;
use crate::drain::Drain;
use crate::rejection::Rejection;

thread_local! {
    /// What the call that is made or polled now has left. None outside of such a call.
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
}

/// What a call has left of its request body.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Why it was cut short.
    // In a box: it is rare, and each call has room for it.
    pub(crate) cut: Option<Box<Rejection>>,
    /// What reads the rest, if it was dropped before its end.
    pub(crate) remains: Option<Drain>,
}

impl Left {
    /// Until the guard is dropped, the code that runs is the call's.
    // Not a closure around the call: the call is then built where it stays.
    #[inline]
    pub(crate) fn collecting(&mut self) -> Collecting<'_> {
        let before = LEFT.replace(Some(std::mem::take(self)));
        Collecting { before, left: self }
    }

    /// The body was cut short. Outside of a call, as in a spawned task, nothing takes note of it.
    pub(crate) fn cut(rejection: &Rejection) {
        LEFT.with_borrow_mut(|left| {
            if let Some(left) = left {
                left.cut = Some(Box::new(rejection.clone()));
            }
        });
    }

    /// The body was dropped before its end.
    pub(crate) fn remains(drain: impl FnOnce() -> Option<Drain>) {
        let inside = LEFT.try_with(|left| left.borrow().is_some());
        if inside == Ok(true) {
            let mut remains = drain();
            LEFT.with_borrow_mut(|left| {
                if let Some(left) = left {
                    std::mem::swap(&mut left.remains, &mut remains);
                }
            });
            // What was there before is dropped here: the drop of a body may come to `LEFT` too.
            drop(remains);
        }
    }
}

/// Restores what was there before, also on panic.
#[must_use]
pub(crate) struct Collecting<'l> {
    before: Option<Left>,
    left: &'l mut Left,
}

impl Drop for Collecting<'_> {
    #[inline]
    fn drop(&mut self) {
        let left = exchange(&LEFT, self.before.take());
        let taken = std::mem::replace(self.left, left.unwrap_or_default());
        // Nothing was left in it, so there is nothing that a drop could do.
        std::mem::forget(taken);
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::future::pending;

    use super::Left;
    use crate::drain::Drain;

    struct DroppedBody;

    impl Drop for DroppedBody {
        fn drop(&mut self) {
            Left::remains(|| None);
        }
    }

    #[test]
    fn rt9_a_second_body_may_be_dropped_with_the_rest_of_the_first() {
        let mut left = Left::default();
        let collecting = left.collecting();
        let body = DroppedBody;
        let rest = async move {
            let _body = body;
            pending::<()>().await;
        };
        Left::remains(|| Some(Drain::new(rest)));
        Left::remains(|| None);
        drop(collecting);
        assert!(left.remains.is_none());
    }
}
