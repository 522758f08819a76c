use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use tower_service::Service;

use super::Budget;
use super::future::ResponseFuture;
use crate::config::Mode;
use crate::context::ClockReading;
use crate::keyed::{Picked, Source};
use crate::macros::debug_fields;
use crate::service::{Guard, Silent};

/// A service whose retries and hedges draw on a [`Budget`]; made by
/// [`BudgetLayer`](super::BudgetLayer).
///
/// `R` decides whether a success is determined by the head of a response or at the end of its
/// body.
#[derive(Clone)]
pub struct BudgetService<S, P = Budget, R = Silent> {
    pub(super) inner: S,
    pub(super) budget: P,
    pub(super) responder: PhantomData<fn() -> R>,
}

debug_fields!([S: fmt::Debug, P: fmt::Debug, R] BudgetService<S, P, R>, this:
    inner = this.inner, budget = this.budget);

impl<S, Req, P, R> Service<Req> for BudgetService<S, P, R>
where
    S: Guard<Req, R>,
    P: Source<Req, Budget>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Format>;

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
