use tower_layer::Layer;

use super::gates::Gates;
use super::policy::CircuitBreaker;
use super::service::{CircuitBreakerService, GatedService};
use crate::classify::Standard;
use crate::keyed::IntoSource;
use crate::service::{Front, Native, responder_methods};

/// Puts a [`CircuitBreaker`] around a service.
///
/// `R` makes the outcome of a rejected call, `C` classifies outcomes, `G` says whether readiness
/// follows the breaker, and `P` is the breaker, or one per key.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct CircuitBreakerLayer<R = Native, C = Standard, G = Rejecting, P = CircuitBreaker> {
    front: Front<P, R>,
    classifier: C,
    gate: G,
}

/// A layer whose open breaker rejects calls: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejecting;

/// A layer whose service is not ready while the breaker is open.
#[derive(Clone, Debug, Default)]
pub struct Gated {
    gates: Option<Gates>,
}

impl<P> CircuitBreakerLayer<Native, Standard, Rejecting, P> {
    /// A layer over `breaker`, a reference to it, or one [per key](crate::Keyed::by). All
    /// services made by it, and by other layers over the same breaker, share it.
    #[track_caller]
    pub fn new(breaker: impl IntoSource<CircuitBreaker, Source = P>) -> Self {
        Self {
            front: Front::new(breaker.into_source()),
            classifier: Standard,
            gate: Rejecting,
        }
    }
}

impl CircuitBreakerLayer<Native, Standard, Gated> {
    /// A layer whose service is not ready while the breaker admits no call, and is woken when that
    /// changes: for use under `tower::balance`, which then picks another service. On a
    /// [ramp](super::Builder::ramp) it is ready for the ramp's share of the calls. Nothing is
    /// reserved: if another call comes first, the call after readiness may still be rejected.
    ///
    /// Do not use it for a single service: its callers would wait where they should fail fast. If
    /// all services of a balancer are shut, its callers wait too, up to their deadline. Put
    /// `tower::load_shed` above the balancer to reject them at once, or bound the share that is
    /// shut at once with [`in_set`](Self::in_set).
    ///
    /// # Panics
    /// Not here, but in `poll_ready`, if the service has to wait outside of a tokio runtime with
    /// time enabled.
    #[track_caller]
    pub fn gated(breaker: impl Into<CircuitBreaker>) -> Self {
        Self {
            front: Front::new(breaker.into()),
            classifier: Standard,
            gate: Gated::default(),
        }
    }
}

impl<R, C> CircuitBreakerLayer<R, C, Gated> {
    /// Each service made by this layer is a member of this set, of which at most a
    /// [share](Gates) is shut at once. For the services of one balancer. Without a set, all may be
    /// shut.
    pub fn in_set(mut self, gates: &Gates) -> Self {
        self.gate.gates = Some(gates.clone());
        self
    }
}

responder_methods!(CircuitBreakerLayer<R, C, G, P> { classifier, gate });

impl<R, C, G, P> CircuitBreakerLayer<R, C, G, P> {
    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify). The default is
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> CircuitBreakerLayer<R, C2, G, P> {
        CircuitBreakerLayer {
            front: self.front,
            classifier,
            gate: self.gate,
        }
    }
}

impl<R: Clone, C: Clone, G, P: Clone> CircuitBreakerLayer<R, C, G, P> {
    fn rejecting<S>(&self, inner: S) -> CircuitBreakerService<S, R, C, P> {
        CircuitBreakerService {
            inner,
            front: self.front.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S, R: Clone, C: Clone, P: Clone> Layer<S> for CircuitBreakerLayer<R, C, Rejecting, P> {
    type Service = CircuitBreakerService<S, R, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.rejecting(inner)
    }
}

impl<S, R: Clone, C: Clone> Layer<S> for CircuitBreakerLayer<R, C, Gated> {
    type Service = GatedService<S, R, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let gates = self.gate.gates.as_ref();
        let membership = gates.map(|gates| gates.join(&self.front.policy));
        GatedService::new(self.rejecting(inner), membership)
    }
}
