use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::acquire::Waiting;
use super::ask::fresh_after;
use super::cost::{Cost, One};
use super::limit::Ask;
use super::policy::RateLimiter;
use super::waiter::Granted;
use crate::context::{ClockReading, Remainder};
use crate::event::EventKind;
use crate::keyed::{IntoSource, Source};
use crate::rejection::Rejection;
use crate::service::{Guard, Native, QueuedCall, Readiness, ResponseFuture};

/// A service behind a [`RateLimiter`]; made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone, Debug)]
pub struct RateLimitService<S, R = Native, K = One, P = RateLimiter> {
    inner: S,
    limiter: P,
    responder: R,
    cost: K,
    readiness: Readiness,
}

impl<S, R, K, P> RateLimitService<S, R, K, P> {
    pub(super) fn new(inner: S, limiter: P, responder: R, cost: K) -> Self {
        Self {
            inner,
            limiter,
            responder,
            cost,
            readiness: Readiness::default(),
        }
    }

    /// Polls the inner service, unless `would_reject` says that the call would be rejected anyway
    /// and the cost is known.
    fn poll_inner<Req>(
        &mut self,
        cx: &mut Context<'_>,
        would_reject: impl FnOnce(&RateLimiter, u32) -> Option<Rejection>,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
        K: Cost<Req>,
        P: IntoSource<RateLimiter>,
    {
        let inner = || self.inner.poll_ready(cx);
        let rejection = || would_reject(self.limiter.fixed()?, K::FIXED?);
        self.readiness.poll_by_clock(rejection, inner)
    }

    /// The rejection of this call, if the inner service is not ready for it.
    fn take_rejection(&mut self) -> Option<Rejection>
    where
        P: IntoSource<RateLimiter>,
    {
        let rejection = self.readiness.take_rejection()?;
        if let Some(limiter) = self.limiter.fixed() {
            limiter.emit(EventKind::Rejected(&rejection));
            if Remainder::take_wanted() {
                limiter.note(None, None);
            }
        }
        Some(rejection)
    }
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
        self.poll_inner(cx, |limiter, cost| limiter.peek_n(cost).err())
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        if let Some(rejection) = self.take_rejection() {
            return ResponseFuture::rejected(rejection, S::format(&self.responder, &request));
        }
        let ask = Ask::now(self.cost.cost(&request));
        let admitted = self.limiter.pick(&request).and_then(|picked| {
            let (limiter, key) = picked.parts();
            match Remainder::take_wanted() {
                false => limiter.admit(ask.of(key), fresh_after(|| clock.now())),
                true => limiter.admit_and_note(ask.of(key)),
            }
        });
        match self.readiness.after(admitted) {
            Ok(()) => {
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(call)
            }
            Err(rejection) => {
                ResponseFuture::rejected(rejection, S::format(&self.responder, &request))
            }
        }
    }
}

/// The response future of [`WaitingService`]. Dropping it during the wait leaves the queue.
pub type WaitingFuture<S, Req, M> =
    QueuedCall<Waiting, Granted, S, Req, <S as Service<Req>>::Future, M>;

/// A service whose calls wait for their token; made by
/// [`RateLimitLayer::waiting`](super::RateLimitLayer::waiting).
#[derive(Clone, Debug)]
pub struct WaitingService<S, R = Native, K = One, P = RateLimiter> {
    rejecting: RateLimitService<S, R, K, P>,
    max_wait: Option<Duration>,
}

impl<S, R, K, P> WaitingService<S, R, K, P> {
    pub(super) fn new(rejecting: RateLimitService<S, R, K, P>, max_wait: Option<Duration>) -> Self {
        Self {
            rejecting,
            max_wait,
        }
    }
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
        let max_wait = self.max_wait;
        self.rejecting
            .poll_inner(cx, |limiter, cost| limiter.peek_wait(cost, max_wait).err())
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let this = &mut self.rejecting;
        if let Some(rejection) = this.take_rejection() {
            return WaitingFuture::rejected(rejection, S::format(&this.responder, &request));
        }
        let ask = Ask::now(this.cost.cost(&request));
        let mut noted_later = false;
        let entered = this.limiter.pick(&request).and_then(|picked| {
            let (limiter, key) = picked.parts();
            let entered = limiter.enter(clock.now(), ask.of(key), self.max_wait);
            if Remainder::take_wanted() {
                match entered {
                    Ok(Some(_)) => noted_later = true,
                    Ok(None) | Err(_) => limiter.note(key, None),
                }
            }
            entered
        });
        match this.readiness.after(entered) {
            Ok(None) => {
                let inner = &mut this.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                WaitingFuture::calling(call)
            }
            Ok(Some(waiter)) => {
                // The readied service is given up, because a waiting call must hold no capacity:
                // another call could wait for it for ever.
                let service = this.inner.clone();
                this.inner = this.inner.clone();
                let format = S::format(&this.responder, &request);
                let waiting = Waiting::new(waiter, noted_later);
                WaitingFuture::waiting(waiting, service, request, format)
            }
            Err(rejection) => {
                WaitingFuture::rejected(rejection, S::format(&this.responder, &request))
            }
        }
    }
}
