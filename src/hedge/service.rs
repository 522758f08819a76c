use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use tower_service::Service;

use super::delay::{DelayOf, Own};
use super::future::{Resent, ResponseFuture, Rules};
use super::permit::{First, Permit};
use super::policy::{Config, Hedge};
use super::run::Race;
use crate::attempts::{Again, SendAgain, Template};
use crate::classify::Standard;
use crate::config::Cached;
use crate::context::ClockReading;
use crate::context::path::Site;
use crate::keyed::{Picked, Source};
use crate::macros::debug_fields;
use crate::service::{Judged, Silent};
use crate::sync::Arc;

/// A service under a [`Hedge`]; made by [`HedgeLayer`](super::HedgeLayer).
///
/// `R` decides whether a success is determined by the head of a response or at the end of its
/// body.
#[derive(Clone)]
pub struct HedgeService<S, C = Standard, A = Again, D = Own, P = Hedge, R = Silent> {
    pub(super) inner: S,
    pub(super) template: Template<S, Rules<A, D>>,
    pub(super) hedge: P,
    /// None if there is one hedge per key.
    pub(super) live: Option<Cached<Hedge, Config>>,
    pub(super) classifier: C,
    pub(super) responder: PhantomData<fn() -> R>,
    pub(super) site: Site,
}

impl<S, Req, C, A, D, P, R> Service<Req> for HedgeService<S, C, A, D, P, R>
where
    S: Judged<Req, R, C> + Clone,
    A: SendAgain<Req> + Clone,
    D: DelayOf<Req> + Clone,
    P: Source<Req, Hedge>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, S::Verdict, A, D, S::Format>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let mut clock = ClockReading::of(self);
        let mut keyed = None;
        match &mut self.live {
            None => {
                let hedge = self.hedge.pick(&request).map(Picked::into_policy);
                let hedge = hedge.unwrap_or_else(|_| unreachable!("a hedge rejects nothing"));
                keyed = Some(hedge.config());
            }
            Some(live) => {
                let config = live.load();
                let current = self.template.config.as_ref();
                if !current.is_some_and(|current| Arc::ptr_eq(current, config)) {
                    let config = Some(Arc::clone(config));
                    let rules = Rules {
                        config,
                        ..Rules::clone(&self.template)
                    };
                    self.template = self.template.with_shared(rules);
                }
            }
        }
        let rules = &*self.template;
        let config = rules.config_or(keyed.as_ref());
        config.plan.ledger.warn_if_applied_twice(&self.site);
        let safe = rules.again.may_resend(&request);
        let delay = || rules.delay.delay(&request, 2);
        let opened = First::here(config, safe, delay, &mut clock);
        let copy = match opened.needs_copy() {
            true => rules.again.copy(&request),
            false => None,
        };
        let verdict = S::verdict(&self.classifier);
        let span = opened.call.span(&config.plan);
        let inner = &mut self.inner;
        let first = Some(opened.call.enter(&config.plan, &span, || {
            clock.call(inner, |inner| inner.call(request))
        }));
        let permit = Permit::after_first(opened, span);
        let attempts = Resent {
            template: self.template.clone(),
            keyed,
            request: copy,
            verdict,
            format: PhantomData,
        };
        ResponseFuture {
            race: Race::new(first, attempts, permit),
        }
    }
}

debug_fields!([S: fmt::Debug, C, A, D, P, R] HedgeService<S, C, A, D, P, R>, this: inner = this.inner);
