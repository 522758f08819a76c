use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::action::{Action, Keep};
use super::call::ResponseFuture;
use super::permit::Permit;
use super::policy::Fallback;
use crate::classify::Standard;
use crate::context::ClockReading;
use crate::macros::debug_fields;
use crate::service::{Judged, Silent};
use crate::sync::Arc;

/// A service whose failed calls are answered by a fallback; made by
/// [`FallbackLayer`](super::FallbackLayer).
pub struct FallbackService<S, A, C = Standard> {
    pub(super) inner: S,
    pub(super) fallback: Fallback,
    pub(super) action: Arc<A>,
    pub(super) classifier: C,
}

impl<S, Req, A, C> Service<Req> for FallbackService<S, A, C>
where
    S: Judged<Req, Silent, C>,
    A: Keep<Req> + Action<<A as Keep<Req>>::Kept, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<
        S::Future,
        A::Future,
        A::Kept,
        Arc<A>,
        Result<S::Response, S::Error>,
        S::Verdict,
    >;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let permit = Permit::start(&self.fallback, &mut clock);
        let kept = match permit.may_answer() {
            true => self.action.keep(&request),
            false => None,
        };
        let verdict = S::verdict(&self.classifier);
        let inner = &mut self.inner;
        let call = || clock.call(inner, |inner| inner.call(request));
        let action = Arc::clone(&self.action);
        ResponseFuture::call(permit, action, kept, verdict, call)
    }
}

// Not derived: the action need not be `Clone`.
impl<S: Clone, A, C: Clone> Clone for FallbackService<S, A, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            fallback: self.fallback.clone(),
            action: Arc::clone(&self.action),
            classifier: self.classifier.clone(),
        }
    }
}

debug_fields!([S: fmt::Debug, A, C] FallbackService<S, A, C>, this: inner = this.inner);
