use tower_layer::Layer;

use super::permit::Rules;
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
    rules: Arc<Rules<A>>,
    classifier: C,
}

impl<A> FallbackLayer<A> {
    /// A layer that answers by `action`: a [`value`](super::value), a [`call`](super::call()) or a
    /// [`service`](super::service()). All services made by it, and by other layers over the same
    /// fallback, share its limit.
    pub fn new(fallback: impl Into<Fallback>, action: A) -> Self {
        let fallback = fallback.into();
        Self {
            rules: Arc::new(Rules { fallback, action }),
            classifier: Standard,
        }
    }
}

impl<A, C> FallbackLayer<A, C> {
    /// Classifies outcomes by `classifier`, a [`Classify`](crate::Classify), instead of
    /// [`Standard`]. It is cloned for every call.
    pub fn classify<C2>(self, classifier: C2) -> FallbackLayer<A, C2> {
        let rules = self.rules;
        FallbackLayer { rules, classifier }
    }
}

// Not derived: the action need not be `Clone`.
impl<A, C: Clone> Clone for FallbackLayer<A, C> {
    fn clone(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S, A, C: Clone> Layer<S> for FallbackLayer<A, C> {
    type Service = FallbackService<S, A, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let classifier = self.classifier.clone();
        FallbackService::new(inner, Arc::clone(&self.rules), classifier)
    }
}
