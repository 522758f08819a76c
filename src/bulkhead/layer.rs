use std::time::Duration;

use tower_layer::Layer;

use super::{Bulkhead, BulkheadService, QueuedService};
use crate::keyed::IntoSource;
use crate::service::{Native, RespondWith};

/// Puts a [`Bulkhead`] around a service.
///
/// `R` says how a refused call is answered, `W` is whether calls queue for a place, and `P` is
/// the bulkhead, or one per key.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct BulkheadLayer<R = Native, W = Refusing, P = Bulkhead> {
    bulkhead: P,
    responder: R,
    wait: W,
}

/// A layer whose calls are refused when there is no place: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusing;

/// A layer whose calls queue for a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queues {
    max_wait: Option<Duration>,
}

impl<P> BulkheadLayer<Native, Refusing, P> {
    /// A layer that refuses what is above the limit, also if the bulkhead has a queue. Takes a
    /// bulkhead, a reference to one, or one [per key](crate::Keyed::by); all services made by it,
    /// and by other layers over the same bulkhead, share it.
    pub fn new(bulkhead: impl IntoSource<Bulkhead, Source = P>) -> Self {
        Self {
            bulkhead: bulkhead.into_source(),
            responder: Native,
            wait: Refusing,
        }
    }
}

impl<P> BulkheadLayer<Native, Queues, P> {
    /// A layer whose calls queue for a place, for at most the bulkhead's
    /// [`max_wait`](super::Builder::max_wait) and the deadline in force. A call that finds the
    /// queue full is refused at once; a bulkhead without a [queue](Bulkhead::queue) has it always
    /// full.
    ///
    /// The service has to be `Clone`: whoever queues holds no capacity of it.
    pub fn queued(bulkhead: impl IntoSource<Bulkhead, Source = P>) -> Self {
        Self {
            bulkhead: bulkhead.into_source(),
            responder: Native,
            wait: Queues::default(),
        }
    }
}

impl<R, P> BulkheadLayer<R, Queues, P> {
    /// For how long a call queues at most, in place of what the bulkhead says.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.wait.max_wait = Some(max_wait);
        self
    }
}

impl<R, W, P> BulkheadLayer<R, W, P> {
    /// Answers a refused call with what `respond` makes of the rejection, in place of the
    /// service's own terms.
    pub fn respond<F>(self, respond: F) -> BulkheadLayer<RespondWith<F>, W, P> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers a refused call by a [`Respond`](crate::service::Respond) of your own, which
    /// may read the request first.
    pub fn respond_as<R2>(self, responder: R2) -> BulkheadLayer<R2, W, P> {
        BulkheadLayer {
            bulkhead: self.bulkhead,
            responder,
            wait: self.wait,
        }
    }
}

impl<S, R: Clone, P: Clone> Layer<S> for BulkheadLayer<R, Refusing, P> {
    type Service = BulkheadService<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        BulkheadService::new(inner, self.bulkhead.clone(), self.responder.clone())
    }
}

impl<S, R: Clone, P: Clone> Layer<S> for BulkheadLayer<R, Queues, P> {
    type Service = QueuedService<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let refusing = BulkheadService::new(inner, self.bulkhead.clone(), self.responder.clone());
        QueuedService::new(refusing, self.wait.max_wait)
    }
}
