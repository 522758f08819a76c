use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::{Progress, Waiter};
use crate::config::Name;
use crate::context::CallContext;
use crate::macros::debug_fields;
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::time::Tick;
use crate::time::{self, Sleep};

pin_project! {
    /// A waiter and its timer.
    #[derive(Debug)]
    pub struct Waiting<W> {
        waiter: W,
        // None before the first poll. Not registered with tokio before it is polled.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<W: Waiter> Waiting<W> {
    pub(crate) fn new(waiter: W) -> Self {
        Self {
            waiter,
            sleep: None,
        }
    }

    /// The deadline of the call.
    #[cfg(feature = "tower")]
    pub(crate) fn deadline(&self) -> Tick {
        self.waiter.deadline()
    }

    /// # Panics
    /// When polled after it was ready.
    pub(crate) fn poll_permit(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<W::Permit, Rejection>> {
        let mut this = self.project();
        if this.sleep.is_none() {
            this.waiter.first_poll()?;
        }
        let mut now = time::now();
        while CallContext::poller_is_late(this.waiter.deadline()) {
            // With a timer, because its wake-up may have been spent on this poll: another caller
            // would not poll it again.
            this.sleep.set(Some(Sleep::step(now)));
            let sleep = this.sleep.as_mut().as_pin_mut();
            now = ready!(sleep.expect("it was set above").poll_elapsed(cx));
        }
        loop {
            let until = match this.waiter.poll(cx.waker(), now) {
                Progress::Ended(ended) => return Poll::Ready(ended),
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

/// A policy whose calls can wait.
pub trait Queued {
    type Waiter: Waiter;
    /// What the future resolves to.
    type Permit;

    fn name(&self) -> &Name;

    /// Admits a call, or queues it. `max_wait` replaces the longest wait of the configuration.
    fn enter(
        &self,
        cost: u32,
        max_wait: Option<Duration>,
    ) -> Result<Result<Self::Permit, Self::Waiter>, Rejection>;

    /// The wait has ended with this permit.
    fn admitted(permit: <Self::Waiter as Waiter>::Permit) -> Self::Permit;
}

pin_project! {
    /// Waits for a permit of a bulkhead, or for tokens of a limiter; made by their `acquire`.
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue, and all behind it move up. A permit that it has just been
    /// handed goes to the next waiter.
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire<P: Queued> {
        policy: P,
        cost: u32,
        max_wait: Option<Duration>,
        // None before the first poll, which determines the order and the deadline.
        #[pin]
        waiting: Option<Waiting<P::Waiter>>,
    }
}

impl<P: Queued> Acquire<P> {
    pub(crate) fn new(policy: P) -> Self {
        Self {
            policy,
            cost: 1,
            max_wait: None,
            waiting: None,
        }
    }

    pub(crate) fn with_cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// Sets the longest wait. The default is the policy's own at the first poll. After the first
    /// poll it has no effect.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(max_wait);
        self
    }
}

impl<P: Queued> Future for Acquire<P> {
    type Output = Result<P::Permit, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.waiting.is_none() {
            match this.policy.enter(*this.cost, *this.max_wait)? {
                Ok(permit) => return Poll::Ready(Ok(permit)),
                Err(waiter) => this.waiting.set(Some(Waiting::new(waiter))),
            }
        }
        let waiting = this.waiting.as_pin_mut().expect("it was set above");
        waiting.poll_permit(cx).map_ok(P::admitted)
    }
}

debug_fields!([P: Queued] Acquire<P>, this:
    policy = this.policy.name(), waiting = this.waiting.is_some());
