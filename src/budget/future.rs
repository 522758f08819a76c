use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Budget;
use crate::context::CallContext;

pin_project! {
    /// The response future of [`BudgetService`](super::BudgetService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        call: F,
        // What flows down is the id, by which it is found while this handle exists. None if it is off.
        budget: Option<Budget>,
        polled: bool,
    }
}

impl<F> ResponseFuture<F> {
    // Inlined, so that the call is built where it stays.
    #[inline(always)]
    pub(super) fn call(budget: Option<Budget>, call: impl FnOnce() -> F) -> Self {
        let call = over(budget.as_ref(), call);
        let polled = false;
        Self {
            call,
            budget,
            polled,
        }
    }
}

/// Runs code with this budget for the calls below, and deposits for those that have succeeded.
#[inline]
fn over<T>(budget: Option<&Budget>, code: impl FnOnce() -> T) -> T {
    let Some(budget) = budget else {
        return code();
    };
    let (output, successes) = CallContext::with_budget(budget.id(), code);
    (0..successes).for_each(|_| budget.on_success());
    output
}

impl<F: Future> Future for ResponseFuture<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let budget = this.budget.as_ref();
        // Here, not in `call`: behind a buffer, `call` runs outside of the attempt.
        if let (false, Some(budget)) = (std::mem::replace(this.polled, true), budget) {
            budget.on_call();
        }
        over(budget, || this.call.poll(cx))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("budget", &self.budget.as_ref().map(Budget::name))
            .finish_non_exhaustive()
    }
}
