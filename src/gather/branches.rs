use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::context::{CallContext, Expired};
use crate::time::{self, Sleep, Tick};

/// Calls that run at once in one task.
pub(super) struct Branches<F: Future> {
    /// None once a call has ended.
    calls: Vec<Option<Pin<Box<F>>>>,
    outcomes: Vec<Option<F::Output>>,
}

impl<F: Future> Branches<F> {
    pub(super) fn new(calls: impl IntoIterator<Item = F>) -> Self {
        #[allow(clippy::disallowed_methods)] // Calls that run at once are pinned one by one.
        let calls: Vec<_> = calls.into_iter().map(|f| Some(Box::pin(f))).collect();
        let outcomes = calls.iter().map(|_| None).collect();
        Self { calls, outcomes }
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Runs the calls until `seen` breaks, all have ended or `deadline` passes, and drops those
    /// that have not ended. Each sees the deadline. Returns the outcomes in the order of the calls.
    pub(super) async fn run(
        mut self,
        deadline: Tick,
        mut seen: impl FnMut(&F::Output) -> ControlFlow<()>,
    ) -> Vec<Option<F::Output>> {
        let mut sleep = pin!(Sleep::until(deadline));
        let mut started = false;
        poll_fn(|cx| {
            // Nothing starts for a caller whose deadline has passed.
            let starts = !std::mem::replace(&mut started, true);
            if starts && !deadline.is_never() && time::now() >= deadline {
                return Poll::Ready(());
            }
            // The calls first: a call that ends with the deadline counts.
            let polled = {
                let _restore = CallContext::enforce(deadline);
                self.poll(cx, &mut seen)
            };
            match polled {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => sleep.as_mut().poll_elapsed(cx).map(|_| {
                    let _expired = Expired::at(deadline);
                    self.calls.clear();
                }),
            }
        })
        .await;
        self.calls.clear();
        self.outcomes
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        seen: &mut impl FnMut(&F::Output) -> ControlFlow<()>,
    ) -> Poll<()> {
        let mut pending = false;
        for (call, outcome) in self.calls.iter_mut().zip(&mut self.outcomes) {
            let Some(future) = call else {
                continue;
            };
            let Poll::Ready(output) = future.as_mut().poll(cx) else {
                pending = true;
                continue;
            };
            *call = None;
            if seen(outcome.insert(output)).is_break() {
                return Poll::Ready(());
            }
        }
        match pending {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}
