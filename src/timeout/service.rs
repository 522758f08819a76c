use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::Timeout;
use super::call::{Started, Timed, TimedCall};
use super::waiter::Readying;
use crate::config::Mode;
use crate::context::ClockReading;
use crate::context::path::Site;
use crate::deadline::Deadline;
use crate::rejection::{Reason, Rejection, RejectionKind};
use crate::service::{Format, Guard, Native, Readiness, ResponseFuture};

/// A service under a [`Timeout`]; made by [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Clone, Debug)]
pub struct TimeoutService<S, R = Native, D = Fixed> {
    pub(super) inner: S,
    pub(super) timeout: Timeout,
    pub(super) responder: R,
    pub(super) duration: D,
    pub(super) readiness: Readiness,
    pub(super) readying: Readying,
    pub(super) ends_with_head: bool,
    pub(super) site: Site,
}

/// The rejection of a call whose deadline has passed before it is made.
#[inline]
fn peek(timeout: &Timeout) -> Option<Rejection> {
    let deadline = Deadline::current()?;
    let expired = timeout.mode() == Mode::Enforce && deadline.has_passed();
    expired.then(|| timeout.rejection(RejectionKind::Expired))
}

impl<S, Req, R, D> Service<Req> for TimeoutService<S, R, D>
where
    S: Guard<Req, R>,
    D: DurationOf<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<Timed<S::Future, S::Format>, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let inner = || self.inner.poll_ready(cx);
        let ready = self.readiness.poll(|| peek(&self.timeout), inner);
        if ready.is_pending() {
            return self.readying.poll(&self.timeout, cx).map(|rejection| {
                self.readiness.reject(rejection);
                Ok(())
            });
        }
        ready
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let format = S::format(&self.responder, &request);
        let limit = self.duration.duration(&request);
        let since = self.readying.take();
        if limit.is_none() {
            self.timeout.warn_if_applied_twice(&self.site);
        }
        if let Some(rejection) = self.readiness.take_rejection() {
            self.timeout.emit_cut_wait(&rejection);
            return ResponseFuture::rejected(rejection, format);
        }
        match Started::new(&self.timeout, limit, since, &mut clock) {
            Ok(started) => {
                let started = started.ends_with_head(self.ends_with_head);
                let inner = &mut self.inner;
                let make = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(|| Timed::new(started, make, format))
            }
            Err(rejection) => ResponseFuture::rejected(rejection, format),
        }
    }
}

impl<F, M, Res, Err> Future for Timed<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The call first: if both are ready, its response wins.
        let end = |call: &mut TimedCall, format: &M, output: &mut Result<Res, Err>| {
            if let (true, Ok(response)) = (M::HOLDS, &mut *output) {
                call.hold(|call| M::hold(response, call));
            }
            call.completed(|| {
                let reason = format.reason(output.as_ref());
                reason.is_some_and(Reason::call_not_made)
            });
        };
        let mut polled = self.as_mut().poll_call(cx, end);
        if polled.is_pending() {
            polled = self
                .as_mut()
                .poll_timer(cx)
                .map(|rejection| self.format.clone().reject(rejection));
        }
        polled
    }
}

/// Where the duration of a call comes from. Only named in bounds.
#[allow(unreachable_pub)]
pub trait DurationOf<Req> {
    /// The duration for this request; none for the timeout's own. [`Duration::MAX`] is no limit.
    fn duration(&self, request: &Req) -> Option<Duration>;
}

/// The timeout's own duration for every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed;

impl<Req> DurationOf<Req> for Fixed {
    fn duration(&self, _: &Req) -> Option<Duration> {
        None
    }
}

/// A duration that a closure reads from the request.
#[derive(Clone, Copy)]
pub struct PerRequest<F>(pub(super) F);

impl<F> std::fmt::Debug for PerRequest<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PerRequest(..)")
    }
}

impl<Req, F: Fn(&Req) -> Option<Duration>> DurationOf<Req> for PerRequest<F> {
    fn duration(&self, request: &Req) -> Option<Duration> {
        (self.0)(request)
    }
}
