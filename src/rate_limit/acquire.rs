//! Waiting for a token without blocking the thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::limit::Ask;
use super::policy::RateLimiter;
use super::waiter::{Granted, Progress, Waiter};
use crate::context::CallContext;
#[cfg(feature = "tower")]
use crate::in_flight::Settle;
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::service::queued_call::{MakeCall, Wait};
use crate::time::{self, Sleep};

pin_project! {
    /// A waiter and its timer, which is set to when its tokens are due once it is the head of the
    /// queue, and to the end of its wait before.
    #[derive(Debug)]
    pub struct Waiting {
        waiter: Waiter,
        // Whether what is left after the wait is noted for the layer above.
        noted: bool,
        // None before the first poll. Not registered with tokio before it is polled.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Waiting {
    pub(super) fn new(waiter: Waiter, noted: bool) -> Self {
        Self {
            waiter,
            noted,
            sleep: None,
        }
    }

    /// # Panics
    /// When polled after it was ready.
    pub(super) fn poll_granted(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Granted, Rejection>> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.waiter.first_poll();
        }
        if CallContext::poller_is_late(this.waiter.deadline()) {
            return Poll::Pending;
        }
        let mut now = time::now();
        loop {
            let until = match this.waiter.poll(cx.waker(), now) {
                Progress::Granted(granted) => return Poll::Ready(Ok(granted)),
                Progress::Rejected(rejection) => return Poll::Ready(Err(rejection)),
                Progress::Waits(until) => until,
            };
            let set = this.sleep.as_ref().as_pin_ref();
            if set.is_none_or(|sleep| sleep.deadline() != until) {
                this.sleep.set(Some(Sleep::until(until)));
            }
            let sleep = this.sleep.as_mut().as_pin_mut().expect("it was set above");
            now = ready!(sleep.poll_elapsed(cx));
        }
    }
}

pin_project! {
    /// A future of tokens; made by [`RateLimiter::acquire`].
    ///
    /// Resolves to the rejections of [`RateLimiter::acquire_blocking`]: at once, if the wait is
    /// known to be too long.
    ///
    /// # Cancel safety
    /// Dropping it takes nothing: it leaves the queue, and all behind it move up.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        limiter: RateLimiter,
        ask: Ask,
        max_wait: Option<Duration>,
        // None before the first poll, which determines the order and the deadline.
        #[pin]
        waiting: Option<Waiting>,
    }
}

#[cfg(feature = "tower")]
impl Wait for Waiting {
    type Permit = Granted;

    fn poll_permit(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Granted, Rejection>> {
        let noted = self.noted;
        let granted = ready!(self.as_mut().poll_granted(cx));
        if noted {
            match &granted {
                Ok(granted) => granted.note(),
                Err(_) => self.waiter.note(),
            }
        }
        Poll::Ready(granted)
    }
}

#[cfg(feature = "tower")]
impl Settle for Granted {
    // The service panicked before the call was made: the drop returns the token.
    fn panicked(self) {}
}

#[cfg(feature = "tower")]
impl<F: Future, M> MakeCall<F, M> for Granted {
    type Call = F;

    fn make(self, call: impl FnOnce() -> F) -> F {
        self.commit();
        call()
    }

    fn expire(self) -> Result<Self, Rejection> {
        self.expired()
    }
}

impl RateLimiter {
    /// A future of a token: waits for at most [`max_wait`](super::Builder::max_wait) and the
    /// [deadline](crate::Deadline) in force.
    ///
    /// First come, first served, in the order of the first polls. The future waits in a queue, and
    /// nothing is taken before it is the first there and its token has come. It holds no service
    /// and no lock.
    ///
    /// # Panics
    /// When it has to wait and is polled outside of a tokio runtime.
    pub fn acquire(&self) -> Acquire {
        Acquire {
            limiter: self.clone(),
            ask: Ask::now(1),
            max_wait: None,
            waiting: None,
        }
    }
}

impl Acquire {
    /// How many tokens; 1 by default. No effect after the first poll.
    pub fn cost(mut self, cost: u32) -> Self {
        self.ask = Ask::now(cost);
        self
    }

    /// The longest wait; by default that of the [limiter](super::Builder::max_wait) at the first
    /// poll. No effect after the first poll.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(max_wait);
        self
    }
}

impl Future for Acquire {
    type Output = Result<(), Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.waiting.is_none() {
            let entered = this.limiter.enter(time::now(), *this.ask, *this.max_wait);
            match entered? {
                None => return Poll::Ready(Ok(())),
                Some(waiter) => this.waiting.set(Some(Waiting::new(waiter, false))),
            }
        }
        let waiting = this.waiting.as_pin_mut().expect("it was set above");
        ready!(waiting.poll_granted(cx))?.commit();
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("limiter", self.limiter.name())
            .field("cost", &self.ask.cost)
            .field("waiting", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}
