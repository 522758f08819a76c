use std::task::{Context, Poll};

use tower_service::Service;

use super::Hedge;
use super::future::{Resent, ResponseFuture};
use super::layer::{ByResend, DelayOf, Own, Safe};
use crate::classify::Standard;
use crate::rejection::{Judged, Silent};
use crate::spare::Spare;

/// A service under a [`Hedge`]; made by [`HedgeLayer`](super::HedgeLayer).
#[derive(Clone, Debug)]
pub struct HedgeService<S, C = Standard, K = ByResend, D = Own> {
    inner: S,
    classifier: C,
    spare: Spare<S, Rules<K, D>>,
}

/// What calls share, beside the spare service.
#[derive(Debug)]
pub(super) struct Rules<K, D> {
    pub(super) hedge: Hedge,
    pub(super) safe: K,
    pub(super) delay: D,
}

impl<S: Clone, C, K, D> HedgeService<S, C, K, D> {
    pub(super) fn new(inner: S, hedge: Hedge, classifier: C, safe: K, delay: D) -> Self {
        let rules = Rules { hedge, safe, delay };
        Self {
            spare: Spare::new(inner.clone(), rules),
            inner,
            classifier,
        }
    }
}

impl<S, Req, C, K, D> Service<Req> for HedgeService<S, C, K, D>
where
    S: Judged<Req, Silent, C> + Clone,
    K: Safe<Req>,
    D: DelayOf<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Verdict, K, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let rules = &*self.spare;
        let safe = rules.safe.is_safe(&request);
        let delay = || rules.delay.delay(&request, 2);
        let mut call = rules.hedge.call(safe, delay);
        let mut copy = None;
        if call.needs_copy() {
            copy = rules.safe.copy(&request);
            if copy.is_none() {
                call.left = 0;
            }
        }
        let verdict = S::verdict(&self.classifier);
        let source = Resent::new(self.spare.clone(), copy, verdict);
        ResponseFuture::start(source, call, || self.inner.call(request))
    }
}
