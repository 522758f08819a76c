use std::task::{Context, Poll};

use tower_service::Service;

use super::Timeout;
use super::future::{ResponseFuture, Run};
use super::layer::{DurationOf, Fixed};
use crate::context::ClockReading;
use crate::service::Readiness;
use crate::service::{Guard, Native};

/// A service under a [`Timeout`]; made by [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Clone, Debug)]
pub struct TimeoutService<S, R = Native, D = Fixed> {
    inner: S,
    timeout: Timeout,
    responder: R,
    duration: D,
    readiness: Readiness,
}

impl<S, R, D> TimeoutService<S, R, D> {
    pub(super) fn new(inner: S, timeout: Timeout, responder: R, duration: D) -> Self {
        Self {
            inner,
            timeout,
            responder,
            duration,
            readiness: Readiness::default(),
        }
    }
}

impl<S, Req, R, D> Service<Req> for TimeoutService<S, R, D>
where
    S: Guard<Req, R>,
    D: DurationOf<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let inner = || self.inner.poll_ready(cx);
        self.readiness.poll(inner, || self.timeout.would_refuse())
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let format = S::format(&self.responder, &request);
        let limit = self.duration.duration(&request);
        let refused = self.readiness.take_rejection();
        let run = Run::start(&self.timeout, limit, &mut clock, refused);
        let inner = &mut self.inner;
        let call = || clock.call(inner, |inner| inner.call(request));
        ResponseFuture::call(run, format, call)
    }
}
