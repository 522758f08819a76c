//! A call that waits, readies a fresh clone of the service, and is made.
//!
//! A waiting call holds no capacity of the service: the layer releases the service that was polled
//! ready for it, and a clone that has not been polled ready holds nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::context::CallContext;
use crate::in_flight::{Settle, catching, panicked};
use crate::rejection::Rejection;
use crate::service::Format;
use crate::time::{Sleep, Tick};
use crate::waiting::{Waiter, Waiting};

/// A permit that makes the call whose future is `F`, and whose outcome has the format `M`.
pub(crate) trait MakeCall<F: Future, M>: Settle {
    /// The call in flight.
    type Call: Future<Output = F::Output>;

    fn make(self, call: impl FnOnce() -> F) -> Self::Call;

    /// The deadline has passed, and the call is not made: releases the permit, and the rejection is
    /// its terminal event. Returns the permit if the policy rejects nothing.
    fn expire(self) -> Result<Self, Rejection>
    where
        Self: Sized;
}

pin_project! {
    /// The response future of a layer that waits. It is not `Unpin`, because `W` holds its timer
    /// in place instead of in a box.
    pub struct QueuedCall<W: Waiter, S, Req, C, M> {
        #[pin]
        state: State<W, S, Req, C>,
        // None for a call that is made at once, and once a rejection has been returned.
        format: Option<M>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<W: Waiter, S, Req, C> {
        Waiting {
            #[pin]
            wait: Waiting<W>,
            // In a box: a call that waits may allocate, and every call has room for it.
            call: Option<Box<(S, Req)>>,
        },
        // The call is admitted, and a fresh clone of the service becomes ready.
        Readying {
            permit: Option<W::Permit>,
            call: Option<Box<(S, Req)>>,
            deadline: Tick,
            // Held until a poll that may start it.
            #[pin]
            hold: Option<Sleep>,
        },
        Calling {
            #[pin]
            call: C,
        },
        // The call was not made. None once the rejection has been returned.
        Rejected { rejection: Option<Rejection> },
    }
}

const READY: &str = "polled after it was ready";

impl<W: Waiter, S, Req, C, M> QueuedCall<W, S, Req, C, M> {
    /// A call that did not have to wait.
    // Inlined, so that the call is built where it stays. Passed through another function it would
    // be copied.
    #[inline(always)]
    pub(crate) fn calling(call: impl FnOnce() -> C) -> Self {
        Self {
            state: State::Calling { call: call() },
            format: None,
        }
    }

    /// A call that waits. The readied service is dropped: it may hold capacity, which a waiter must
    /// not, and which a clone would wait for.
    pub(crate) fn waiting(waiter: W, readied: &mut S, request: Req, format: M) -> Self
    where
        S: Clone,
    {
        let service = readied.clone();
        *readied = readied.clone();
        let call = Some(Box::new((service, request)));
        let wait = Waiting::new(waiter);
        Self {
            state: State::Waiting { wait, call },
            format: Some(format),
        }
    }

    pub(crate) fn rejected(rejection: Rejection, format: M) -> Self {
        let rejection = Some(rejection);
        Self {
            state: State::Rejected { rejection },
            format: Some(format),
        }
    }
}

impl<W, S, Req, C, M> Future for QueuedCall<W, S, Req, C, M>
where
    W: Waiter<Permit: MakeCall<S::Future, M, Call = C>>,
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
                StateProjection::Waiting { mut wait, call } => {
                    match ready!(wait.as_mut().poll_permit(cx)) {
                        Ok(permit) => State::Readying {
                            permit: Some(permit),
                            call: call.take(),
                            deadline: wait.deadline(),
                            hold: None,
                        },
                        Err(rejection) => State::Rejected {
                            rejection: Some(rejection),
                        },
                    }
                }
                StateProjection::Readying {
                    permit,
                    call,
                    deadline,
                    hold,
                } => {
                    let (service, _) = &mut **call.as_mut().expect(READY);
                    let readied = catching(permit, || service.poll_ready(cx), panicked);
                    if let Err(error) = ready!(readied) {
                        *permit = None;
                        return Poll::Ready(Err(error));
                    }
                    let due = ready!(CallContext::poll_due(*deadline, hold, cx));
                    let permit = permit.take().expect(READY);
                    let admitted = match due {
                        true => Ok(permit),
                        false => permit.expire(),
                    };
                    match admitted {
                        Ok(permit) => {
                            let (mut service, request) = *call.take().expect(READY);
                            let call = permit.make(|| service.call(request));
                            State::Calling { call }
                        }
                        Err(rejection) => State::Rejected {
                            rejection: Some(rejection),
                        },
                    }
                }
                StateProjection::Calling { call } => return call.poll(cx),
                StateProjection::Rejected { rejection } => {
                    let rejection = rejection.take().expect(READY);
                    let format = this.format.take().expect(READY);
                    return Poll::Ready(format.reject(rejection));
                }
            };
            this.state.set(next);
        }
    }
}

impl<W: Waiter, S, Req, C, M> fmt::Debug for QueuedCall<W, S, Req, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Waiting { .. } => "Waiting",
            State::Readying { .. } => "Readying",
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        })
    }
}
