use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Copier;
use super::policy::{Config, Session};
use crate::classify::Outcome;
use crate::service::Verdict;
use crate::service::template::Template;
use crate::sync::Arc;
use crate::time::Sleep;

pin_project! {
    /// The response future of [`RetryService`](super::RetryService). Dropping it drops the
    /// attempt under way.
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, V, K> {
        #[pin]
        state: State<S, S::Future>,
        // What the next attempt sends; none if there will be no other.
        request: Option<Req>,
        // The last error of an attempt that was made, for when the next one is not. A failed
        // response is not kept: it would hold its connection while nobody reads it.
        failed: Option<(S::Error, Outcome)>,
        verdict: V,
        copier: K,
        session: Session<Template<S, Arc<Config>>>,
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
        // Nothing is held but leave for the next attempt, and what it sends.
        BackingOff {
            #[pin]
            sleep: Sleep,
        },
        // The backoff is over; the service, a fresh clone, is being readied.
        Readying { service: S },
    }
}

impl<S: Service<Req>, Req, V, K> ResponseFuture<S, Req, V, K> {
    // As one literal, in whoever calls it: what passes through more hands is copied in each.
    #[inline(always)]
    pub(super) fn call(
        mut session: Session<Template<S, Arc<Config>>>,
        request: Option<Req>,
        verdict: V,
        copier: K,
        call: impl FnOnce() -> S::Future,
    ) -> Self {
        Self {
            state: State::Calling {
                call: session.enter(call),
            },
            request,
            failed: None,
            verdict,
            copier,
            session,
        }
    }
}

const READY: &str = "polled after it was ready";

impl<S, Req, V, K> ResponseFuture<S, Req, V, K>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    K: Copier<Req>,
{
    /// Polls the attempt under way; pending if there is none.
    #[inline]
    fn poll_attempt(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        let this = self.project();
        let polled;
        match this.state.project() {
            StateProjection::Calling { call } => {
                let (_entered, guard) = this.session.watch();
                polled = call.poll(cx);
                guard.done();
            }
            _ => polled = Poll::Pending,
        }
        polled
    }

    /// Ends the session of an attempt that succeeded. None if that, or waiting for it, is all
    /// that is to be done; else what to go on with, which says nothing where there was no attempt.
    #[inline]
    fn judge(
        self: Pin<&mut Self>,
        polled: &Poll<Result<S::Response, S::Error>>,
    ) -> Option<Outcome> {
        let this = self.project();
        match polled {
            Poll::Ready(output) => {
                let outcome = this.verdict.outcome(output.as_ref());
                if outcome != Outcome::Success {
                    return Some(outcome);
                }
                this.session.finish(outcome);
                None
            }
            Poll::Pending => match this.state.project() {
                StateProjection::Calling { .. } => None,
                _ => Some(Outcome::Ignore),
            },
        }
    }

    /// After an attempt that was no success, or while there is none.
    #[cold]
    fn go_on(
        mut self: Pin<&mut Self>,
        mut polled: Poll<Result<S::Response, S::Error>>,
        mut outcome: Outcome,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, S::Error>> {
        loop {
            if let Poll::Ready(output) = polled {
                if let Some(answer) = self.as_mut().failed(output, outcome) {
                    return Poll::Ready(answer);
                }
            }
            if let Err(error) = ready!(self.as_mut().poll_next(cx)) {
                return Poll::Ready(Err(error));
            }
            polled = self.as_mut().poll_attempt(cx);
            match self.as_mut().judge(&polled) {
                None => return polled,
                Some(next) => outcome = next,
            }
        }
    }

    /// What becomes of an attempt that was no success: the answer, or none if another follows.
    #[cold]
    fn failed(
        self: Pin<&mut Self>,
        output: Result<S::Response, S::Error>,
        outcome: Outcome,
    ) -> Option<Result<S::Response, S::Error>> {
        let mut this = self.project();
        // Nothing was asked of the service: what it said last stands.
        if this.verdict.not_made(output.as_ref()) {
            this.session.refused();
            if let Some((error, outcome)) = this.failed.take() {
                this.session.finish(outcome);
                return Some(Err(error));
            }
        }
        let again = match this.request {
            Some(_) => this.session.again(outcome),
            None => None,
        };
        let Some(until) = again else {
            this.session.finish(outcome);
            return Some(output);
        };
        if let Err(error) = output {
            *this.failed = Some((error, outcome));
        }
        let sleep = Sleep::until(until);
        this.state.set(State::BackingOff { sleep });
        None
    }

    /// Waits and readies until the next attempt is made; an error if it is not.
    #[cold]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Calling { .. } => return Poll::Ready(Ok(())),
                StateProjection::BackingOff { sleep } => {
                    ready!(sleep.poll_elapsed(cx));
                    this.session.wake();
                    let service = this.session.holder().service();
                    State::Readying { service }
                }
                StateProjection::Readying { service } => {
                    match ready!(this.session.enter(|| service.poll_ready(cx))) {
                        Ok(()) => {
                            let request = this.request.take().expect(READY);
                            if this.session.may_go_on() {
                                *this.request = this.copier.copy(&request);
                            }
                            this.session.sent();
                            let call = this.session.enter(|| service.call(request));
                            State::Calling { call }
                        }
                        Err(error) => {
                            let outcome = this.verdict.outcome(Err(&error));
                            // What the service answered is told before what it was not ready for.
                            let (error, told) = this.failed.take().unwrap_or((error, outcome));
                            let Some(until) = this.session.again(outcome) else {
                                this.session.finish(told);
                                return Poll::Ready(Err(error));
                            };
                            *this.failed = Some((error, told));
                            let sleep = Sleep::until(until);
                            State::BackingOff { sleep }
                        }
                    }
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, Req, V, K> Future for ResponseFuture<S, Req, V, K>
where
    S: Service<Req> + Clone,
    V: Verdict<S::Response, S::Error>,
    K: Copier<Req>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut polled = self.as_mut().poll_attempt(cx);
        if let Some(outcome) = self.as_mut().judge(&polled) {
            polled = self.go_on(polled, outcome, cx);
        }
        polled
    }
}

impl<S: Service<Req>, Req, V, K> fmt::Debug for ResponseFuture<S, Req, V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::BackingOff { .. } => "BackingOff",
            State::Readying { .. } => "Readying",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .field("attempt", &self.session.number())
            .finish_non_exhaustive()
    }
}
