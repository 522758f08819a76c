//! Waiting for a token without blocking the thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::ask::Ask;
use super::policy::RateLimiter;
use super::reservation::Reservation;
#[cfg(feature = "tower")]
use crate::in_flight::Settle;
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::service::queued_call::{MakeCall, Wait};
use crate::time::{self, Sleep};

pin_project! {
    /// Waits until a reservation is due. One timer, one poll to set it and one when it fires;
    /// after a pause the wait starts again.
    #[derive(Debug)]
    pub struct Waiting {
        // None once it has been returned.
        reservation: Option<Reservation>,
        // Not registered with tokio before it is polled.
        #[pin]
        sleep: Sleep,
        polled: bool,
    }
}

impl Waiting {
    pub(super) fn new(reservation: Reservation) -> Self {
        Self {
            sleep: Sleep::until(reservation.at()),
            reservation: Some(reservation),
            polled: false,
        }
    }

    /// The reservation once it is due. The caller commits it.
    ///
    /// # Panics
    /// When polled after it was ready.
    pub(super) fn poll_due(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reservation, Rejection>> {
        const READY: &str = "polled after it was ready";
        let mut this = self.project();
        let reservation = this.reservation.as_mut().expect(READY);
        if !std::mem::replace(this.polled, true) {
            reservation.bound_by_context()?;
        }
        loop {
            let now = ready!(this.sleep.as_mut().poll_elapsed(cx));
            if reservation.wake(now)? {
                return Poll::Ready(Ok(this.reservation.take().expect(READY)));
            }
            this.sleep.set(Sleep::until(reservation.at()));
        }
    }
}

pin_project! {
    /// A future of tokens; made by [`RateLimiter::acquire`].
    ///
    /// Resolves to the rejections of [`RateLimiter::reserve`]: at once, if the wait is known to
    /// be too long.
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
    type Permit = Reservation;

    fn poll_permit(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reservation, Rejection>> {
        self.poll_due(cx)
    }
}

#[cfg(feature = "tower")]
impl Settle for Reservation {
    // The service panicked before the call was made: the drop returns the token.
    fn panicked(self) {}
}

#[cfg(feature = "tower")]
impl<F: Future, M> MakeCall<F, M> for Reservation {
    type Call = F;

    fn make(self, call: impl FnOnce() -> F) -> F {
        self.commit();
        call()
    }
}

impl RateLimiter {
    /// A future of a token: waits for at most [`max_wait`](super::Builder::max_wait) and the
    /// [deadline](crate::Deadline) in force.
    ///
    /// First come, first served, in the order of the first polls: the first poll reserves an
    /// instant, and the future sleeps on one timer until then. Dropping it returns the token if
    /// no tokens were reserved after it. It holds no service and no lock.
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
            let now = time::now();
            match this
                .limiter
                .acquire_or_reserve(now, *this.ask, *this.max_wait)?
            {
                None => return Poll::Ready(Ok(())),
                Some(reservation) => this.waiting.set(Some(Waiting::new(reservation))),
            }
        }
        let waiting = this.waiting.as_pin_mut().expect("set above");
        ready!(waiting.poll_due(cx))?.commit();
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
