use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::action::Action;
use super::call::Answer;
use super::permit::{Permit, Shared};
use crate::classify::Outcome;
use crate::context::{CallContext, Due};
use crate::in_flight::{InFlight, Settle};
use crate::service::Verdict;
use crate::time::{self, Sleep, Tick};

pin_project! {
    /// The response future of [`FallbackService`](super::FallbackService). Dropping it drops the
    /// call, or that of the fallback.
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, N, K, A, O, V> {
        #[pin]
        state: State<F, N, A>,
        // What the fallback gets of the request. None if it cannot be called, or was.
        kept: Option<K>,
        // How the call failed, while the fallback is called.
        failed: Option<O>,
        verdict: V,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, N, A> {
        // The call was made.
        Calling {
            #[pin]
            call: InFlight<F, Permit<Shared<A>>>,
        },
        // The call has failed, and the fallback was called.
        Answering {
            #[pin]
            answer: InFlight<Answer<N>, Permit<Shared<A>>>,
        },
    }
}

impl<F, N, K, A, O, V> ResponseFuture<F, N, K, A, O, V> {
    // Inlined, so that the call is built where it stays.
    #[inline(always)]
    pub(super) fn call(
        permit: Permit<Shared<A>>,
        kept: Option<K>,
        verdict: V,
        call: impl FnOnce() -> F,
    ) -> Self {
        Self {
            state: State::Calling {
                call: InFlight::call(permit, call),
            },
            kept,
            failed: None,
            verdict,
        }
    }
}

/// The permit of a call that has returned. None if it was polled after it was ready.
fn take<F, P: Settle>(call: Pin<&mut InFlight<F, P>>) -> Option<P> {
    let mut taken = None;
    call.hold(|permit| {
        taken = Some(permit);
        None
    });
    taken
}

const READY: &str = "polled after it was ready";

impl<F, N, K, A, V, Res, Err> Future for ResponseFuture<F, N, K, A, Result<Res, Err>, V>
where
    F: Future<Output = Result<Res, Err>>,
    A: Action<K, Res, Err, Future = N>,
    N: Future<Output = Result<Res, Err>>,
    V: Verdict<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let this = self.as_mut().project();
            match this.state.project() {
                StateProjection::Calling { mut call } => {
                    let output = ready!(call.as_mut().poll_call(cx));
                    let (outcome, _) = this.verdict.judge(output.as_ref());
                    if outcome == Outcome::Success {
                        call.settle(Permit::succeeded);
                        return Poll::Ready(output);
                    }
                    let permit = take(call).expect(READY);
                    if let Some(output) = self.as_mut().fall_back(output, outcome, permit) {
                        return Poll::Ready(output);
                    }
                }
                StateProjection::Answering { mut answer } => {
                    let answered = ready!(answer.as_mut().poll_call(cx));
                    let answered = answered.filter(|answered| {
                        let (outcome, rejected) = this.verdict.judge(answered.as_ref());
                        !rejected && !matches!(outcome, Outcome::Failure { .. })
                    });
                    answer.settle(|permit| permit.answered(answered.is_some()));
                    let failed = this.failed.take();
                    return Poll::Ready(answered.or(failed).expect(READY));
                }
            }
        }
    }
}

impl<F, N, K, A, V, Res, Err> ResponseFuture<F, N, K, A, Result<Res, Err>, V>
where
    A: Action<K, Res, Err, Future = N>,
    V: Verdict<Res, Err>,
{
    /// From `Calling` to `Answering`; or the outcome, if the fallback is not called.
    #[cold]
    fn fall_back(
        self: Pin<&mut Self>,
        output: Result<Res, Err>,
        outcome: Outcome,
        mut permit: Permit<Shared<A>>,
    ) -> Option<Result<Res, Err>> {
        let mut this = self.project();
        let rejection = this.verdict.rejection(output.as_ref());
        let Some(cause) = permit.failed(outcome, rejection) else {
            return Some(output);
        };
        let rules = permit.holder().clone();
        let action = &rules.0.action;
        let Some((admitted, kept)) = permit.fall_back(action, this.kept.take(), cause) else {
            return Some(output);
        };
        let call = || admitted.call(|| action.answer(kept, cause));
        let answer = InFlight::call(permit, call);
        this.state.set(State::Answering { answer });
        *this.failed = Some(output);
        None
    }
}

impl<F, N, K, A, O, V> fmt::Debug for ResponseFuture<F, N, K, A, O, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Calling { .. } => "Calling",
            State::Answering { .. } => "Answering",
        })
    }
}

pin_project! {
    /// A call of the service that a fallback sends requests to.
    pub struct Sent<S, Req, F> {
        #[pin]
        state: Sending<S, Req, F>,
    }
}

pin_project! {
    #[project = SendingProjection]
    enum Sending<S, Req, F> {
        // The service, a clone, is not ready yet.
        Readying {
            service: S,
            request: Option<Req>,
            // Held until a poll that may start it.
            #[pin]
            hold: Option<Sleep>,
        },
        Calling {
            #[pin]
            call: F,
        },
    }
}

impl<S, Req, F> Sent<S, Req, F> {
    pub(super) fn new(service: S, request: Req) -> Self {
        let request = Some(request);
        Self {
            state: Sending::Readying {
                service,
                request,
                hold: None,
            },
        }
    }
}

impl<S: Service<Req>, Req> Future for Sent<S, Req, S::Future> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let call = match this.state.as_mut().project() {
                SendingProjection::Readying {
                    service,
                    request,
                    mut hold,
                } => {
                    ready!(service.poll_ready(cx))?;
                    // Nothing starts in a poll after a deadline. The timeout of the fallback ends
                    // its own call, and another caller may poll this one later.
                    if CallContext::due_now(Tick::NEVER) != Due::Now {
                        hold.set(Some(Sleep::step(time::now())));
                        let hold = hold.as_pin_mut().expect("it was set above");
                        ready!(hold.poll_elapsed(cx));
                        continue;
                    }
                    service.call(request.take().expect(READY))
                }
                SendingProjection::Calling { call } => return call.poll(cx),
            };
            this.state.set(Sending::Calling { call });
        }
    }
}

impl<S, Req, F> fmt::Debug for Sent<S, Req, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            Sending::Readying { .. } => "Readying",
            Sending::Calling { .. } => "Calling",
        })
    }
}
