use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::action::{Action, Keep};
use super::future::ResponseFuture;
use super::permit::{Permit, Rules, Shared};
use crate::classify::Standard;
use crate::context::ClockReading;
use crate::service::{Judged, Silent};
use crate::sync::Arc;

/// A service whose failed calls are answered by a fallback; made by
/// [`FallbackLayer`](super::FallbackLayer).
pub struct FallbackService<S, A, C = Standard> {
    inner: S,
    rules: Shared<A>,
    classifier: C,
}

impl<S, A, C> FallbackService<S, A, C> {
    pub(super) fn new(inner: S, rules: Arc<Rules<A>>, classifier: C) -> Self {
        let rules = Shared(rules);
        Self {
            inner,
            rules,
            classifier,
        }
    }
}

impl<S, Req, A, C> Service<Req> for FallbackService<S, A, C>
where
    S: Judged<Req, Silent, C>,
    A: Keep<Req> + Action<<A as Keep<Req>>::Kept, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future =
        ResponseFuture<S::Future, A::Future, A::Kept, A, Result<S::Response, S::Error>, S::Verdict>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let permit = Permit::start(self.rules.clone(), &mut clock);
        let kept = match permit.may_answer() {
            true => self.rules.0.action.keep(&request),
            false => None,
        };
        let verdict = S::verdict(&self.classifier);
        let inner = &mut self.inner;
        let call = || clock.call(inner, |inner| inner.call(request));
        ResponseFuture::call(permit, kept, verdict, call)
    }
}

// Not derived: the action need not be `Clone`.
impl<S: Clone, A, C: Clone> Clone for FallbackService<S, A, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: self.rules.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S: fmt::Debug, A, C> fmt::Debug for FallbackService<S, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
