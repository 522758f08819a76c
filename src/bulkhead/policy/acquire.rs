//! Waiting for a place without blocking a thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::place::{Entry, Place};
use super::{Bulkhead, Permit};
use crate::rejection::Rejection;
use crate::time::Sleep;

pin_project! {
    /// Waits in the queue: until it is handed a place, or for as long as its own is kept.
    #[derive(Debug)]
    pub(in crate::bulkhead) struct Waiting {
        place: Place,
        // None before the first poll, which knows by when the wait ends.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Waiting {
    pub(in crate::bulkhead) fn new(place: Place) -> Self {
        Self { place, sleep: None }
    }

    /// # Panics
    /// When polled after it was ready.
    pub(in crate::bulkhead) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit, Rejection>> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.place.begin()?;
            this.sleep.set(Some(Sleep::until(this.place.latest())));
        }
        if let Some(turn) = this.place.look(cx.waker()) {
            return Poll::Ready(turn);
        }
        let sleep = this.sleep.as_pin_mut().expect("it was set above");
        let now = ready!(sleep.poll_elapsed(cx));
        Poll::Ready(this.place.give_up(now))
    }
}

pin_project! {
    /// A future of a place; made by [`Bulkhead::acquire`].
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue. A place that it was handed in that moment goes to the next.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        bulkhead: Bulkhead,
        max_wait: Option<Duration>,
        // None before the first poll: the place in the queue, and the deadline, are those of
        // the first poll and not of the making.
        #[pin]
        waiting: Option<Waiting>,
    }
}

impl Bulkhead {
    /// A future of a place: queues for at most [`max_wait`](super::Builder::max_wait) and the
    /// [deadline](crate::Deadline) in force.
    ///
    /// It queues from its first poll on, and holds its place in the queue until that time is
    /// over: nobody knows when a call in flight will end. It holds no clone of any service and
    /// no lock.
    ///
    /// ```
    /// # use seawall::{Bulkhead, Rejection};
    /// # async fn f() -> Result<(), Rejection> {
    /// let bulkhead = Bulkhead::new(8).queue(16);
    /// let permit = bulkhead.acquire().await?;
    /// // ... make the call
    /// permit.release();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// It resolves to [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull) at once if the queue is
    /// full too, or the bulkhead is closed; to
    /// [`RejectionKind::QueueTimeout`](crate::RejectionKind::QueueTimeout) after the wait; to
    /// [`RejectionKind::Expired`](crate::RejectionKind::Expired) if it would have to wait and the deadline has
    /// passed.
    ///
    /// # Panics
    /// When polled outside of a tokio runtime, and then only if there is something to wait for.
    pub fn acquire(&self) -> Acquire {
        Acquire {
            bulkhead: self.clone(),
            max_wait: None,
            waiting: None,
        }
    }
}

impl Acquire {
    /// For how long to queue at most; what the bulkhead says at the first poll if not set. After
    /// the first poll it changes nothing.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(max_wait);
        self
    }
}

impl Future for Acquire {
    type Output = Result<Permit, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.waiting.is_none() {
            let max_wait = this.max_wait.unwrap_or(this.bulkhead.max_wait());
            match this.bulkhead.enter(max_wait)? {
                Entry::Admitted(permit) => return Poll::Ready(Ok(permit)),
                Entry::Queued(place) => this.waiting.set(Some(Waiting::new(place))),
            }
        }
        let waiting = this.waiting.as_mut().as_pin_mut();
        waiting.expect("it was set above").poll(cx)
    }
}

impl std::fmt::Debug for Acquire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acquire")
            .field("bulkhead", self.bulkhead.name())
            .field("waiting", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}
