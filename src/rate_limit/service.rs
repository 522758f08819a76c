use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::RateLimiter;
use super::future::WaitingFuture;
use super::layer::{Cost, One};
use crate::context::ClockReading;
use crate::event::EventKind;
use crate::keyed::{IntoSource, Source};
use crate::rejection::Rejection;
use crate::service::{Guard, Native, Readiness, ResponseFuture};

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

    /// Polls the inner service; where it is not ready and the cost is known, asks whether a
    /// call would be refused anyway.
    fn poll_inner<Req>(
        &mut self,
        cx: &mut Context<'_>,
        would_refuse: impl FnOnce(&RateLimiter, u32) -> Option<Rejection>,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
        K: Cost<Req>,
        P: IntoSource<RateLimiter>,
    {
        let inner = || self.inner.poll_ready(cx);
        let refusal = || would_refuse(self.limiter.fixed()?, K::FIXED?);
        self.readiness.poll(inner, refusal)
    }

    /// What this call is refused with because the inner service is not ready for it.
    fn take_refusal(&mut self) -> Option<Rejection>
    where
        P: IntoSource<RateLimiter>,
    {
        let refusal = self.readiness.take_rejection()?;
        if let Some(limiter) = self.limiter.fixed() {
            limiter.emit(EventKind::Rejected(&refusal));
        }
        Some(refusal)
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
        let format = S::format(&self.responder, &request);
        if let Some(refusal) = self.take_refusal() {
            return ResponseFuture::rejected(refusal, format);
        }
        let cost = self.cost.cost(&request);
        let admitted = self.limiter.pick(&request).and_then(|picked| {
            let (limiter, place) = picked.parts();
            limiter.try_acquire_by(&mut clock, place, cost)
        });
        match admitted {
            Ok(()) => {
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(call, format)
            }
            Err(rejection) => ResponseFuture::rejected(rejection, format),
        }
    }
}

/// A service whose calls wait for their token from a [`RateLimiter`]; made by
/// [`RateLimitLayer::waiting`](super::RateLimitLayer::waiting).
#[derive(Clone, Debug)]
pub struct WaitingService<S, R = Native, K = One, P = RateLimiter> {
    refusing: RateLimitService<S, R, K, P>,
    max_wait: Option<Duration>,
}

impl<S, R, K, P> WaitingService<S, R, K, P> {
    pub(super) fn new(refusing: RateLimitService<S, R, K, P>, max_wait: Option<Duration>) -> Self {
        Self { refusing, max_wait }
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
        let would_refuse = |limiter: &RateLimiter, cost| {
            let max_wait = max_wait.unwrap_or(limiter.max_wait());
            limiter.peek_wait(cost, max_wait).err()
        };
        self.refusing.poll_inner(cx, would_refuse)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let this = &mut self.refusing;
        let format = S::format(&this.responder, &request);
        if let Some(refusal) = this.take_refusal() {
            return WaitingFuture::rejected(refusal, format);
        }
        let cost = this.cost.cost(&request);
        let reserved = this.limiter.pick(&request).and_then(|picked| {
            let (limiter, place) = picked.parts();
            let max_wait = self.max_wait.unwrap_or(limiter.max_wait());
            limiter.reserve_or_go(&mut clock, place, cost, max_wait)
        });
        match reserved {
            Ok(None) => {
                let inner = &mut this.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                WaitingFuture::calling(call, format)
            }
            Ok(Some(reservation)) => {
                // The readied service goes: a clone beside it could wait for ever for what it
                // holds, and whoever waits for a token is to hold nothing.
                let service = this.inner.clone();
                this.inner = this.inner.clone();
                WaitingFuture::waiting(reservation, service, request, format)
            }
            Err(rejection) => WaitingFuture::rejected(rejection, format),
        }
    }
}
