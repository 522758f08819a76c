use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::source::Source;
use crate::attempts::{AttemptSpan, ExtraPermit};
use crate::classify::Verdict;
use crate::context::{Attempt, CallContext};
use crate::event::Suppression;
use crate::hedge::permit::Permit;
use crate::outcome::{FailureKind, NEVER, Outcome};
use crate::time::{self, Sleep, Tick};

pin_project! {
    /// One attempt beyond the first.
    pub(super) struct Extra<N, F> {
        #[pin]
        state: State<N, F>,
        attempt: Attempt,
        // What was taken from the budget goes back if the attempt is dropped before its call, or
        // if a layer below rejects it.
        permit: Option<ExtraPermit>,
        span: AttemptSpan,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<N, F> {
        // Held until a poll that may start it.
        Readying {
            next: N,
            #[pin]
            hold: Option<Sleep>,
        },
        Calling {
            #[pin]
            call: F,
            start: Tick,
        },
    }
}

/// How an extra attempt ended.
pub(super) enum Ended<O> {
    /// With when it started.
    Won(O, Tick),
    Lost(Next),
}

/// When the next attempt starts after one that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At once.
    Now,
    /// After its delay, as if this one had not returned.
    Later,
    /// Never: the service wants no other attempt, or would fail again.
    Never,
}

impl Next {
    pub(super) fn after(outcome: Outcome) -> Self {
        let Outcome::Failure { kind, retry_after } = outcome else {
            return Self::Later;
        };
        match (kind, retry_after) {
            (FailureKind::Permanent, _) | (_, Some(NEVER)) => Self::Never,
            // The service wants fewer calls, or time.
            (FailureKind::Throttled, _) | (_, Some(_)) => Self::Later,
            (_, None) => Self::Now,
        }
    }
}

impl<N, F> Extra<N, F> {
    pub(super) fn new(next: N, permit: ExtraPermit, attempt: Attempt, span: AttemptSpan) -> Self {
        Self {
            state: State::Readying { next, hold: None },
            attempt,
            permit: Some(permit),
            span,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.attempt.number
    }

    /// When its call was made, if it was.
    pub(super) fn called_at(&self) -> Option<Tick> {
        match self.state {
            State::Readying { .. } => None,
            State::Calling { start, .. } => Some(start),
        }
    }

    pub(super) fn poll<A, T, E>(
        self: Pin<&mut Self>,
        attempts: &mut A,
        of: &mut Permit,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<F::Output>>
    where
        A: Source<N, F, T, E>,
        F: Future<Output = Result<T, E>>,
    {
        let mut this = self.project();
        let number = this.attempt.number;
        let _context = this.attempt.enter();
        while let StateProjection::Readying { next, hold } = this.state.as_mut().project() {
            let readied = {
                let _span = this.span.enter();
                attempts.poll_ready(next, cx)
            };
            match readied {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    let output = Err(error);
                    let verdict = attempts.verdict();
                    let (outcome, _) = verdict.judge(output.as_ref());
                    this.span.won(false);
                    this.span
                        .end(outcome, || verdict.rejection(output.as_ref()));
                    return Poll::Ready(Ended::Lost(Next::after(outcome)));
                }
                Poll::Pending => return Poll::Pending,
            }
            if !ready!(CallContext::poll_due(of.ledger.call.deadline, hold, cx)) {
                // Nothing starts for a caller whose deadline has passed. What was taken from the
                // budget goes back with the attempt.
                *this.permit = None;
                let ledger = &attempts.as_ref().plan.ledger;
                ledger.suppress(number, Suppression::Deadline);
                return Poll::Ready(Ended::Lost(Next::Never));
            }
            let start = time::now();
            if let Some(permit) = this.permit {
                of.send(attempts.as_ref(), number, permit);
            }
            let call = {
                let _span = this.span.enter();
                attempts.call(next, number)
            };
            this.state.set(State::Calling { call, start });
        }
        let StateProjection::Calling { call, start } = this.state.project() else {
            return Poll::Pending;
        };
        let polled = {
            let _span = this.span.enter();
            call.poll(cx)
        };
        let Poll::Ready(output) = polled else {
            return Poll::Pending;
        };
        let verdict = attempts.verdict();
        let (outcome, rejected) = verdict.judge(output.as_ref());
        this.span.won(outcome == Outcome::Success);
        this.span
            .end(outcome, || verdict.rejection(output.as_ref()));
        of.sample_lost(attempts.as_ref(), *start, outcome);
        if let Some(sent) = this.permit.take().filter(|_| rejected) {
            of.ledger.rejected(&attempts.as_ref().plan, sent);
        }
        Poll::Ready(match outcome {
            Outcome::Success => Ended::Won(output, *start),
            _ => {
                // Not the outcome of the call: if all fail, that of the first attempt is.
                of.ledger.failed(&attempts.as_ref().plan, outcome);
                Ended::Lost(Next::after(outcome))
            }
        })
    }
}
