use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::Bulkhead;
use super::future::{QueuedFuture, ResponseFuture};
use super::policy::Entry;
use super::policy::acquire::Waiting;
use crate::context::ClockReading;
use crate::keyed::{Fixed, Source};
use crate::rejection::Rejection;
use crate::service::Readiness;
use crate::service::{Guard, Native};

/// A service behind a [`Bulkhead`]; made by [`BulkheadLayer`](super::BulkheadLayer).
#[derive(Clone, Debug)]
pub struct BulkheadService<S, R = Native, P = Bulkhead> {
    inner: S,
    bulkhead: P,
    responder: R,
    readiness: Readiness,
}

impl<S, R, P> BulkheadService<S, R, P> {
    pub(super) fn new(inner: S, bulkhead: P, responder: R) -> Self {
        Self {
            inner,
            bulkhead,
            responder,
            readiness: Readiness::default(),
        }
    }

    /// What this call is refused with because the inner service is not ready for it.
    fn take_refusal(&mut self) -> Option<Rejection>
    where
        P: Fixed<Bulkhead>,
    {
        let refusal = self.readiness.take_rejection()?;
        if let Some(bulkhead) = self.bulkhead.fixed() {
            bulkhead.emit_rejected(&refusal);
        }
        Some(refusal)
    }
}

impl<S, Req, R, P> Service<Req> for BulkheadService<S, R, P>
where
    S: Guard<Req, R>,
    P: Source<Req, Bulkhead>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let inner = || self.inner.poll_ready(cx);
        let refusal = || self.bulkhead.fixed()?.peek().err();
        self.readiness.poll(inner, refusal)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        let format = S::format(&self.responder, &request);
        if let Some(refusal) = self.take_refusal() {
            return ResponseFuture::rejected(refusal, format);
        }
        let picked = self.bulkhead.pick(&request);
        match picked.and_then(|bulkhead| bulkhead.into_policy().into_permit()) {
            Ok(permit) => {
                let inner = &mut self.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                ResponseFuture::calling(permit, call, format)
            }
            Err(rejection) => ResponseFuture::rejected(rejection, format),
        }
    }
}

/// A service whose calls queue for a place in a [`Bulkhead`]; made by
/// [`BulkheadLayer::queued`](super::BulkheadLayer::queued).
#[derive(Clone, Debug)]
pub struct QueuedService<S, R = Native, P = Bulkhead> {
    refusing: BulkheadService<S, R, P>,
    max_wait: Option<Duration>,
}

impl<S, R, P> QueuedService<S, R, P> {
    pub(super) fn new(refusing: BulkheadService<S, R, P>, max_wait: Option<Duration>) -> Self {
        Self { refusing, max_wait }
    }

    /// As the layer says, or else the bulkhead, which may say something new at any time.
    fn max_wait(&self, bulkhead: &Bulkhead) -> Duration {
        self.max_wait.unwrap_or(bulkhead.max_wait())
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
        let max_wait = self.refusing.bulkhead.fixed();
        let max_wait = max_wait.map(|bulkhead| self.max_wait(bulkhead));
        let this = &mut self.refusing;
        let inner = || this.inner.poll_ready(cx);
        let would_refuse = || this.bulkhead.fixed()?.peek_queue(max_wait?).err();
        this.readiness.poll(inner, would_refuse)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        let format = S::format(&self.refusing.responder, &request);
        if let Some(refusal) = self.refusing.take_refusal() {
            return QueuedFuture::rejected(refusal, format);
        }
        let picked = self.refusing.bulkhead.pick(&request);
        let entry = picked.and_then(|bulkhead| {
            let (bulkhead, _) = bulkhead.parts();
            bulkhead.enter(self.max_wait(bulkhead))
        });
        let this = &mut self.refusing;
        match entry {
            Ok(Entry::Admitted(permit)) => {
                let inner = &mut this.inner;
                let call = || clock.call(inner, |inner| inner.call(request));
                QueuedFuture::calling(permit, call, format)
            }
            Ok(Entry::Queued(place)) => {
                // The readied service goes: a clone beside it could wait for ever for what it
                // holds, and whoever queues is to hold nothing.
                let service = this.inner.clone();
                this.inner = this.inner.clone();
                QueuedFuture::waiting(Waiting::new(place), service, request, format)
            }
            Err(rejection) => QueuedFuture::rejected(rejection, format),
        }
    }
}
