use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use super::Retry;
use super::future::ResponseFuture;
use super::layer::{ByRequest, Copier, MayResend};
use super::policy::{Config, Live, Session};
use crate::classify::{Classify, Standard};
use crate::context::ClockReading;
use crate::rejection::Recognize;
use crate::service::template::Template;
use crate::service::{By, Verdict};
use crate::sync::Arc;

/// A service whose failed calls are made again; made by [`RetryLayer`](super::RetryLayer).
#[derive(Clone)]
pub struct RetryService<S, C = Standard, O = ByRequest, K = ByRequest> {
    inner: S,
    /// What all attempts but the first are cloned from, whatever has become of `inner`, with the
    /// configuration that a call keeps: the one reference that it counts.
    spare: Template<S, Arc<Config>>,
    retry: Retry,
    live: Live,
    classifier: C,
    only: O,
    copier: K,
}

impl<S: Clone, C, O, K> RetryService<S, C, O, K> {
    pub(super) fn new(inner: S, retry: Retry, classifier: C, only: O, copier: K) -> Self {
        let mut live = retry.live();
        Self {
            spare: Template::new(inner.clone(), Arc::clone(live.load())),
            inner,
            retry,
            live,
            classifier,
            only,
            copier,
        }
    }
}

impl<S, Req, C, O, K> Service<Req> for RetryService<S, C, O, K>
where
    S: Retryable<Req, C, O, K>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Verdict, S::Copier>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let config = self.live.load();
        if !Arc::ptr_eq(config, &self.spare) {
            self.spare = self.spare.sharing(Arc::clone(config));
        }
        let may_resend = || S::may_resend(&self.only, &request);
        let session = Session::start(self.spare.clone(), may_resend, &mut clock);
        let copier = S::copier(&self.copier);
        let again = match session.may_go_on() {
            true => copier.copy(&request),
            false => None,
        };
        let verdict = S::verdict(&self.classifier);
        let inner = &mut self.inner;
        let call = || clock.call(inner, |inner| inner.call(request));
        ResponseFuture::call(session, again, verdict, copier, call)
    }
}

impl<S: fmt::Debug, C, O, K> fmt::Debug for RetryService<S, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryService")
            .field("inner", &self.inner)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl<S> AsRef<Config> for Template<S, Arc<Config>> {
    #[inline]
    fn as_ref(&self) -> &Config {
        self
    }
}

/// A service whose calls can be made again: outcomes that `C` classifies, requests of which `O`
/// says whether they may be sent again and that `K` copies. The one predicate that the layer
/// puts on what is under it.
pub trait Retryable<Req, C, O, K>: Service<Req> + Clone {
    /// What judges its outcomes.
    type Verdict: Verdict<Self::Response, Self::Error>;
    /// What copies its requests.
    type Copier: Copier<Req>;

    /// What judges the outcomes of one call.
    fn verdict(classifier: &C) -> Self::Verdict;

    /// What copies the request of one call.
    fn copier(copier: &K) -> Self::Copier;

    /// Whether `request` may be sent more than once.
    fn may_resend(only: &O, request: &Req) -> bool;
}

impl<S, Req, C, O, K> Retryable<Req, C, O, K> for S
where
    S: Service<Req, Error: Recognize> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
    O: MayResend<Req>,
    K: Copier<Req> + Clone,
{
    type Verdict = By<C>;
    type Copier = K;

    fn verdict(classifier: &C) -> By<C> {
        By::new(classifier)
    }

    fn copier(copier: &K) -> K {
        copier.clone()
    }

    fn may_resend(only: &O, request: &Req) -> bool {
        only.may_resend(request)
    }
}

#[cfg(all(test, not(seawall_loom), feature = "test-util"))]
mod tests;
