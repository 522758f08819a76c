//! Waiting for a permit without blocking a thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::waiter::{Entry, Waiter};
use super::{Bulkhead, Permit};
use crate::context::CallContext;
use crate::rejection::Rejection;
use crate::time::Sleep;

pin_project! {
    /// A waiter and the timer that ends its wait.
    #[derive(Debug)]
    pub(super) struct Waiting {
        waiter: Waiter,
        // None before the first poll, which may end the wait earlier.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Waiting {
    pub(super) fn new(waiter: Waiter) -> Self {
        Self {
            waiter,
            sleep: None,
        }
    }

    /// # Panics
    /// When polled after it was ready.
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit, Rejection>> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.waiter.first_poll()?;
            this.sleep.set(Some(Sleep::until(this.waiter.until())));
        }
        if CallContext::poller_is_late(this.waiter.deadline()) {
            return Poll::Pending;
        }
        if let Some(ended) = this.waiter.poll(cx.waker()) {
            return Poll::Ready(ended);
        }
        let sleep = this.sleep.as_pin_mut().expect("it was set above");
        let now = ready!(sleep.poll_elapsed(cx));
        Poll::Ready(this.waiter.time_out(now))
    }
}

pin_project! {
    /// Waits for a permit; made by [`Bulkhead::acquire`].
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue. A permit that it has just been handed goes to the next
    /// waiter.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        bulkhead: Bulkhead,
        max_wait: Option<Duration>,
        // None before the first poll, which is when the wait starts.
        #[pin]
        waiting: Option<Waiting>,
    }
}

impl Bulkhead {
    /// Waits for a permit, for at most [`max_wait`](super::Builder::max_wait) and until the
    /// [deadline](crate::Deadline) in force.
    ///
    /// It waits in the queue from its first poll. It holds no clone of any service and no lock.
    ///
    /// ```
    /// # use seawall::{Bulkhead, Rejection};
    /// # async fn f(bulkhead: &Bulkhead) -> Result<(), Rejection> {
    /// let permit = bulkhead.acquire().await?;
    /// // ... make the call
    /// permit.release();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// It resolves to [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull) at once
    /// if the queue is full too, or the bulkhead is closed; to
    /// [`RejectionKind::QueueTimeout`](crate::RejectionKind::QueueTimeout) after the wait; to
    /// [`RejectionKind::Expired`](crate::RejectionKind::Expired) if it would have to wait and the
    /// deadline has passed.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime with time enabled.
    pub fn acquire(&self) -> Acquire {
        Acquire {
            bulkhead: self.clone(),
            max_wait: None,
            waiting: None,
        }
    }
}

impl Acquire {
    /// Sets the longest wait. The default is the bulkhead's own at the first poll. After the
    /// first poll it has no effect.
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
            match this.bulkhead.enter(*this.max_wait)? {
                Entry::Admitted(permit) => return Poll::Ready(Ok(permit)),
                Entry::Waiting(waiter) => this.waiting.set(Some(Waiting::new(waiter))),
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
