use std::task::{Context, Poll};

use tower_service::Service;

use super::Budget;
use super::future::ResponseFuture;
use crate::config::Mode;
use crate::context::ClockReading;
use crate::keyed::{Picked, Source};

/// A service whose retries and hedges draw on a [`Budget`]; made by
/// [`BudgetLayer`](super::BudgetLayer).
#[derive(Clone, Debug)]
pub struct BudgetService<S, P = Budget> {
    inner: S,
    budget: P,
}

impl<S, P> BudgetService<S, P> {
    pub(super) fn new(inner: S, budget: P) -> Self {
        Self { inner, budget }
    }
}

impl<S, Req, P> Service<Req> for BudgetService<S, P>
where
    S: Service<Req>,
    P: Source<Req, Budget>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let clock = ClockReading::of(self);
        let budget = self.budget.pick(&request).map(Picked::into_policy);
        let budget = budget.unwrap_or_else(|_| unreachable!("a budget rejects nothing"));
        // Off, or not for this request.
        let budget = Some(budget).filter(|budget| budget.mode() != Mode::Off);
        let inner = &mut self.inner;
        let call = || clock.call(inner, |inner| inner.call(request));
        ResponseFuture::call(budget, call)
    }
}
