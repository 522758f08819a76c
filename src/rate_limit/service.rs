use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::RateLimiter;
use super::future::{ResponseFuture, WaitingFuture};
use super::layer::{Cost, One};
use crate::event::What;
use crate::guard::Readiness;
use crate::rejection::{Guard, Native, Rejection};

/// A service behind a [`RateLimiter`]; made by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone, Debug)]
pub struct RateLimitService<S, R = Native, K = One> {
    inner: S,
    limiter: RateLimiter,
    responder: R,
    cost: K,
    readiness: Readiness,
}

impl<S, R, K> RateLimitService<S, R, K> {
    pub(super) fn new(inner: S, limiter: RateLimiter, responder: R, cost: K) -> Self {
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
    {
        let inner = || self.inner.poll_ready(cx);
        let refusal = || would_refuse(&self.limiter, K::FIXED?);
        self.readiness.poll(inner, refusal)
    }

    /// What this call is refused with because the inner service is not ready for it.
    fn take_refusal(&mut self) -> Option<Rejection> {
        let refusal = self.readiness.take_refusal()?;
        self.limiter.tell(What::Rejected(&refusal));
        Some(refusal)
    }
}

impl<S, Req, R, K> Service<Req> for RateLimitService<S, R, K>
where
    S: Guard<Req, R>,
    K: Cost<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Format>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.poll_inner(cx, |limiter, cost| limiter.peek_n(cost).err())
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let format = S::format(&self.responder, &request);
        if let Some(refusal) = self.take_refusal() {
            return ResponseFuture::rejected(refusal, format);
        }
        match self.limiter.try_acquire_n(self.cost.cost(&request)) {
            Ok(()) => ResponseFuture::calling(self.inner.call(request), format),
            Err(rejection) => ResponseFuture::rejected(rejection, format),
        }
    }
}

/// A service whose calls wait for their token from a [`RateLimiter`]; made by
/// [`RateLimitLayer::waiting`](super::RateLimitLayer::waiting).
#[derive(Clone, Debug)]
pub struct WaitingService<S, R = Native, K = One> {
    refusing: RateLimitService<S, R, K>,
    max_wait: Duration,
}

impl<S, R, K> WaitingService<S, R, K> {
    pub(super) fn new(refusing: RateLimitService<S, R, K>, max_wait: Duration) -> Self {
        Self { refusing, max_wait }
    }
}

impl<S, Req, R, K> Service<Req> for WaitingService<S, R, K>
where
    S: Guard<Req, R> + Clone,
    K: Cost<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WaitingFuture<S, Req, S::Format>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let max_wait = self.max_wait;
        let would_refuse = |limiter: &RateLimiter, cost| limiter.peek_wait(cost, max_wait).err();
        self.refusing.poll_inner(cx, would_refuse)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let this = &mut self.refusing;
        let format = S::format(&this.responder, &request);
        if let Some(refusal) = this.take_refusal() {
            return WaitingFuture::rejected(refusal, format);
        }
        let cost = this.cost.cost(&request);
        match this.limiter.reserve_or_go(cost, self.max_wait) {
            Ok(None) => WaitingFuture::calling(this.inner.call(request), format),
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
