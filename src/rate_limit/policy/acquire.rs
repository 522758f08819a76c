//! Waiting for a token without blocking a thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::{RateLimiter, Reservation};
use crate::context::ClockReading;
use crate::rejection::Rejection;
use crate::time::Sleep;

pin_project! {
    /// Waits until a reservation is due. One timer, one poll to set it and one when it fires;
    /// after a pause it begins again.
    #[derive(Debug)]
    pub(crate) struct Waiting {
        // None once it has been handed out.
        reservation: Option<Reservation>,
        // Not registered with tokio before it is polled, so a reservation that is due at once
        // needs no runtime.
        #[pin]
        sleep: Sleep,
    }
}

impl Waiting {
    pub(crate) fn new(reservation: Reservation) -> Self {
        Self {
            sleep: Sleep::until(reservation.at()),
            reservation: Some(reservation),
        }
    }

    /// The reservation once it is due. It is for the caller to commit it.
    ///
    /// # Panics
    /// When polled after it was ready.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reservation, Rejection>> {
        let mut this = self.project();
        loop {
            let now = ready!(this.sleep.as_mut().poll_elapsed(cx));
            let reservation = this.reservation.take().expect("polled after it was ready");
            match reservation.renew(now)? {
                Ok(due) => return Poll::Ready(Ok(due)),
                Err(later) => {
                    this.sleep.set(Sleep::until(later.at()));
                    *this.reservation = Some(later);
                }
            }
        }
    }
}

pin_project! {
    /// A future of a token; made by [`RateLimiter::acquire`].
    ///
    /// Resolves to the refusals of [`RateLimiter::reserve`]: at once, if the wait is known to
    /// be too long.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        limiter: RateLimiter,
        cost: u32,
        max_wait: Option<Duration>,
        // None before the first poll: the place in the order, and the deadline, are those of
        // the first poll and not of the making.
        #[pin]
        waiting: Option<Waiting>,
    }
}

impl Acquire {
    pub(super) fn new(limiter: RateLimiter) -> Self {
        Self {
            limiter,
            cost: 1,
            max_wait: None,
            waiting: None,
        }
    }

    /// How many tokens; 1 if not set. After the first poll it changes nothing.
    pub fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// For how long to wait at most; what the [limiter says](super::Builder::max_wait) at the
    /// first poll if not set. After the first poll it changes nothing.
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
            let max_wait = this.max_wait.unwrap_or(this.limiter.max_wait());
            let place = this.limiter.place();
            let reserved = this.limiter.reserve_or_go(
                &mut ClockReading::none(),
                place,
                *this.cost,
                max_wait,
            )?;
            match reserved {
                None => return Poll::Ready(Ok(())),
                Some(reservation) => this.waiting.set(Some(Waiting::new(reservation))),
            }
        }
        let waiting = this.waiting.as_mut().as_pin_mut();
        let waiting = waiting.expect("it was set above");
        ready!(waiting.poll(cx))?.commit();
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Acquire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acquire")
            .field("limiter", self.limiter.name())
            .field("cost", &self.cost)
            .field("waiting", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}
