use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::Bulkhead;
use super::future::{QueuedFuture, ResponseFuture};
use super::policy::Entry;
use super::policy::acquire::Waiting;
use crate::guard::Readiness;
use crate::rejection::{Guard, Native, Rejection};

/// A service behind a [`Bulkhead`]; made by [`BulkheadLayer`](super::BulkheadLayer).
#[derive(Clone, Debug)]
pub struct BulkheadService<S, R = Native> {
    inner: S,
    bulkhead: Bulkhead,
    responder: R,
    readiness: Readiness,
}

impl<S, R> BulkheadService<S, R> {
    pub(super) fn new(inner: S, bulkhead: Bulkhead, responder: R) -> Self {
        Self {
            inner,
            bulkhead,
            responder,
            readiness: Readiness::default(),
        }
    }

    /// What this call is refused with because the inner service is not ready for it.
    fn take_refusal(&mut self) -> Option<Rejection> {
        let refusal = self.readiness.take_refusal()?;
        self.bulkhead.tell_rejected(&refusal);
        Some(refusal)
    }
}

impl<S, Req, R> Service<Req> for BulkheadService<S, R>
where
    S: Guard<Req, R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Format>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let inner = || self.inner.poll_ready(cx);
        self.readiness.poll(inner, || self.bulkhead.peek().err())
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let format = S::format(&self.responder, &request);
        if let Some(refusal) = self.take_refusal() {
            return ResponseFuture::rejected(refusal, format);
        }
        match self.bulkhead.try_acquire_owned() {
            Ok(permit) => ResponseFuture::calling(permit, || self.inner.call(request), format),
            Err(rejection) => ResponseFuture::rejected(rejection, format),
        }
    }
}

/// A service whose calls queue for a place in a [`Bulkhead`]; made by
/// [`BulkheadLayer::queued`](super::BulkheadLayer::queued).
#[derive(Clone, Debug)]
pub struct QueuedService<S, R = Native> {
    refusing: BulkheadService<S, R>,
    max_wait: Option<Duration>,
}

impl<S, R> QueuedService<S, R> {
    pub(super) fn new(refusing: BulkheadService<S, R>, max_wait: Option<Duration>) -> Self {
        Self { refusing, max_wait }
    }

    /// As the layer says, or else the bulkhead, which may say something new at any time.
    fn max_wait(&self) -> Duration {
        self.max_wait.unwrap_or(self.refusing.bulkhead.max_wait())
    }
}

impl<S, Req, R> Service<Req> for QueuedService<S, R>
where
    S: Guard<Req, R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = QueuedFuture<S, Req, S::Format>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let max_wait = self.max_wait();
        let this = &mut self.refusing;
        let inner = || this.inner.poll_ready(cx);
        let would_refuse = || this.bulkhead.peek_queue(max_wait).err();
        this.readiness.poll(inner, would_refuse)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let max_wait = self.max_wait();
        let this = &mut self.refusing;
        let format = S::format(&this.responder, &request);
        if let Some(refusal) = this.take_refusal() {
            return QueuedFuture::rejected(refusal, format);
        }
        match this.bulkhead.enter(max_wait) {
            Ok(Entry::Admitted(permit)) => {
                QueuedFuture::calling(permit, || this.inner.call(request), format)
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
