//! The rest of a failed response, which is read so that its connection can be used again.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::sync::Mutex;
use crate::time::{Sleep, now};

/// The longest drain. A connection is worth about this long: a new one takes a round trip or two.
const LONGEST: Duration = Duration::from_millis(10);

/// What is left to read of a response that is not returned. A retry reads it before its backoff,
/// for at most 10 ms, so that the connection of the response is used again: one with an unread
/// body is closed.
#[must_use = "a drain does nothing unless it is polled"]
pub struct Drain(
    // A mutex, so that a retry's future is `Sync` whatever the body is. Nothing else locks it.
    Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
);

impl Drain {
    /// `rest` reads the rest.
    pub fn new(rest: impl Future<Output = ()> + Send + 'static) -> Self {
        let bounded = async move {
            let mut sleep = pin!(Sleep::until(now().after(LONGEST)));
            let mut rest = pin!(rest);
            let either = |cx: &mut Context<'_>| match rest.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => sleep.as_mut().poll_elapsed(cx).map(drop),
            };
            poll_fn(either).await;
        };
        #[allow(clippy::disallowed_methods)] // A failed response may allocate.
        let boxed = Box::pin(bounded);
        Self(Mutex::new(boxed))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().as_mut().poll(cx)
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}
