use std::time::Duration;

use tower_layer::Layer;

use super::{Bulkhead, BulkheadService, QueuedService};
use crate::keyed::IntoSource;
use crate::service::{Front, Native, responder_methods};

/// Puts a [`Bulkhead`] around a service.
///
/// `R` makes the answer to a rejected call, `W` says whether calls wait for a permit, and `P` is
/// the bulkhead, or one per key.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct BulkheadLayer<R = Native, W = Rejects, P = Bulkhead> {
    front: Front<P, R>,
    wait: W,
}

/// A layer that rejects a call if no permit is free: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejects;

/// A layer whose calls wait for a permit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queues {
    max_wait: Option<Duration>,
}

impl<P> BulkheadLayer<Native, Rejects, P> {
    /// A layer that rejects calls above the limit, also if the bulkhead has a queue: a rejection then
    /// [says](crate::Reason::hint) that this layer does not use it. Takes a
    /// bulkhead, a reference to one, or one [per key](crate::Keyed::by). All services made by it,
    /// and by other layers over the same bulkhead, share the limit.
    #[track_caller]
    pub fn new(bulkhead: impl IntoSource<Bulkhead, Source = P>) -> Self {
        Self {
            front: Front::new(bulkhead.into_source()),
            wait: Rejects,
        }
    }
}

impl<P> BulkheadLayer<Native, Queues, P> {
    /// A layer whose calls wait for a permit, for at most the bulkhead's
    /// [`max_wait`](super::Builder::max_wait) and until the deadline in force. A call that finds
    /// the queue full is rejected at once. So is every call above the limit if the bulkhead has no
    /// [queue](super::Builder::queue), and the rejection [says](crate::Reason::hint) so.
    ///
    /// The service has to be `Clone`, because a call that waits holds no capacity of it.
    #[track_caller]
    pub fn queued(bulkhead: impl IntoSource<Bulkhead, Source = P>) -> Self {
        Self {
            front: Front::new(bulkhead.into_source()),
            wait: Queues::default(),
        }
    }
}

impl<R, P> BulkheadLayer<R, Queues, P> {
    /// Sets the longest wait of calls through this layer, instead of the bulkhead's.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.wait.max_wait = Some(max_wait);
        self
    }
}

responder_methods!(BulkheadLayer < R, W, P > { wait });

impl<R: Clone, W, P: Clone> BulkheadLayer<R, W, P> {
    fn rejecting<S>(&self, inner: S) -> BulkheadService<S, R, P> {
        let front = self.front.clone();
        BulkheadService { inner, front }
    }
}

impl<S, R: Clone, P: Clone> Layer<S> for BulkheadLayer<R, Rejects, P> {
    type Service = BulkheadService<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.rejecting(inner)
    }
}

impl<S, R: Clone, P: Clone> Layer<S> for BulkheadLayer<R, Queues, P> {
    type Service = QueuedService<S, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        QueuedService {
            service: self.rejecting(inner),
            max_wait: self.wait.max_wait,
        }
    }
}
