use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::ending::End;
use super::permit::Permit;
use super::policy::CircuitBreaker;
use crate::classify::Standard;
use crate::context::ClockReading;
use crate::in_flight::InFlight;
use crate::keyed::Source;
use crate::service::{Judged, Native, Readiness, ResponseFuture, Verdict};

/// A service under a [`CircuitBreaker`]; made by
/// [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
#[derive(Clone, Debug)]
pub struct CircuitBreakerService<S, R = Native, C = Standard, P = CircuitBreaker> {
    pub(super) inner: S,
    pub(super) breaker: P,
    responder: R,
    classifier: C,
    readiness: Readiness,
}

impl<S, R, C, P> CircuitBreakerService<S, R, C, P> {
    pub(super) fn new(inner: S, breaker: P, responder: R, classifier: C) -> Self {
        Self {
            inner,
            breaker,
            responder,
            classifier,
            readiness: Readiness::default(),
        }
    }
}

impl<S, Req, R, C, P> Service<Req> for CircuitBreakerService<S, R, C, P>
where
    S: Judged<Req, R, C>,
    P: Source<Req, CircuitBreaker>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<JudgedCall<S::Future, S::Verdict>, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let inner = || self.inner.poll_ready(cx);
        let rejection = || {
            let breaker = self.breaker.fixed()?;
            Some(breaker.rejection(breaker.shut()?.rejected))
        };
        self.readiness.poll(rejection, inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.call_drawn(request, None)
    }
}

impl<S, R, C, P> CircuitBreakerService<S, R, C, P> {
    /// Makes a call that the ramp of the generation `drawn` has admitted already.
    #[inline(always)]
    pub(super) fn call_drawn<Req>(
        &mut self,
        request: Req,
        drawn: Option<u32>,
    ) -> ResponseFuture<JudgedCall<S::Future, S::Verdict>, S::Format>
    where
        S: Judged<Req, R, C>,
        P: Source<Req, CircuitBreaker>,
    {
        let clock = ClockReading::of(self);
        let format = S::format(&self.responder, &request);
        if let Some(rejection) = self.readiness.take_rejection() {
            if let Some(breaker) = self.breaker.fixed() {
                breaker.emit_rejected(&rejection);
            }
            return ResponseFuture::rejected(rejection, format);
        }
        let picked = self.breaker.pick(&request);
        match picked.and_then(|breaker| Permit::acquire_drawn(breaker.into_policy(), drawn)) {
            Ok(permit) => {
                let verdict = S::verdict(&self.classifier);
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                let judged = || JudgedCall {
                    call: InFlight::call(permit, call),
                    verdict,
                };
                ResponseFuture::calling(judged, format)
            }
            Err(rejection) => ResponseFuture::rejected(rejection, format),
        }
    }
}

pin_project! {
    /// A call under its permit, and what judges its outcome.
    #[must_use = "futures do nothing unless polled"]
    pub struct JudgedCall<F, V> {
        #[pin]
        call: InFlight<F, Permit>,
        verdict: V,
    }
}

impl<F, V, Res, Err> Future for JudgedCall<F, V>
where
    F: Future<Output = Result<Res, Err>>,
    V: Verdict<Res, Err>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = this.call.as_mut().poll_call(cx);
        if let Poll::Ready(output) = &polled {
            let verdict = this.verdict;
            let outcome = || End::Outcome(verdict.judge(output.as_ref()).0);
            this.call.settle(|permit| permit.settle(outcome()));
        }
        polled
    }
}
