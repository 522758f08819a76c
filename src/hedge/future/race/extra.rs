//! An attempt beyond the first.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Source;
use crate::budget::{Sent, Withdrawal};
use crate::context::Attempt;
use crate::hedge::policy::Call;
use crate::outcome::{FailureKind, NEVER, Outcome};
use crate::time::{self, Tick};

pin_project! {
    #[project = ExtraProjection]
    /// One attempt beyond the first.
    pub(super) struct Extra<N, F> {
        #[pin]
        state: State<N, F>,
        pub(super) number: u32,
        attempt: Attempt,
        // The one that was begun before it.
        pub(super) next: Option<Pin<Box<Extra<N, F>>>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<N, F> {
        // The budget's leave is given back if it is dropped here.
        Readying {
            next: N,
            withdrawal: Option<Withdrawal>,
        },
        Calling {
            #[pin]
            call: F,
            start: Tick,
            // Given back if a policy below refuses the attempt.
            sent: Option<Sent>,
        },
        Over,
    }
}

impl<N, F> Extra<N, F> {
    /// The attempt numbered `number`, and the one before it.
    pub(super) fn begin(
        next: N,
        withdrawal: Withdrawal,
        (number, attempt): (u32, Attempt),
        before: Option<Pin<Box<Self>>>,
    ) -> Self {
        Self {
            state: State::Readying {
                next,
                withdrawal: Some(withdrawal),
            },
            number,
            attempt: Attempt { number, ..attempt },
            next: before,
        }
    }

    /// When its call was made, if that is under way.
    pub(super) fn called_at(&self) -> Option<Tick> {
        match self.state {
            State::Calling { start, .. } => Some(start),
            _ => None,
        }
    }
}

/// When the next attempt starts after an attempt that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At once.
    Now,
    /// After its delay, as if the attempt had not returned.
    Later,
    /// Never: the service asks for no other attempt, or would fail again.
    Never,
}

impl Next {
    pub(super) fn after(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failure {
                kind: FailureKind::Permanent,
                ..
            }
            | Outcome::Failure {
                retry_after: Some(NEVER),
                ..
            } => Self::Never,
            // The service asks for fewer calls, or for time.
            Outcome::Failure {
                kind: FailureKind::Throttled,
                ..
            }
            | Outcome::Failure {
                retry_after: Some(_),
                ..
            } => Self::Later,
            Outcome::Failure {
                retry_after: None, ..
            } => Self::Now,
            Outcome::Success | Outcome::Ignore => Self::Later,
        }
    }
}

/// What came of polling an attempt.
pub(super) enum Polled<T> {
    Won(T),
    /// It returned without a success.
    Lost(Next),
    Pending,
}

impl<N, F> ExtraProjection<'_, N, F> {
    pub(super) fn poll<A, T, E>(
        &mut self,
        source: &mut A,
        of: &Call,
        cx: &mut Context<'_>,
    ) -> Polled<F::Output>
    where
        A: Source<N, F, T, E>,
        F: Future<Output = Result<T, E>>,
    {
        let _entered = self.attempt.enter();
        loop {
            match self.state.as_mut().project() {
                StateProjection::Readying { next, withdrawal } => {
                    match source.poll_ready(next, cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => {
                            let outcome = source.outcome(Err(&error));
                            self.state.set(State::Over);
                            return Polled::Lost(Next::after(outcome));
                        }
                        Poll::Pending => return Polled::Pending,
                    }
                    let number = *self.number;
                    let sent = withdrawal.take();
                    let sent = sent.map(|leave| source.as_ref().made(of, number, leave));
                    let start = time::now();
                    let call = source.call(next, number);
                    self.state.set(State::Calling { call, start, sent });
                }
                StateProjection::Calling { call, start, sent } => {
                    let Poll::Ready(output) = call.poll(cx) else {
                        return Polled::Pending;
                    };
                    let outcome = source.outcome(output.as_ref());
                    source.as_ref().sample(of, *start, outcome);
                    if let Some(sent) = sent.take().filter(|_| source.is_refusal(output.as_ref())) {
                        source.as_ref().refused(sent);
                    }
                    self.state.set(State::Over);
                    return match outcome {
                        Outcome::Success => Polled::Won(output),
                        _ => Polled::Lost(Next::after(outcome)),
                    };
                }
                StateProjection::Over => return Polled::Lost(Next::Later),
            }
        }
    }
}
