use std::task::{Context, Poll};

use tower_service::Service;

use super::Hedge;
use super::future::{Resent, ResponseFuture};
use super::layer::{ByResend, DelayOf, Own, Safe};
use crate::classify::Standard;
use crate::context::ClockReading;
use crate::keyed::{IntoSource, Picked, Source};
use crate::service::template::Template;
use crate::service::{Judged, Silent};

/// A service under a [`Hedge`]; made by [`HedgeLayer`](super::HedgeLayer).
#[derive(Clone, Debug)]
pub struct HedgeService<S, C = Standard, K = ByResend, D = Own, P = Hedge> {
    inner: S,
    classifier: C,
    spare: Template<S, Rules<K, D>>,
    hedge: P,
}

/// What calls share, beside the spare service.
#[derive(Debug)]
pub(super) struct Rules<K, D> {
    /// None if it is one per key.
    pub(super) hedge: Option<Hedge>,
    pub(super) safe: K,
    pub(super) delay: D,
}

impl<S: Clone, C, K, D, P: IntoSource<Hedge>> HedgeService<S, C, K, D, P> {
    pub(super) fn new(inner: S, hedge: P, classifier: C, safe: K, delay: D) -> Self {
        let rules = Rules {
            hedge: hedge.fixed().cloned(),
            safe,
            delay,
        };
        Self {
            spare: Template::new(inner.clone(), rules),
            inner,
            classifier,
            hedge,
        }
    }
}

impl<S, Req, C, K, D, P> Service<Req> for HedgeService<S, C, K, D, P>
where
    S: Judged<Req, Silent, C> + Clone,
    K: Safe<Req>,
    D: DelayOf<Req>,
    P: Source<Req, Hedge>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Verdict, K, D>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let rules = &*self.spare;
        let safe = rules.safe.is_safe(&request);
        let delay = || rules.delay.delay(&request, 2);
        let own = match &rules.hedge {
            Some(_) => None,
            None => Some(self.hedge.pick(&request).map(Picked::into_policy)),
        };
        let own = own.map(|own| own.unwrap_or_else(|_| unreachable!("a hedge refuses nothing")));
        let hedge = own.as_ref().or(rules.hedge.as_ref());
        let mut call = hedge
            .expect("one or the other")
            .call(safe, delay, &mut clock);
        let mut copy = None;
        if call.needs_copy() {
            copy = rules.safe.copy(&request);
            if copy.is_none() {
                call.left = 0;
            }
        }
        let verdict = S::verdict(&self.classifier);
        let source = Resent::new(self.spare.clone(), own, copy, verdict);
        let inner = &mut self.inner;
        let first = || clock.call(inner, |inner| inner.call(request));
        ResponseFuture::start(source, call, first)
    }
}
