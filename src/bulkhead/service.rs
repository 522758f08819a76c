use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use super::waiter::Waiter;
use super::{Bulkhead, Permit};
use crate::config::Mode;
use crate::context::ClockReading;
use crate::in_flight::{InFlight, Settle};
use crate::keyed::{Picked, Source};
use crate::rejection::{Rejection, RejectionKind};
use crate::service::queued_call::{MakeCall, QueuedCall};
use crate::service::{Format, Front, Guard, Native, ResponseFuture};

/// A service behind a [`Bulkhead`]; made by [`BulkheadLayer`](super::BulkheadLayer).
#[derive(Clone, Debug)]
pub struct BulkheadService<S, R = Native, P = Bulkhead> {
    pub(super) inner: S,
    pub(super) front: Front<P, R>,
}

impl<S, Req, R, P> Service<Req> for BulkheadService<S, R, P>
where
    S: Guard<Req, R>,
    P: Source<Req, Bulkhead>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<HeldCall<S::Future, S::Format>, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let would_reject = |bulkhead: &Bulkhead| bulkhead.peek().err();
        let inner = || self.inner.poll_ready(cx);
        self.front.poll_ready(would_reject, inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        let admit = |picked: Picked<'_, _>| Permit::admit(picked.into_policy());
        match self.front.admit(&request, admit) {
            Ok(permit) => {
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(|| HeldCall::new(permit, call))
            }
            Err(rejection) => {
                let format = S::format(&self.front.responder, &request);
                ResponseFuture::rejected(rejection, format)
            }
        }
    }
}

/// The response future of [`QueuedService`]. Dropping it leaves the queue, or frees its permit.
///
/// Not `Unpin`: it holds its timer itself, without a box.
pub type QueuedFuture<S, Req, M> =
    QueuedCall<Waiter, S, Req, HeldCall<<S as Service<Req>>::Future, M>, M>;

/// A service whose calls wait for a permit of a [`Bulkhead`]; made by
/// [`BulkheadLayer::queued`](super::BulkheadLayer::queued).
#[derive(Clone, Debug)]
pub struct QueuedService<S, R = Native, P = Bulkhead> {
    pub(super) service: BulkheadService<S, R, P>,
    /// The layer's longest wait, instead of the bulkhead's.
    pub(super) max_wait: Option<Duration>,
}

impl<S, Req, R, P> Service<Req> for QueuedService<S, R, P>
where
    S: Guard<Req, R> + Clone,
    P: Source<Req, Bulkhead>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = QueuedFuture<S, Req, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let (BulkheadService { inner, front }, max_wait) = (&mut self.service, self.max_wait);
        let would_reject = |bulkhead: &Bulkhead| bulkhead.peek_queued(max_wait).err();
        front.poll_ready(would_reject, || inner.poll_ready(cx))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        let BulkheadService { inner, front } = &mut self.service;
        let enter = |picked: Picked<'_, Bulkhead>| picked.parts().0.enter(self.max_wait);
        match front.admit(&request, enter) {
            Ok(Ok(permit)) => {
                let call = || clock.call(inner, |inner| inner.call(request));
                QueuedFuture::calling(|| HeldCall::new(permit, call))
            }
            Ok(Err(waiter)) => {
                let format = S::format(&front.responder, &request);
                QueuedFuture::waiting(waiter, inner, request, format)
            }
            Err(rejection) => {
                QueuedFuture::rejected(rejection, S::format(&front.responder, &request))
            }
        }
    }
}

pin_project! {
    /// A call and its permit, which goes into the response where `M` holds it.
    #[must_use = "futures do nothing unless polled"]
    pub struct HeldCall<F, M> {
        #[pin]
        call: InFlight<F, Permit>,
        format: PhantomData<fn() -> M>,
    }
}

impl<F, M> HeldCall<F, M> {
    // Inlined, so that the call is built where it stays.
    #[inline(always)]
    fn new(permit: Permit, call: impl FnOnce() -> F) -> Self {
        Self {
            call: InFlight::call(permit, call),
            format: PhantomData,
        }
    }
}

impl<F, M, Res, Err> Future for HeldCall<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut call = self.project().call;
        let mut polled = call.as_mut().poll_call(cx);
        if let Poll::Ready(output) = &mut polled {
            // A call that lasts until the end of its body: the permit moves into the response.
            if let (true, Ok(response)) = (M::HOLDS, output) {
                call.as_mut().hold(|permit| M::hold(response, permit));
            }
            // Any other call ends here.
            call.settle(Settle::completed);
        }
        polled
    }
}

impl<F, M, Res, Err> MakeCall<F, M> for Permit
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Call = HeldCall<F, M>;

    fn make(self, call: impl FnOnce() -> F) -> Self::Call {
        HeldCall::new(self, call)
    }

    // A call that waited for its permit, and then for the service, until its deadline had passed.
    fn expire(mut self) -> Result<Self, Rejection> {
        match self.bulkhead.take() {
            Some(bulkhead) if bulkhead.mode() == Mode::Enforce => {
                bulkhead.free_permit();
                Err(bulkhead.reject(RejectionKind::Expired))
            }
            // In the other modes the bulkhead rejects no call.
            counted => {
                self.bulkhead = counted;
                Ok(self)
            }
        }
    }
}
