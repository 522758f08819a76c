use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::{ResponseFuture, Rules};
use super::permit::Permit;
use super::policy::{Config, Retry};
use crate::attempts::{Again, SendAgain, Template};
use crate::classify::Standard;
use crate::config::Cached;
use crate::context::ClockReading;
use crate::service::{Judged, Silent};
use crate::sync::Arc;

/// A service whose failed calls are made again; made by [`RetryLayer`](super::RetryLayer).
#[derive(Clone)]
pub struct RetryService<S, C = Standard, A = Again> {
    inner: S,
    template: Template<S, Rules<A>>,
    retry: Cached<Retry, Config>,
    classifier: C,
}

impl<S: Clone, C, A> RetryService<S, C, A> {
    pub(super) fn new(inner: S, retry: &Retry, classifier: C, again: A) -> Self {
        let mut retry = retry.cached();
        let config = Arc::clone(retry.load());
        Self {
            template: Template::new(inner.clone(), Rules { config, again }),
            inner,
            retry,
            classifier,
        }
    }
}

impl<S, Req, C, A> Service<Req> for RetryService<S, C, A>
where
    S: Judged<Req, Silent, C> + Clone,
    A: SendAgain<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Verdict, A>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let config = self.retry.load();
        if !Arc::ptr_eq(config, &self.template.config) {
            let (config, again) = (Arc::clone(config), self.template.again.clone());
            self.template = self.template.with_shared(Rules { config, again });
        }
        let again = &self.template.again;
        let permit = Permit::start(self.template.clone(), &mut clock);
        // Also of a request that may not be sent twice: whether it is sent again depends on how
        // it fails.
        let copy = match permit.may_go_on() {
            true => again.copy(&request),
            false => None,
        };
        let verdict = S::verdict(&self.classifier);
        let inner = &mut self.inner;
        let call = || clock.call(inner, |inner| inner.call(request));
        ResponseFuture::call(permit, copy, verdict, call)
    }
}

impl<S: fmt::Debug, C, A> fmt::Debug for RetryService<S, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
