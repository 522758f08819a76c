use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Budget;
use crate::context::{CallContext, Restore};

pin_project! {
    /// The response future of [`BudgetService`](super::BudgetService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        call: F,
        // What flows down is the id, by which it is found while this handle exists. None if it is off.
        budget: Option<Budget>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn call(budget: Option<Budget>, call: impl FnOnce() -> F) -> Self {
        let _entered = budget.as_ref().map(enter);
        let call = call();
        Self { call, budget }
    }
}

fn enter(budget: &Budget) -> Restore {
    let budget = Some(budget.id());
    CallContext {
        budget,
        ..CallContext::current()
    }
    .enter()
}

impl<F: Future> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.budget.as_ref().map(enter);
        this.call.poll(cx)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("budget", &self.budget.as_ref().map(Budget::name))
            .finish_non_exhaustive()
    }
}
