use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::{ResponseFuture, Rules};
use super::permit::{First, Permit};
use super::policy::{Config, Retry};
use crate::attempts::{Again, SendAgain, Template};
use crate::classify::Standard;
use crate::config::Cached;
use crate::context::ClockReading;
use crate::context::path::Site;
use crate::macros::debug_fields;
use crate::service::{Judged, Silent};
use crate::sync::Arc;

/// A service whose failed calls are repeated; made by [`RetryLayer`](super::RetryLayer).
///
/// `R` decides whether a success is determined by the head of a response or at the end of its body.
#[derive(Clone)]
pub struct RetryService<S, C = Standard, A = Again, R = Silent> {
    pub(super) inner: S,
    pub(super) template: Template<S, Rules<A>>,
    pub(super) retry: Cached<Retry, Config>,
    pub(super) classifier: C,
    pub(super) responder: PhantomData<fn() -> R>,
    pub(super) site: Site,
}

impl<S, Req, C, A, R> Service<Req> for RetryService<S, C, A, R>
where
    S: Judged<Req, R, C> + Clone,
    A: SendAgain<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Verdict, A, S::Format>;

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
        self.template
            .config
            .plan
            .ledger
            .warn_if_applied_twice(&self.site);
        let template = self.template.clone();
        let Rules { config, again } = &*template;
        let verdict = S::verdict(&self.classifier);
        let first = First::here(config, &mut clock);
        // Also of a request that may not be sent twice: whether it is sent again depends on how
        // it fails.
        let copy = match first.retries {
            true => again.copy(&request),
            false => None,
        };
        let span = first.call.span(&config.plan);
        let inner = &mut self.inner;
        let call = first.call.enter(&config.plan, &span, || {
            clock.call(inner, |inner| inner.call(request))
        });
        let permit = Permit::after_first(first, span, template, verdict);
        ResponseFuture::new(call, copy, permit)
    }
}

debug_fields!([S: fmt::Debug, C, A, R] RetryService<S, C, A, R>, this: inner = this.inner);
