use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::ask::fresh_after;
use super::cost::{Cost, One};
use super::limit::Ask;
use super::permit::Granted;
use super::policy::RateLimiter;
use super::waiter::Waiter;
use crate::context::{ClockReading, Remainder};
use crate::in_flight::Settle;
use crate::keyed::Source;
use crate::rejection::Rejection;
use crate::service::queued_call::MakeCall;
use crate::service::{Front, Guard, Native, QueuedCall, ResponseFuture};

/// A service behind a [`RateLimiter`]; made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone, Debug)]
pub struct RateLimitService<S, R = Native, K = One, P = RateLimiter> {
    pub(super) inner: S,
    pub(super) front: Front<P, R>,
    pub(super) cost: K,
}

impl<S, Req, R, K, P> Service<Req> for RateLimitService<S, R, K, P>
where
    S: Guard<Req, R>,
    K: Cost<Req>,
    P: Source<Req, RateLimiter>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let would_reject = |limiter: &RateLimiter| limiter.peek_n(K::FIXED?).err();
        let inner = || self.inner.poll_ready(cx);
        self.front.poll_by_clock(would_reject, inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let admitted = self.front.admit(&request, |picked| {
            let (limiter, key) = picked.parts();
            let ask = Ask::now(self.cost.cost(&request)).of(key);
            match Remainder::take_wanted() {
                false => limiter.admit(ask, fresh_after(|| clock.now())),
                true => limiter.admit_and_note(ask),
            }
        });
        if Remainder::take_wanted() {
            // It was rejected at readiness.
            self.front
                .policy
                .fixed()
                .inspect(|limiter| limiter.note(None, None));
        }
        match admitted {
            Ok(()) => {
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(call)
            }
            Err(rejection) => {
                let format = S::format(&self.front.responder, &request);
                ResponseFuture::rejected(rejection, format)
            }
        }
    }
}

/// The response future of [`WaitingService`]. Dropping it during the wait leaves the queue.
pub type WaitingFuture<S, Req, M> = QueuedCall<Waiter, S, Req, <S as Service<Req>>::Future, M>;

/// A service whose calls wait for their token; made by
/// [`RateLimitLayer::waiting`](super::RateLimitLayer::waiting).
#[derive(Clone, Debug)]
pub struct WaitingService<S, R = Native, K = One, P = RateLimiter> {
    pub(super) rejecting: RateLimitService<S, R, K, P>,
    pub(super) max_wait: Option<Duration>,
}

impl<S, Req, R, K, P> Service<Req> for WaitingService<S, R, K, P>
where
    S: Guard<Req, R> + Clone,
    K: Cost<Req>,
    P: Source<Req, RateLimiter>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WaitingFuture<S, Req, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let (RateLimitService { inner, front, .. }, max_wait) =
            (&mut self.rejecting, self.max_wait);
        let would_reject = |limiter: &RateLimiter| limiter.peek_wait(K::FIXED?, max_wait).err();
        front.poll_by_clock(would_reject, || inner.poll_ready(cx))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let RateLimitService { inner, front, cost } = &mut self.rejecting;
        let entered = front.admit(&request, |picked| {
            let (limiter, key) = picked.parts();
            let ask = Ask::now(cost.cost(&request)).of(key);
            let mut entered = limiter.enter(clock.now(), ask, self.max_wait);
            if Remainder::take_wanted() {
                match &mut entered {
                    Ok(Err(waiter)) => waiter.note_later(),
                    Ok(Ok(())) | Err(_) => limiter.note(key, None),
                }
            }
            entered
        });
        match entered {
            Ok(Ok(())) => {
                let call = || clock.call(inner, |inner| inner.call(request));
                WaitingFuture::calling(call)
            }
            Ok(Err(waiter)) => {
                let format = S::format(&front.responder, &request);
                WaitingFuture::waiting(waiter, inner, request, format)
            }
            Err(rejection) => {
                WaitingFuture::rejected(rejection, S::format(&front.responder, &request))
            }
        }
    }
}

impl Settle for Granted {
    // The service panicked before the call was made: the drop returns the token.
    fn panicked(self) {}
}

impl<F: Future, M> MakeCall<F, M> for Granted {
    type Call = F;

    fn make(self, call: impl FnOnce() -> F) -> F {
        self.note();
        self.commit();
        call()
    }

    fn expire(self) -> Result<Self, Rejection> {
        self.expired()
    }
}
