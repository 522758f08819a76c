use std::time::Duration;

use tower_layer::Layer;

use super::{Hedge, HedgeService};
use crate::classify::{Idempotent, Resend, Standard};
use crate::keyed::IntoSource;

/// Puts a [`Hedge`] around a service.
///
/// `C` classifies outcomes, `K` says which requests may be hedged, `D` where the delay comes
/// from, and `P` is the hedge, or one per key. It refuses nothing, so there is nothing to respond.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct HedgeLayer<C = Standard, K = ByResend, D = Own, P = Hedge> {
    hedge: P,
    classifier: C,
    safe: K,
    delay: D,
}

impl<P> HedgeLayer<Standard, ByResend, Own, P> {
    /// A layer over `hedge`, a reference to it, or one [per key](crate::Keyed::by). All services
    /// made by it, and by other layers over the same hedge, share its latencies and its budget.
    ///
    /// The service has to be `Clone`: an extra attempt is made by a clone of its own.
    pub fn new(hedge: impl IntoSource<Hedge, Source = P>) -> Self {
        Self {
            hedge: hedge.into_source(),
            classifier: Standard,
            safe: ByResend,
            delay: Own,
        }
    }
}

impl<C, K, D, P> HedgeLayer<C, K, D, P> {
    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify), in place of
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> HedgeLayer<C2, K, D, P> {
        HedgeLayer {
            hedge: self.hedge,
            classifier,
            safe: self.safe,
            delay: self.delay,
        }
    }

    /// Hedges the requests that `only` names, in place of those that say of themselves that
    /// they may be sent twice. For gRPC, whose methods say nothing: name those that are safe,
    /// and no stream.
    pub fn only<F>(self, only: F) -> HedgeLayer<C, Only<F>, D, P> {
        HedgeLayer {
            hedge: self.hedge,
            classifier: self.classifier,
            safe: Only(only),
            delay: self.delay,
        }
    }

    /// Hedges by `safe`.
    pub(crate) fn safe_by<K2>(self, safe: K2) -> HedgeLayer<C, K2, D, P> {
        HedgeLayer {
            hedge: self.hedge,
            classifier: self.classifier,
            safe,
            delay: self.delay,
        }
    }

    /// Takes the delay from the request and the number of the attempt that begins after it,
    /// from 2 on; where `delay` returns none, the hedge's own applies.
    pub fn delay_from<Req, F>(self, delay: F) -> HedgeLayer<C, K, PerRequest<F>, P>
    where
        F: Fn(&Req, u32) -> Option<Duration>,
    {
        HedgeLayer {
            hedge: self.hedge,
            classifier: self.classifier,
            safe: self.safe,
            delay: PerRequest(delay),
        }
    }
}

impl<S, C, K, D, P> Layer<S> for HedgeLayer<C, K, D, P>
where
    S: Clone,
    C: Clone,
    K: Clone,
    D: Clone,
    P: IntoSource<Hedge> + Clone,
{
    type Service = HedgeService<S, C, K, D, P>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService::new(
            inner,
            self.hedge.clone(),
            self.classifier.clone(),
            self.safe.clone(),
            self.delay.clone(),
        )
    }
}

/// Which requests may be sent twice, and how they are copied for it.
pub trait Safe<Req> {
    /// Whether sending it twice does no more than sending it once.
    fn is_safe(&self, request: &Req) -> bool;

    /// A copy to send; none if it cannot be copied.
    fn copy(&self, request: &Req) -> Option<Req>;
}

/// What the request says of itself, by [`Idempotent`]; copied by [`Resend`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ByResend;

impl<Req: Idempotent + Resend> Safe<Req> for ByResend {
    fn is_safe(&self, request: &Req) -> bool {
        request.is_idempotent()
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        request.copy()
    }
}

/// What a closure says of the request.
#[derive(Clone, Copy)]
pub struct Only<F>(F);

impl<F> std::fmt::Debug for Only<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Only(..)")
    }
}

impl<Req: Resend, F: Fn(&Req) -> bool> Safe<Req> for Only<F> {
    fn is_safe(&self, request: &Req) -> bool {
        (self.0)(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        request.copy()
    }
}

/// Where the delay of an attempt comes from.
pub trait DelayOf<Req> {
    /// After how long without an answer attempt number `attempt` begins; none for the hedge's
    /// own delay.
    fn delay(&self, request: &Req, attempt: u32) -> Option<Duration>;
}

/// The hedge's own delay for every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own;

impl<Req> DelayOf<Req> for Own {
    fn delay(&self, _: &Req, _: u32) -> Option<Duration> {
        None
    }
}

/// A delay that a closure reads from the request and the attempt.
#[derive(Clone, Copy)]
pub struct PerRequest<F>(F);

impl<F> std::fmt::Debug for PerRequest<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PerRequest(..)")
    }
}

impl<Req, F: Fn(&Req, u32) -> Option<Duration>> DelayOf<Req> for PerRequest<F> {
    fn delay(&self, request: &Req, attempt: u32) -> Option<Duration> {
        (self.0)(request, attempt)
    }
}
