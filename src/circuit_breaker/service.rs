use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use super::gate::Pass;
use super::gates::Membership;
use super::permit::Permit;
use super::policy::CircuitBreaker;
use crate::classify::{Outcome, Standard};
use crate::context::ClockReading;
use crate::in_flight::InFlight;
use crate::keyed::{Picked, Source};
use crate::macros::debug_fields;
use crate::service::{Format, Front, Judged, Native, ResponseFuture, Verdict};
use crate::time::{self, Sleep, Tick};

/// A service under a [`CircuitBreaker`]; made by
/// [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
#[derive(Clone, Debug)]
pub struct CircuitBreakerService<S, R = Native, C = Standard, P = CircuitBreaker> {
    pub(super) inner: S,
    pub(super) front: Front<P, R>,
    pub(super) classifier: C,
}

impl<S, Req, R, C, P> Service<Req> for CircuitBreakerService<S, R, C, P>
where
    S: Judged<Req, R, C>,
    P: Source<Req, CircuitBreaker>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CallFuture<S::Future, S::Verdict, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let inner = || self.inner.poll_ready(cx);
        let would_reject = |breaker: &CircuitBreaker| Some(breaker.rejection(breaker.shut()?.0));
        self.front.poll_ready(would_reject, inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.call_with(request, Pass::Breaker)
    }
}

type CallFuture<F, V, M> = ResponseFuture<JudgedCall<F, V, M>, M>;

impl<S, R, C, P> CircuitBreakerService<S, R, C, P> {
    /// Makes a call that a gate may have admitted already.
    #[inline(always)]
    fn call_with<Req>(
        &mut self,
        request: Req,
        pass: Pass,
    ) -> CallFuture<S::Future, S::Verdict, S::Format>
    where
        S: Judged<Req, R, C>,
        P: Source<Req, CircuitBreaker>,
    {
        let clock = ClockReading::of(self);
        let admit = |picked: Picked<'_, _>| Permit::acquire_with(picked.into_policy(), pass);
        match self.front.admit(&request, admit) {
            Ok(permit) => {
                let verdict = S::verdict(&self.classifier);
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                let judged = || JudgedCall {
                    call: InFlight::call(permit, call),
                    verdict,
                    format: PhantomData,
                };
                ResponseFuture::calling(judged)
            }
            Err(rejection) => {
                let format = S::format(&self.front.responder, &request);
                ResponseFuture::rejected(rejection, format)
            }
        }
    }
}

pin_project! {
    /// A call under its permit, and what judges its outcome. The permit of a success goes into
    /// the response where `M` holds it.
    #[must_use = "futures do nothing unless polled"]
    pub struct JudgedCall<F, V, M> {
        #[pin]
        call: InFlight<F, Permit>,
        verdict: V,
        format: PhantomData<fn() -> M>,
    }
}

impl<F, V, M, Res, Err> Future for JudgedCall<F, V, M>
where
    F: Future<Output = Result<Res, Err>>,
    V: Verdict<Res, Err>,
    M: Format<Res, Err>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut polled = this.call.as_mut().poll_call(cx);
        if let Poll::Ready(output) = &mut polled {
            let judge = || this.verdict.judge(output.as_ref()).0;
            let outcome = this.call.as_mut().judge(judge);
            match (outcome, output) {
                (Outcome::Success, Ok(response)) if M::HOLDS => this.call.hold(|permit| {
                    M::hold(response, permit)?.success();
                    None
                }),
                (Outcome::Success, _) => {
                    this.call.settle(|permit| permit.settle(outcome, &|| None));
                }
                _ => return settle_other(this.call, this.verdict, outcome, polled),
            }
        }
        polled
    }
}

/// Settles the permit of a call that is no success.
// It takes the outcome and returns it: an outcome whose address is passed on is kept in memory, and
// copied from there, also where the call is a success.
#[cold]
fn settle_other<F, V, Res, Err>(
    call: Pin<&mut InFlight<F, Permit>>,
    verdict: &V,
    outcome: Outcome,
    polled: Poll<Result<Res, Err>>,
) -> Poll<Result<Res, Err>>
where
    V: Verdict<Res, Err>,
{
    if let Poll::Ready(output) = &polled {
        let text = || verdict.text(output.as_ref().err()?);
        call.settle(|permit| permit.settle(outcome, &text));
    }
    polled
}

/// A service that is not ready while its [`CircuitBreaker`] admits nothing; made by
/// [`CircuitBreakerLayer::gated`](super::CircuitBreakerLayer::gated).
pub struct GatedService<S, R = Native, C = Standard> {
    pub(super) service: CircuitBreakerService<S, R, C>,
    /// Its id at the gate.
    id: u64,
    waiting: bool,
    /// Until the next probe is due, or the ramp is tried again; none unless it waits for one. In a
    /// box, because a service can move and a timer cannot.
    sleep: Option<Pin<Box<Sleep>>>,
    ramp: Ramp,
    membership: Option<Membership>,
    /// Ready because too many others of its set are shut.
    exempt: bool,
}

/// A gate on a ramp: one draw decides readiness and the call that follows.
///
/// The ramp admits a share of the calls, and a gate sees only those that it is ready for. So after
/// a draw that admits no call it waits for as long as it was ready before the last call came: that
/// is when the next one would have come.
struct Ramp {
    /// The generation whose ramp admits the next call.
    drawn: Option<u32>,
    /// When it was last drawn, with either result.
    at: Tick,
    /// How long it was ready before the last call.
    spacing: Duration,
}

/// Before the first call on a ramp, and at least: the resolution of timers.
const LEAST_SPACING: Duration = Duration::from_millis(1);

impl Ramp {
    const fn new() -> Self {
        Self {
            drawn: None,
            at: Tick::ZERO,
            spacing: LEAST_SPACING,
        }
    }

    /// Until when the ramp admits no call by this gate.
    fn shut_until(&mut self, breaker: &CircuitBreaker) -> Option<Tick> {
        let generation = breaker.ramp();
        if generation.is_none() || generation == self.drawn {
            return None;
        }
        let now = time::now();
        let until = self.at.after(self.spacing);
        if self.drawn.is_none() && now < until {
            return Some(until);
        }
        self.at = now;
        let (admits, generation) = breaker.draw(now)?;
        self.drawn = admits.then_some(generation);
        (!admits).then(|| now.after(self.spacing))
    }

    /// A call comes. Returns the generation whose ramp admits it.
    fn take(&mut self) -> Option<u32> {
        let drawn = self.drawn.take()?;
        let now = time::now();
        self.spacing = now.since(self.at).max(LEAST_SPACING);
        // The next draw is due at once.
        self.at = Tick::ZERO;
        Some(drawn)
    }
}

impl<S, R, C> GatedService<S, R, C> {
    pub(super) fn new(
        service: CircuitBreakerService<S, R, C>,
        membership: Option<Membership>,
    ) -> Self {
        let id = service.front.policy.0.gate.id();
        Self {
            service,
            id,
            waiting: false,
            sleep: None,
            ramp: Ramp::new(),
            membership,
            exempt: false,
        }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = self.shut_until(cx) {
            if self.sleep_until(until, cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.cancel();
        Poll::Ready(())
    }

    /// Until when the gate is shut. If it is, this service is woken when that changes.
    fn shut_until(&mut self, cx: &Context<'_>) -> Option<Tick> {
        self.decide()?;
        self.service.front.policy.0.gate.wait(self.id, cx);
        self.waiting = true;
        // Again: it may have changed before this service waited.
        self.decide()
    }

    fn decide(&mut self) -> Option<Tick> {
        let breaker = &self.service.front.policy;
        self.exempt = false;
        let Some((_, until)) = breaker.shut() else {
            return self.ramp.shut_until(breaker);
        };
        let membership = self.membership.as_mut();
        self.exempt = membership.is_some_and(|set| !set.wait(breaker.is_forced_open()));
        (!self.exempt).then_some(until)
    }

    fn cancel(&mut self) {
        if std::mem::replace(&mut self.waiting, false) {
            self.service.front.policy.0.gate.cancel(self.id);
        }
        if let Some(membership) = &mut self.membership {
            membership.cancel();
        }
        self.sleep = None;
    }

    #[allow(clippy::disallowed_methods)] // A call that waits may allocate once.
    fn sleep_until(&mut self, until: Tick, cx: &mut Context<'_>) -> Poll<Tick> {
        let sleep = match self.sleep.take() {
            Some(sleep) if sleep.deadline() == until => self.sleep.insert(sleep),
            _ => self.sleep.insert(Box::pin(Sleep::until(until))),
        };
        sleep.as_mut().poll_elapsed(cx)
    }
}

impl<S, Req, R, C> Service<Req> for GatedService<S, R, C>
where
    S: Judged<Req, R, C>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CallFuture<S::Future, S::Verdict, S::Format>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.poll_gate(cx) {
            Poll::Ready(()) => self.service.inner.poll_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let pass = match (std::mem::replace(&mut self.exempt, false), self.ramp.take()) {
            (true, _) => Pass::Set,
            (false, Some(generation)) => Pass::Ramp(generation),
            (false, None) => Pass::Breaker,
        };
        self.service.call_with(request, pass)
    }
}

impl<S: Clone, R: Clone, C: Clone> Clone for GatedService<S, R, C> {
    /// A clone waits at the gate for itself.
    fn clone(&self) -> Self {
        Self::new(self.service.clone(), self.membership.clone())
    }
}

impl<S, R, C> Drop for GatedService<S, R, C> {
    fn drop(&mut self) {
        self.cancel();
    }
}

debug_fields!([S: fmt::Debug, R: fmt::Debug, C: fmt::Debug] GatedService<S, R, C>, this:
    service = this.service, waiting = this.waiting);
