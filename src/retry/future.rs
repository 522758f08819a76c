use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::permit::{Next, Permit};
use super::policy::Config;
use crate::attempts::{SendAgain, Template};
use crate::classify::{Drain, Outcome, Verdict};
use crate::context::{CallContext, Due};
use crate::event::Suppression;
use crate::service::Format;
use crate::sync::Arc;
use crate::time::{self, Sleep, Tick};

/// What the calls of a service share, besides the template service.
#[derive(Debug)]
pub(super) struct Rules<A> {
    pub(super) config: Arc<Config>,
    pub(super) again: A,
}

impl<S, A> AsRef<Config> for Template<S, Rules<A>> {
    #[inline]
    fn as_ref(&self) -> &Config {
        &self.config
    }
}

type CallPermit<S, Req, V, A> =
    Permit<Template<S, Rules<A>>, V, <S as Service<Req>>::Response, <S as Service<Req>>::Error>;

pin_project! {
    /// The response future of [`RetryService`](super::RetryService). Dropping it drops the
    /// attempt under way.
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, V, A, M> {
        #[pin]
        state: State<S, S::Future>,
        // What the next attempt sends. None if there will be no other.
        request: Option<Req>,
        permit: CallPermit<S, Req, V, A>,
        // What a success earns goes into the response where `M` holds it.
        format: PhantomData<fn() -> M>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F> {
        // An attempt has been made.
        Calling {
            #[pin]
            call: F,
        },
        // The next attempt has a permit, and the failed response is read to its end.
        Draining { rest: Drain, until: Tick },
        // The next attempt has a permit and a request, and no service yet.
        BackingOff {
            #[pin]
            sleep: Sleep,
        },
        // The backoff is over. The service, a clone of the template, is not ready yet.
        Readying { service: S },
    }
}

impl<S: Service<Req>, Req, V, A, M> ResponseFuture<S, Req, V, A, M> {
    // Inlined, so that the call is built where it stays.
    #[inline(always)]
    pub(super) fn new(
        call: S::Future,
        request: Option<Req>,
        permit: CallPermit<S, Req, V, A>,
    ) -> Self {
        Self {
            state: State::Calling { call },
            request,
            permit,
            format: PhantomData,
        }
    }
}

impl<S, Req, V, A, M> Future for ResponseFuture<S, Req, V, A, M>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    A: SendAgain<Req>,
    M: Format<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let this = self.as_mut().project();
            let next = match this.state.project() {
                StateProjection::Calling { call } => {
                    // A success stays where it is: a variable of its own would be a copy.
                    let mut polled = this.permit.enter(|| call.poll(cx));
                    let Poll::Ready(output) = &mut polled else {
                        return Poll::Pending;
                    };
                    let judged = this.permit.verdict.judge(output.as_ref());
                    if judged.0 == Outcome::Success {
                        match output {
                            Ok(response) if M::HOLDS => {
                                let earned = this.permit.finish_head();
                                earned.hold::<M, _, _>(response);
                            }
                            _ => this.permit.succeed(),
                        }
                        return polled;
                    }
                    let output = ready!(polled);
                    self.as_mut().back_off(output, judged)
                }
                _ => ready!(self.as_mut().poll_next(cx)),
            };
            if let ControlFlow::Break(answer) = next {
                return Poll::Ready(answer);
            }
        }
    }
}

impl<S, Req, V, A, M> ResponseFuture<S, Req, V, A, M>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    A: SendAgain<Req>,
{
    /// From `Calling` to `Draining` or `BackingOff`, after an attempt that did not succeed; or the
    /// answer, if no other follows.
    #[cold]
    fn back_off(
        self: Pin<&mut Self>,
        output: Result<S::Response, S::Error>,
        judged: (Outcome, bool),
    ) -> ControlFlow<Result<S::Response, S::Error>> {
        let mut this = self.project();
        let request = &*this.request;
        let may_resend = |holder: &Template<S, Rules<A>>| match request {
            Some(request) if !(judged.0.had_no_effect() || holder.again.may_resend(request)) => {
                Err(Suppression::NotIdempotent)
            }
            // A copy that records a body cannot be sent once the body has grown too large.
            Some(request) if holder.again.restart(request) => Ok(()),
            _ => Err(Suppression::NoCopy),
        };
        // If a deadline that no timer enforces passes, the failed response is the only answer.
        let keeps = this.permit.ledger.deadline() < CallContext::enforced();
        let Next { rest, until } = match this.permit.decide(judged, output, keeps, may_resend) {
            ControlFlow::Break(answer) => return ControlFlow::Break(answer),
            ControlFlow::Continue(next) => next,
        };
        this.state.set(match rest {
            Some(rest) => State::Draining { rest, until },
            None => State::BackingOff {
                sleep: Sleep::until(until),
            },
        });
        ControlFlow::Continue(())
    }

    /// From another state to `Calling`; or the answer, if no other attempt follows.
    #[cold]
    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<ControlFlow<Result<S::Response, S::Error>>> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProjection::Calling { .. } => {
                    return Poll::Ready(ControlFlow::Continue(()));
                }
                StateProjection::Draining { rest, until } => {
                    ready!(this.permit.enter(|| rest.poll(cx)));
                    let sleep = Sleep::until(*until);
                    this.state.set(State::BackingOff { sleep });
                }
                StateProjection::BackingOff { sleep } => {
                    ready!(sleep.poll_elapsed(cx));
                    this.permit.wake();
                    let service = this.permit.holder.service();
                    this.state.set(State::Readying { service });
                }
                StateProjection::Readying { service } => {
                    let now = time::now();
                    let due = CallContext::due(this.permit.ledger.call.deadline, now);
                    if due == Due::Never && this.permit.failed.is_some() {
                        if let Some(answer) = this.permit.too_late() {
                            return Poll::Ready(ControlFlow::Break(answer));
                        }
                    }
                    // Too late for an attempt in this poll, and no answer is kept: waits for one
                    // step of the timers. Either the timeout above ends the call in the meantime, or
                    // the deadline was that of a caller which only borrowed it for this poll.
                    if due != Due::Now && now >= CallContext::enforced() {
                        let sleep = Sleep::step(now);
                        this.state.set(State::BackingOff { sleep });
                        continue;
                    }
                    match ready!(this.permit.enter(|| service.poll_ready(cx))) {
                        Ok(()) => self.as_mut().send_again(),
                        Err(error) => match this.permit.decide_not_ready(error) {
                            ControlFlow::Break(answer) => {
                                return Poll::Ready(ControlFlow::Break(answer));
                            }
                            ControlFlow::Continue(until) => {
                                let sleep = Sleep::until(until);
                                this.state.set(State::BackingOff { sleep });
                            }
                        },
                    }
                }
            }
        }
    }

    /// From `Readying` to `Calling`.
    fn send_again(self: Pin<&mut Self>) {
        let mut this = self.project();
        let StateProjection::Readying { service } = this.state.as_mut().project() else {
            return;
        };
        let request = this.request.take().expect("an attempt has a request");
        if this.permit.may_go_on() {
            *this.request = this.permit.holder.again.copy(&request);
        }
        this.permit.send();
        let call = this.permit.enter(|| service.call(request));
        this.state.set(State::Calling { call });
    }
}

impl<S: Service<Req>, Req, V, A, M> fmt::Debug for ResponseFuture<S, Req, V, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Draining { .. } => "Draining",
            State::BackingOff { .. } => "BackingOff",
            State::Readying { .. } => "Readying",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .field("attempt", &self.permit.number())
            .finish_non_exhaustive()
    }
}
