//! One call under a fallback, and the call of the fallback, within its limit and its time.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::action::Action;
use super::permit::Permit;
use super::state::Cause;
use crate::bulkhead;
use crate::classify::{Outcome, Verdict};
use crate::context::ClockReading;
use crate::counters::Count;
use crate::event::{Ending, EventKind, Suppression};
use crate::in_flight::{InFlight, Settle};
use crate::timeout::{Started, Timed, TimedCall};

/// The permit of a call that waits; none for a value.
#[derive(Debug)]
pub(super) struct Held(Option<bulkhead::Permit>);

impl Settle for Held {
    fn completed(&mut self) {
        if let Some(permit) = &mut self.0 {
            permit.completed();
        }
    }

    fn panicked(self) {
        if let Some(permit) = self.0 {
            permit.panicked();
        }
    }
}

pin_project! {
    /// A call of the fallback. Resolves to none if it took too long.
    pub(super) struct Answer<F> {
        #[pin]
        timed: Timed<InFlight<F, Held>, ()>,
    }
}

impl Permit {
    /// Admits a call of the fallback. If it is not to be called, the call ends with its failure.
    fn fall_back<K, A, T, E>(
        &mut self,
        action: &A,
        kept: Option<K>,
        cause: Cause,
    ) -> Option<(Held, Started, K)>
    where
        A: Action<K, T, E>,
    {
        let fallback = &self.fallback;
        let admitted = kept.ok_or(Suppression::NoCopy).and_then(|kept| {
            action.check(&kept, cause)?;
            let held = match A::WAITS {
                true => Some(fallback.0.bulkhead.try_acquire_owned()),
                false => None,
            };
            let held = held.transpose().map_err(|_| Suppression::Full)?;
            let clock = &mut ClockReading::none();
            let started = Started::new(&fallback.0.timeout, None, None, clock);
            let started = started.map_err(|_| Suppression::Deadline)?;
            Ok((Held(held), started, kept))
        });
        let common = fallback.common();
        match admitted {
            Ok(admitted) => {
                let kind = cause.failure;
                common.cells().count(Count::EXTRA);
                common.emit(EventKind::FallingBack { kind });
                Some(admitted)
            }
            Err(reason) => {
                common.cells().count(Count::suppressed(reason));
                common.emit(EventKind::NoFallback { reason });
                self.end(self.ending);
                None
            }
        }
    }
}

impl<F: Future> Future for Answer<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut timed = self.project().timed;
        let end = |call: &mut TimedCall, _: &_, _: &mut F::Output| call.end(Ending::Completed);
        match timed.as_mut().poll_call(cx, end) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => timed.poll_timer(cx).map(|_| None),
        }
    }
}

pin_project! {
    /// The response future of [`FallbackService`](super::FallbackService). Dropping it drops the
    /// call, or that of the fallback.
    ///
    /// Not `Unpin`: it holds its timer in place instead of in a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, N, K, D, O, V> {
        #[pin]
        state: State<F, N>,
        // What the fallback gets of the request. None if it cannot be called, or was.
        kept: Option<K>,
        // How the call failed, while the fallback is called.
        failed: Option<O>,
        action: D,
        verdict: V,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, N> {
        // The call was made.
        Calling {
            #[pin]
            call: InFlight<F, Permit>,
        },
        // The call has failed, and the fallback was called.
        Answering {
            #[pin]
            answer: InFlight<Answer<N>, Permit>,
        },
    }
}

impl<F, N, K, D, O, V> ResponseFuture<F, N, K, D, O, V> {
    // Inlined, so that the call is built where it stays.
    #[inline(always)]
    pub(super) fn call(
        permit: Permit,
        action: D,
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
            action,
            verdict,
        }
    }
}

pub(super) const READY: &str = "polled after it was ready";

impl<F, N, K, D, V, Res, Err> Future for ResponseFuture<F, N, K, D, Result<Res, Err>, V>
where
    F: Future<Output = Result<Res, Err>>,
    D: Deref<Target: Action<K, Res, Err, Future = N> + Sized>,
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
                    let permit = call.take().expect(READY);
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

impl<F, N, K, D, V, Res, Err> ResponseFuture<F, N, K, D, Result<Res, Err>, V>
where
    D: Deref<Target: Action<K, Res, Err, Future = N> + Sized>,
    V: Verdict<Res, Err>,
{
    /// From `Calling` to `Answering`; or the outcome, if the fallback is not called.
    #[cold]
    fn fall_back(
        self: Pin<&mut Self>,
        output: Result<Res, Err>,
        outcome: Outcome,
        mut permit: Permit,
    ) -> Option<Result<Res, Err>> {
        let mut this = self.project();
        let rejection = this.verdict.rejection(output.as_ref());
        let Some(cause) = permit.failed(outcome, rejection) else {
            return Some(output);
        };
        let action = &**this.action;
        let admitted = permit.fall_back(action, this.kept.take(), cause);
        let Some((held, started, kept)) = admitted else {
            return Some(output);
        };
        let call = || InFlight::call(held, || action.answer(kept, cause));
        let answer = InFlight::call(permit, || Answer {
            timed: Timed::new(started, call, ()),
        });
        this.state.set(State::Answering { answer });
        *this.failed = Some(output);
        None
    }
}

impl<F, N, K, D, O, V> fmt::Debug for ResponseFuture<F, N, K, D, O, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Calling { .. } => "Calling",
            State::Answering { .. } => "Answering",
        })
    }
}
