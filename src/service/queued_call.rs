//! A call that is put off: it waits, readies a fresh clone of the service, then is made.
//!
//! While it waits it holds no capacity of the service: what was readied for it was let go, and
//! a clone that has not been polled ready holds nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::in_flight::{Settle, catching, panicked};
use crate::rejection::Rejection;
use crate::service::Format;

/// What a call waits for.
pub(crate) trait Wait {
    /// Leave to make the call; dropped, it is given back.
    type Leave: Settle;

    /// The leave, once it is there.
    fn poll_leave(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Leave, Rejection>>;
}

/// Makes a call whose future is an `F`.
pub(crate) trait Leave<F: Future>: Settle {
    /// The call under way.
    type Call: Future<Output = F::Output>;

    /// Makes it.
    fn make(self, call: impl FnOnce() -> F) -> Self::Call;
}

pin_project! {
    /// Not `Unpin`: what it waits for may hold a timer in place instead of in a box.
    pub struct QueuedCall<W, L, S, Req, C, M> {
        #[pin]
        state: State<W, L, S, Req, C>,
        format: M,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<W, L, S, Req, C> {
        Waiting {
            #[pin]
            wait: W,
            call: Option<(S, Req)>,
        },
        // It may be made; the service, a fresh clone, is being readied.
        Readying {
            leave: Option<L>,
            service: S,
            request: Option<Req>,
        },
        Calling {
            #[pin]
            call: C,
        },
        // The call was not made. None once that has been told.
        Rejected { rejection: Option<Rejection> },
    }
}

const READY: &str = "polled after it was ready";

impl<W, L, S, Req, C, M> QueuedCall<W, L, S, Req, C, M> {
    /// The call is made already.
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(crate) fn calling(call: impl FnOnce() -> C, format: M) -> Self {
        Self {
            state: State::Calling { call: call() },
            format,
        }
    }

    /// The call waits. `service` is a clone that has not been polled ready.
    pub(crate) fn waiting(wait: W, service: S, request: Req, format: M) -> Self {
        let call = Some((service, request));
        Self {
            state: State::Waiting { wait, call },
            format,
        }
    }

    pub(crate) fn rejected(rejection: Rejection, format: M) -> Self {
        let rejection = Some(rejection);
        Self {
            state: State::Rejected { rejection },
            format,
        }
    }
}

impl<W, L, S, Req, C, M> Future for QueuedCall<W, L, S, Req, C, M>
where
    W: Wait<Leave = L>,
    L: Leave<S::Future, Call = C>,
    S: Service<Req>,
    C: Future<Output = Result<S::Response, S::Error>>,
    M: Format<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Waiting { wait, call } => match ready!(wait.poll_leave(cx)) {
                    Ok(leave) => {
                        let (service, request) = call.take().expect(READY);
                        State::Readying {
                            leave: Some(leave),
                            service,
                            request: Some(request),
                        }
                    }
                    Err(rejection) => State::Rejected {
                        rejection: Some(rejection),
                    },
                },
                StateProjection::Readying {
                    leave,
                    service,
                    request,
                } => {
                    let readied = catching(leave, || service.poll_ready(cx), panicked);
                    let readied = ready!(readied);
                    // Dropped on an error, which gives it back.
                    let leave = leave.take().expect(READY);
                    readied?;
                    let request = request.take().expect(READY);
                    let call = leave.make(|| service.call(request));
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

impl<W, L, S, Req, C, M> fmt::Debug for QueuedCall<W, L, S, Req, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Waiting { .. } => "Waiting",
            State::Readying { .. } => "Readying",
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        })
    }
}
