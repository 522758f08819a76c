use tower_layer::Layer;

use super::policy::Fallback;
use super::service::FallbackService;
use crate::classify::Standard;
use crate::sync::Arc;

/// Puts a [`Fallback`] around a service.
///
/// `A` is what it answers with, `C` classifies outcomes. It rejects nothing, so it has no
/// responder: what it returns is the service's own, or the answer of the fallback.
#[derive(Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct FallbackLayer<A, C = Standard> {
    fallback: Fallback,
    action: Arc<A>,
    classifier: C,
}

impl<A> FallbackLayer<A> {
    /// A layer that answers by `action`: a [`value`](super::value), a [`call`](super::call()) or a
    /// [`service`](super::service()). All services made by it, and by other layers over the same
    /// fallback, share its limit.
    pub fn new(fallback: impl Into<Fallback>, action: A) -> Self {
        Self {
            fallback: fallback.into(),
            action: Arc::new(action),
            classifier: Standard,
        }
    }
}

impl<A, C> FallbackLayer<A, C> {
    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify), instead of
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> FallbackLayer<A, C2> {
        FallbackLayer {
            fallback: self.fallback,
            action: self.action,
            classifier,
        }
    }
}

// Not derived: the action need not be `Clone`.
impl<A, C: Clone> Clone for FallbackLayer<A, C> {
    fn clone(&self) -> Self {
        Self {
            fallback: self.fallback.clone(),
            action: Arc::clone(&self.action),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S, A, C: Clone> Layer<S> for FallbackLayer<A, C> {
    type Service = FallbackService<S, A, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let classifier = self.classifier.clone();
        FallbackService {
            inner,
            fallback: self.fallback.clone(),
            action: Arc::clone(&self.action),
            classifier,
        }
    }
}
