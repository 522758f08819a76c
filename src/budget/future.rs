use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Budget;
use super::permit::Deposit;
use crate::context::Budgeted;
use crate::outcome::Outcome;
use crate::service::Format;

pin_project! {
    /// The response future of [`BudgetService`](super::BudgetService). The deposit for a success
    /// goes into the response where `M` holds it.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, M> {
        #[pin]
        call: F,
        // What flows down is the id, by which it is found while this handle exists. None if it is off.
        budget: Option<Budget>,
        polled: bool,
        // The successes in `call`, which are deposited at the first poll. What may panic between the
        // call and the return keeps the call from being built where it stays.
        earned: u32,
        format: PhantomData<fn() -> M>,
    }
}

impl<F, M> ResponseFuture<F, M> {
    // Inlined, so that the call is built where it stays.
    #[inline(always)]
    pub(super) fn call(budget: Option<Budget>, call: impl FnOnce() -> F) -> Self {
        let budgeted = budget.as_ref().map(|budget| Budgeted::by(budget.id()));
        let call = call();
        let earned = budgeted.map_or(0, Budgeted::end);
        Self {
            call,
            budget,
            earned,
            polled: false,
            format: PhantomData,
        }
    }
}

#[cold]
fn deposit(budget: &Budget, successes: u32) {
    (0..successes).for_each(|_| budget.on_success());
}

impl<F, M, Res, Err> Future for ResponseFuture<F, M>
where
    F: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let budget = this.budget.as_ref();
        // Here, not in `call`: behind a buffer, `call` runs outside of the attempt.
        if let (false, Some(budget)) = (std::mem::replace(this.polled, true), budget) {
            budget.on_call();
            if *this.earned > 0 {
                deposit(budget, *this.earned);
            }
        }
        let budgeted = budget.map(|budget| Budgeted::by(budget.id()));
        let mut polled = this.call.poll(cx);
        let successes = budgeted.map_or(0, Budgeted::end);
        if let (true, Some(budget)) = (successes > 0, budget) {
            match &mut polled {
                Poll::Ready(Ok(response)) if M::HOLDS => {
                    if let Some(ended) = M::hold(response, Deposit::of(successes, budget)) {
                        ended.judge(Outcome::Success);
                    }
                }
                _ => deposit(budget, successes),
            }
        }
        polled
    }
}

impl<F, M> fmt::Debug for ResponseFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("budget", &self.budget.as_ref().map(Budget::name))
            .finish_non_exhaustive()
    }
}
