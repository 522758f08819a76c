use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Reservation;
use super::policy::acquire::Waiting;
use crate::in_flight::Settle;
use crate::rejection::Rejection;
use crate::service::Format;
use crate::service::queued_call::{MakeCall, QueuedCall, Wait};

pin_project! {
    /// A reservation, waited for. The timer is not set before the first poll, which knows the
    /// deadline that the waiting is done under: behind a buffer the call does not.
    pub(super) struct Reserved {
        // None once it is waited for.
        reservation: Option<Reservation>,
        #[pin]
        waiting: Option<Waiting>,
    }
}

impl Wait for Reserved {
    type Permit = Reservation;

    fn poll_permit(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reservation, Rejection>> {
        let mut this = self.project();
        if let Some(reservation) = this.reservation.take() {
            let reservation = reservation.within_deadline()?;
            this.waiting.set(Some(Waiting::new(reservation)));
        }
        let waiting = this.waiting.as_mut().as_pin_mut();
        waiting.expect("polled after it was ready").poll(cx)
    }
}

impl Settle for Reservation {
    // The call was not made: the token goes back.
    fn panicked(self) {}
}

impl<F: Future> MakeCall<F> for Reservation {
    type Call = F;

    fn make(self, call: impl FnOnce() -> F) -> F {
        self.commit();
        call()
    }
}

pin_project! {
    /// The response future of [`WaitingService`](super::WaitingService). Dropping it while it
    /// waits gives its token back.
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct WaitingFuture<S: Service<Req>, Req, M> {
        #[pin]
        deferred: QueuedCall<Reserved, Reservation, S, Req, S::Future, M>,
    }
}

impl<S: Service<Req>, Req, M> WaitingFuture<S, Req, M> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(super) fn calling(call: impl FnOnce() -> S::Future, format: M) -> Self {
        Self {
            deferred: QueuedCall::calling(call, format),
        }
    }

    pub(super) fn waiting(reservation: Reservation, service: S, request: Req, format: M) -> Self {
        let reserved = Reserved {
            reservation: Some(reservation),
            waiting: None,
        };
        let deferred = QueuedCall::waiting(reserved, service, request, format);
        Self { deferred }
    }

    pub(super) fn rejected(rejection: Rejection, format: M) -> Self {
        let deferred = QueuedCall::rejected(rejection, format);
        Self { deferred }
    }
}

impl<S, Req, M> Future for WaitingFuture<S, Req, M>
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

impl<S: Service<Req>, Req, M> fmt::Debug for WaitingFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingFuture")
            .field("state", &self.deferred)
            .finish_non_exhaustive()
    }
}
