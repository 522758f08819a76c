use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use tower_layer::Layer;

use super::delay::{Own, PerRequest};
use super::extra_service::{ExtraService, Other, Same};
use super::future::Rules;
use super::policy::Hedge;
use super::service::HedgeService;
use crate::attempts::{Again, CopyBy, OnlyIf, Template};
#[cfg(doc)]
use crate::attempts::{Idempotent, Resend};
use crate::classify::Standard;
use crate::config::Cached;
use crate::context::path::Site;
use crate::keyed::IntoSource;
use crate::macros::debug_fields;
use crate::service::Silent;
use crate::sync::Arc;

/// Puts a [`Hedge`] around a service.
///
/// `C` classifies outcomes, `A` says which requests may be hedged and copies them, `D` is where
/// the delay comes from, `P` is the hedge, or one per key, and `X` is where extra attempts go. It
/// rejects nothing; `R` decides whether a success is determined by the head of a response or at the
/// end of its body.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct HedgeLayer<C = Standard, A = Again, D = Own, P = Hedge, X = Same, R = Silent> {
    hedge: P,
    classifier: C,
    again: A,
    delay: D,
    extra: X,
    responder: PhantomData<fn() -> R>,
    site: Site,
}

impl<P> HedgeLayer<Standard, Again, Own, P, Same> {
    /// A layer over `hedge`, a reference to it, or one [per key](crate::Keyed::by). All services
    /// made by it, and by other layers over the same hedge, share its latencies and its budget.
    ///
    /// The service has to be `Clone`: an extra attempt is made by a clone of its own.
    #[track_caller]
    pub fn new(hedge: impl IntoSource<Hedge, Source = P>) -> Self {
        Self {
            hedge: hedge.into_source(),
            classifier: Standard,
            again: Again::default(),
            delay: Own,
            extra: Same,
            responder: PhantomData,
            site: Site::caller(),
        }
    }
}

impl<C, A, D, P, X, R> HedgeLayer<C, A, D, P, X, R> {
    /// The same layer with other parts.
    fn with_parts<C2, A2, D2, X2, R2>(
        self,
        change: impl FnOnce((C, A, D, X)) -> (C2, A2, D2, X2),
    ) -> HedgeLayer<C2, A2, D2, P, X2, R2> {
        let parts = (self.classifier, self.again, self.delay, self.extra);
        let (classifier, again, delay, extra) = change(parts);
        HedgeLayer {
            hedge: self.hedge,
            classifier,
            again,
            delay,
            extra,
            responder: PhantomData,
            site: self.site,
        }
    }

    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify), instead of
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> HedgeLayer<C2, A, D, P, X, R> {
        self.with_parts(|(_, again, delay, extra)| (classifier, again, delay, extra))
    }

    pub(crate) fn map_again<A2>(
        self,
        change: impl FnOnce(A) -> A2,
    ) -> HedgeLayer<C, A2, D, P, X, R> {
        self.with_parts(|(classifier, again, delay, extra)| {
            (classifier, change(again), delay, extra)
        })
    }

    /// By the responder of the layers around it.
    pub(crate) fn responder<R2>(self) -> HedgeLayer<C, A, D, P, X, R2> {
        self.with_parts(|parts| parts)
    }

    /// Sends extra attempts to `other` instead of clones of the service below: a client with a
    /// connection pool of its own, or another endpoint. Then a hedge does not share the
    /// connection that made the first attempt slow.
    ///
    /// It has the type of the service below, so put the same layers on it.
    ///
    /// ```
    /// use seawall::{Hedge, HedgeLayer};
    /// use tower::{Layer, service_fn};
    /// # use tower::BoxError;
    ///
    /// let client = |name: &'static str| service_fn(move |_: u32| async move { Ok::<_, BoxError>(name) });
    /// let hedge = Hedge::fixed(std::time::Duration::from_millis(50));
    /// let service = HedgeLayer::new(&hedge).with(client("pool b")).layer(client("pool a"));
    /// # let _ = service;
    /// ```
    pub fn with<S>(self, other: S) -> HedgeLayer<C, A, D, P, Other<S>, R> {
        self.with_parts(|(classifier, again, delay, _)| (classifier, again, delay, Other(other)))
    }

    /// Takes the delay from the request and the number of the attempt that starts after it, from
    /// 2 on. Where `delay` returns none, the hedge's own applies.
    pub fn delay_from<Req, F>(self, delay: F) -> HedgeLayer<C, A, PerRequest<F>, P, X, R>
    where
        F: Fn(&Req, u32) -> Option<Duration>,
    {
        self.with_parts(|(classifier, again, _, extra)| {
            (classifier, again, PerRequest(delay), extra)
        })
    }
}

impl<C, O, K, D, P, X, R> HedgeLayer<C, Again<O, K>, D, P, X, R> {
    /// Hedges the requests for which `only` is true, instead of those that are [`Idempotent`].
    /// For gRPC, where every request is a POST: name the methods that are safe, and no stream.
    pub fn only<F>(self, only: F) -> HedgeLayer<C, Again<OnlyIf<F>, K>, D, P, X, R> {
        self.map_again(|again| again.only(only))
    }

    /// Copies requests by `copy`, instead of [`Resend::copy`]: for a body that is not `Clone`. A
    /// request that has no copy is sent once.
    ///
    /// A copier says how to copy a request, never whether it may be sent twice: [`Idempotent`] or
    /// [`only`](Self::only) does.
    ///
    /// ```
    /// use seawall::{Hedge, HedgeLayer};
    ///
    /// struct Query { text: String }
    ///
    /// let hedge = Hedge::fixed(std::time::Duration::from_millis(50));
    /// let layer = HedgeLayer::new(&hedge)
    ///     .only(|_: &Query| true)
    ///     .resend(|query: &Query| Some(Query { text: query.text.clone() }));
    /// # let _ = layer;
    /// ```
    pub fn resend<F>(self, copy: F) -> HedgeLayer<C, Again<O, CopyBy<F>>, D, P, X, R> {
        self.map_again(|again| again.resend(copy))
    }
}

debug_fields!(
    [C: fmt::Debug, A: fmt::Debug, D: fmt::Debug, P: fmt::Debug, X: fmt::Debug, R]
    HedgeLayer<C, A, D, P, X, R>, this:
    hedge = this.hedge, classifier = this.classifier, again = this.again, delay = this.delay,
    extra = this.extra, site = this.site
);

impl<S, C, A, D, P, X, R> Layer<S> for HedgeLayer<C, A, D, P, X, R>
where
    S: Clone,
    C: Clone,
    A: Clone,
    D: Clone,
    P: IntoSource<Hedge> + Clone,
    X: ExtraService<S>,
{
    type Service = HedgeService<S, C, A, D, P, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let hedge = self.hedge.clone();
        let mut live = hedge.fixed().cloned().map(Cached::new);
        let rules = Rules {
            config: live.as_mut().map(|live| Arc::clone(live.load())),
            again: self.again.clone(),
            delay: self.delay.clone(),
        };
        HedgeService {
            template: Template::new(self.extra.template(&inner), rules),
            inner,
            hedge,
            live,
            classifier: self.classifier.clone(),
            responder: PhantomData,
            site: self.site,
        }
    }
}
