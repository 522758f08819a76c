use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Reservation;
use super::policy::acquire::Waiting;
use crate::rejection::{Format, Rejection};

pin_project! {
    /// The response future of [`RateLimitService`](super::RateLimitService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, M> {
        #[pin]
        state: Admitted<F>,
        format: M,
    }
}

pin_project! {
    #[project = AdmittedProjection]
    enum Admitted<F> {
        // The token is spent and the call made.
        Calling {
            #[pin]
            call: F,
        },
        // The call was not made. None once that has been told.
        Rejected { rejection: Option<Rejection> },
    }
}

impl<F, M> ResponseFuture<F, M> {
    pub(super) fn calling(call: F, format: M) -> Self {
        Self {
            state: Admitted::Calling { call },
            format,
        }
    }

    pub(super) fn rejected(rejection: Rejection, format: M) -> Self {
        let rejection = Some(rejection);
        Self {
            state: Admitted::Rejected { rejection },
            format,
        }
    }
}

impl<F, M, Res, Err> Future for ResponseFuture<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            AdmittedProjection::Calling { call } => call.poll(cx),
            AdmittedProjection::Rejected { rejection } => {
                let rejection = rejection.take().expect("polled after it was ready");
                Poll::Ready(this.format.reject(rejection))
            }
        }
    }
}

impl<F, M> fmt::Debug for ResponseFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            Admitted::Calling { .. } => "Calling",
            Admitted::Rejected { .. } => "Rejected",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
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
        state: State<S, Req, S::Future>,
        format: M,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        // A token is reserved; the timer is not set before the first poll, which knows the
        // deadline that the waiting is done under: behind a buffer the call does not.
        Reserved {
            reservation: Option<Reservation>,
            call: Option<(S, Req)>,
        },
        Waiting {
            #[pin]
            waiting: Waiting,
            call: Option<(S, Req)>,
        },
        // The token is there; the service, a fresh clone, is being readied. The token is spent
        // when the call is made.
        Readying {
            reservation: Option<Reservation>,
            service: S,
            request: Option<Req>,
        },
        Calling {
            #[pin]
            call: F,
        },
        // The call was not made. None once that has been told.
        Rejected { rejection: Option<Rejection> },
    }
}

impl<S: Service<Req>, Req, M> WaitingFuture<S, Req, M> {
    pub(super) fn calling(call: S::Future, format: M) -> Self {
        Self {
            state: State::Calling { call },
            format,
        }
    }

    pub(super) fn waiting(reservation: Reservation, service: S, request: Req, format: M) -> Self {
        let state = State::Reserved {
            reservation: Some(reservation),
            call: Some((service, request)),
        };
        Self { state, format }
    }

    pub(super) fn rejected(rejection: Rejection, format: M) -> Self {
        let rejection = Some(rejection);
        Self {
            state: State::Rejected { rejection },
            format,
        }
    }
}

const READY: &str = "polled after it was ready";

impl<S, Req, M> Future for WaitingFuture<S, Req, M>
where
    S: Service<Req>,
    M: Format<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Reserved { reservation, call } => {
                    match reservation.take().expect(READY).within_deadline() {
                        Ok(reservation) => State::Waiting {
                            waiting: Waiting::new(reservation),
                            call: call.take(),
                        },
                        Err(rejection) => State::Rejected {
                            rejection: Some(rejection),
                        },
                    }
                }
                StateProjection::Waiting { waiting, call } => match ready!(waiting.poll(cx)) {
                    Ok(reservation) => {
                        let (service, request) = call.take().expect(READY);
                        State::Readying {
                            reservation: Some(reservation),
                            service,
                            request: Some(request),
                        }
                    }
                    Err(rejection) => State::Rejected {
                        rejection: Some(rejection),
                    },
                },
                StateProjection::Readying {
                    reservation,
                    service,
                    request,
                } => {
                    let readied = ready!(service.poll_ready(cx));
                    // Dropped on an error, which gives the token back.
                    let reservation = reservation.take().expect(READY);
                    readied?;
                    reservation.commit();
                    let call = service.call(request.take().expect(READY));
                    State::Calling { call }
                }
                StateProjection::Calling { call } => return call.poll(cx),
                StateProjection::Rejected { rejection } => {
                    let rejection = rejection.take().expect(READY);
                    return Poll::Ready(this.format.reject(rejection));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Req>, Req, M> fmt::Debug for WaitingFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reserved { .. } | State::Waiting { .. } => "Waiting",
            State::Readying { .. } => "Readying",
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        };
        f.debug_struct("WaitingFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
