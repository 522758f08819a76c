use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use super::acquire::Waiting;
use super::waiter::Entry;
use super::{Bulkhead, Permit};
use crate::config::Mode;
use crate::context::ClockReading;
use crate::context::path::Site;
use crate::in_flight::{InFlight, Settle};
use crate::keyed::{IntoSource, Source};
use crate::rejection::{Rejection, RejectionKind};
use crate::service::queued_call::{MakeCall, QueuedCall, Wait};
use crate::service::{Format, Guard, Native, Readiness, ResponseFuture};

/// A service behind a [`Bulkhead`]; made by [`BulkheadLayer`](super::BulkheadLayer).
#[derive(Clone, Debug)]
pub struct BulkheadService<S, R = Native, P = Bulkhead> {
    inner: S,
    bulkhead: P,
    site: Site,
    responder: R,
    readiness: Readiness,
}

impl<S, R, P> BulkheadService<S, R, P> {
    pub(super) fn new(inner: S, bulkhead: P, site: Site, responder: R) -> Self {
        Self {
            inner,
            bulkhead,
            site,
            responder,
            readiness: Readiness::default(),
        }
    }

    /// The rejection of a call for which the inner service is not ready.
    fn take_rejection(&mut self) -> Option<Rejection>
    where
        P: IntoSource<Bulkhead>,
    {
        let rejection = self.readiness.take_rejection()?;
        if let Some(bulkhead) = self.bulkhead.fixed() {
            bulkhead.warn_if_applied_twice(&self.site);
            bulkhead.emit_rejected(&rejection);
        }
        Some(rejection)
    }
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
        let inner = || self.inner.poll_ready(cx);
        let rejection = || self.bulkhead.fixed()?.peek().err();
        self.readiness.poll(rejection, inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        if let Some(rejection) = self.take_rejection() {
            return ResponseFuture::rejected(rejection, S::format(&self.responder, &request));
        }
        let picked = self.bulkhead.pick(&request);
        match picked.and_then(|bulkhead| {
            let bulkhead = bulkhead.into_policy();
            bulkhead.warn_if_applied_twice(&self.site);
            Permit::admit(bulkhead)
        }) {
            Ok(permit) => {
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(|| HeldCall::new(permit, call))
            }
            Err(rejection) => {
                ResponseFuture::rejected(rejection, S::format(&self.responder, &request))
            }
        }
    }
}

/// A service whose calls wait for a permit of a [`Bulkhead`]; made by
/// [`BulkheadLayer::queued`](super::BulkheadLayer::queued).
#[derive(Clone, Debug)]
pub struct QueuedService<S, R = Native, P = Bulkhead> {
    service: BulkheadService<S, R, P>,
    /// Instead of the bulkhead's own.
    max_wait: Option<Duration>,
}

impl<S, R, P> QueuedService<S, R, P> {
    pub(super) fn new(service: BulkheadService<S, R, P>, max_wait: Option<Duration>) -> Self {
        Self { service, max_wait }
    }
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
        let service = &mut self.service;
        let inner = || service.inner.poll_ready(cx);
        let rejection = || service.bulkhead.fixed()?.peek_queued(self.max_wait).err();
        service.readiness.poll(rejection, inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        if let Some(rejection) = self.service.take_rejection() {
            let format = S::format(&self.service.responder, &request);
            return QueuedFuture::rejected(rejection, format);
        }
        let picked = self.service.bulkhead.pick(&request);
        let entry = picked.and_then(|bulkhead| {
            let bulkhead = bulkhead.parts().0;
            bulkhead.warn_if_applied_twice(&self.service.site);
            bulkhead.enter(self.max_wait)
        });
        let inner = &mut self.service.inner;
        match entry {
            Ok(Entry::Admitted(permit)) => {
                let call = || clock.call(inner, |inner| inner.call(request));
                QueuedFuture::calling(permit, call)
            }
            Ok(Entry::Waiting(waiter)) => {
                // The readied service is dropped: it may hold capacity, which a waiter must not,
                // and which a clone would wait for.
                let service = inner.clone();
                *inner = inner.clone();
                let format = S::format(&self.service.responder, &request);
                QueuedFuture::waiting(Waiting::new(waiter), service, request, format)
            }
            Err(rejection) => {
                let format = S::format(&self.service.responder, &request);
                QueuedFuture::rejected(rejection, format)
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
            if let (true, Ok(response)) = (M::HOLDS, output) {
                call.as_mut().hold(|permit| M::hold(response, permit));
            }
            call.settle(Settle::completed);
        }
        polled
    }
}

type Queued<S, Req, F, M> = QueuedCall<Waiting, Permit, S, Req, HeldCall<F, M>, M>;

pin_project! {
    /// The response future of [`QueuedService`]. Dropping it leaves the queue, or frees its
    /// permit.
    ///
    /// Not `Unpin`: it holds its timer itself, without a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct QueuedFuture<S: Service<Req>, Req, M> {
        #[pin]
        call: Queued<S, Req, S::Future, M>,
    }
}

impl<S: Service<Req>, Req, M> QueuedFuture<S, Req, M> {
    // Inlined, so that the call is built where it stays: passing it through another function copies
    // the request once more.
    #[inline(always)]
    fn calling(permit: Permit, call: impl FnOnce() -> S::Future) -> Self {
        Self {
            call: QueuedCall::calling(|| HeldCall::new(permit, call)),
        }
    }

    fn waiting(waiting: Waiting, service: S, request: Req, format: M) -> Self {
        Self {
            call: QueuedCall::waiting(waiting, service, request, format),
        }
    }

    fn rejected(rejection: Rejection, format: M) -> Self {
        Self {
            call: QueuedCall::rejected(rejection, format),
        }
    }
}

impl<S, Req, M> Future for QueuedFuture<S, Req, M>
where
    S: Service<Req>,
    M: Format<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

impl<S: Service<Req>, Req, M> fmt::Debug for QueuedFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedFuture")
            .field("state", &self.call)
            .finish_non_exhaustive()
    }
}

impl Wait for Waiting {
    type Permit = Permit;

    fn poll_permit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejection>> {
        self.poll(cx)
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

    fn expire(mut self) -> Result<Self, Rejection> {
        if self.bulkhead.mode() != Mode::Enforce {
            return Ok(self);
        }
        self.free();
        Err(self.bulkhead.reject(RejectionKind::Expired))
    }
}
