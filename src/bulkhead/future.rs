use std::borrow::Borrow;
#[cfg(feature = "tower")]
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
#[cfg(feature = "tower")]
use tower_service::Service;

#[cfg(feature = "tower")]
use super::policy::acquire::Waiting;
use super::{Bulkhead, Permit};
use crate::in_flight::{InFlight, catching, panicked};
use crate::rejection::Error;
#[cfg(feature = "tower")]
use crate::rejection::Rejection;
#[cfg(feature = "tower")]
use crate::service::Format;
#[cfg(feature = "tower")]
use crate::service::queued_call::{MakeCall, QueuedCall, Wait};

pin_project! {
    /// A call in its place, which is free before the outcome is told.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Held<F, B: Borrow<Bulkhead>> {
        #[pin]
        call: InFlight<F, Permit<B>>,
    }
}

impl<F, B: Borrow<Bulkhead>> Held<F, B> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    fn call(permit: Permit<B>, call: impl FnOnce() -> F) -> Self {
        Self {
            call: InFlight::call(permit, call),
        }
    }
}

impl<F: Future, B: Borrow<Bulkhead>> Future for Held<F, B> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut call = self.project().call;
        let polled = call.as_mut().poll_call(cx);
        if polled.is_ready() {
            call.settle(Permit::settle);
        }
        polled
    }
}

impl Bulkhead {
    /// Makes the call if there is a place. Never waits, and needs no runtime; see
    /// [`run_queued`](Self::run_queued) for what does.
    ///
    /// ```
    /// # use seawall::{Bulkhead, Error};
    /// # async fn f() -> Result<(), Error<std::io::Error>> {
    /// # async fn query() -> std::io::Result<u32> { Ok(1) }
    /// let bulkhead = Bulkhead::new(100);
    /// let rows = bulkhead.run(|| query()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Rejected`] as [`try_acquire`](Self::try_acquire), without `call` having been
    /// called; [`Error::Service`] with what it failed with.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call and frees its place. So does a panic in the call.
    pub async fn run<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.try_acquire()?;
        Held::call(permit, call).await.map_err(Error::Service)
    }

    /// Makes the call, queueing for a place if there is none.
    ///
    /// # Errors
    /// [`Error::Rejected`] as [`acquire`](Self::acquire), without `call` having been called;
    /// [`Error::Service`] with what it failed with.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue, or drops the call and frees its place. So does a
    /// panic in the call.
    ///
    /// # Panics
    /// When polled outside of a tokio runtime, and then only if there is something to wait for.
    #[cfg(feature = "tokio")]
    pub async fn run_queued<T, E, F, Fut>(&self, call: F) -> Result<T, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.acquire().await?;
        Held::call(permit, call).await.map_err(Error::Service)
    }

    /// Makes the call in blocking code if there is a place. Never waits: to wait,
    /// [`acquire_blocking`](Self::acquire_blocking) before the call.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_blocking<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        let mut permit = Some(self.try_acquire()?);
        let output = catching(&mut permit, call, panicked);
        if let Some(permit) = permit {
            permit.release();
        }
        output.map_err(Error::Service)
    }
}

#[cfg(feature = "tower")]
pin_project! {
    /// The response future of [`BulkheadService`](super::BulkheadService). Dropping it frees its
    /// place.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, M> {
        #[pin]
        state: State<F>,
        format: M,
    }
}

#[cfg(feature = "tower")]
pin_project! {
    #[project = StateProjection]
    enum State<F> {
        // The call was made in a place.
        Calling {
            #[pin]
            call: Held<F, Bulkhead>,
        },
        // The call was not made. None once that has been told.
        Rejected { rejection: Option<Rejection> },
    }
}

#[cfg(feature = "tower")]
impl<F, M> ResponseFuture<F, M> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(super) fn calling(permit: Permit, call: impl FnOnce() -> F, format: M) -> Self {
        Self {
            state: State::Calling {
                call: Held::call(permit, call),
            },
            format,
        }
    }

    pub(super) fn rejected(rejection: Rejection, format: M) -> Self {
        let rejection = Some(rejection);
        Self {
            state: State::Rejected { rejection },
            format,
        }
    }
}

#[cfg(feature = "tower")]
impl<F, M, Res, Err> Future for ResponseFuture<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProjection::Calling { call } => call.poll(cx),
            StateProjection::Rejected { rejection } => {
                let rejection = rejection.take().expect("polled after it was ready");
                Poll::Ready(this.format.reject(rejection))
            }
        }
    }
}

#[cfg(feature = "tower")]
impl<F, M> fmt::Debug for ResponseFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "tower")]
impl Wait for Waiting {
    type Permit = Permit;

    fn poll_permit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejection>> {
        self.poll(cx)
    }
}

#[cfg(feature = "tower")]
impl<F: Future> MakeCall<F> for Permit {
    type Call = Held<F, Bulkhead>;

    fn make(self, call: impl FnOnce() -> F) -> Self::Call {
        Held::call(self, call)
    }
}

#[cfg(feature = "tower")]
pin_project! {
    /// The response future of [`QueuedService`](super::QueuedService). Dropping it leaves the
    /// queue, or frees its place.
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct QueuedFuture<S: Service<Req>, Req, M> {
        #[pin]
        deferred: Queued<S, Req, S::Future, M>,
    }
}

#[cfg(feature = "tower")]
type Queued<S, Req, F, M> = QueuedCall<Waiting, Permit, S, Req, Held<F, Bulkhead>, M>;

#[cfg(feature = "tower")]
impl<S: Service<Req>, Req, M> QueuedFuture<S, Req, M> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(super) fn calling(permit: Permit, call: impl FnOnce() -> S::Future, format: M) -> Self {
        Self {
            deferred: QueuedCall::calling(|| Held::call(permit, call), format),
        }
    }

    pub(super) fn waiting(waiting: Waiting, service: S, request: Req, format: M) -> Self {
        let deferred = QueuedCall::waiting(waiting, service, request, format);
        Self { deferred }
    }

    pub(super) fn rejected(rejection: Rejection, format: M) -> Self {
        let deferred = QueuedCall::rejected(rejection, format);
        Self { deferred }
    }
}

#[cfg(feature = "tower")]
impl<S, Req, M> Future for QueuedFuture<S, Req, M>
where
    S: Service<Req>,
    M: Format<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().deferred.poll(cx)
    }
}

#[cfg(feature = "tower")]
impl<S: Service<Req>, Req, M> fmt::Debug for QueuedFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedFuture")
            .field("state", &self.deferred)
            .finish_non_exhaustive()
    }
}
