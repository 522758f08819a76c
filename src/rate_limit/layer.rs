use std::time::Duration;

use tower_layer::Layer;

use super::cost::{One, PerRequest};
use super::policy::RateLimiter;
use super::service::{RateLimitService, WaitingService};
use crate::keyed::IntoSource;
use crate::service::{Front, Native, responder_methods};

/// Puts a [`RateLimiter`] in front of a service.
///
/// `R` makes the outcome of a rejected call, `K` is the cost of a call, `W` is whether calls wait
/// for their tokens, and `P` is the limiter, or one per key.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct RateLimitLayer<R = Native, K = One, W = Rejects, P = RateLimiter> {
    front: Front<P, R>,
    cost: K,
    wait: W,
}

/// A call without a token is rejected: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejects;

/// A call without a token waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    max_wait: Option<Duration>,
}

impl<P> RateLimitLayer<Native, One, Rejects, P> {
    /// A layer that rejects calls above the limit. Takes a limiter, a reference to one, or one
    /// [per key](crate::Keyed::by). All layers over one limiter, and all their services, share it.
    pub fn new(limiter: impl IntoSource<RateLimiter, Source = P>) -> Self {
        Self {
            front: Front::new(limiter.into_source()),
            cost: One,
            wait: Rejects,
        }
    }
}

impl<P> RateLimitLayer<Native, One, Waits, P> {
    /// A layer whose calls wait for their tokens, first come, first served, for at most the
    /// limiter's [`max_wait`](super::Builder::max_wait) and the deadline in force. A call whose
    /// wait would be longer is rejected at once.
    ///
    /// The service must be `Clone`, because a waiting call holds no capacity of it.
    ///
    /// # Panics
    /// The response future panics if a call has to wait outside of a tokio runtime with time
    /// enabled.
    pub fn waiting(limiter: impl IntoSource<RateLimiter, Source = P>) -> Self {
        Self {
            front: Front::new(limiter.into_source()),
            cost: One,
            wait: Waits::default(),
        }
    }
}

impl<R, K, P> RateLimitLayer<R, K, Waits, P> {
    /// The longest wait of a call, instead of the limiter's.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.wait.max_wait = Some(max_wait);
        self
    }
}

responder_methods!(RateLimitLayer<R, K, W, P> { cost, wait });

impl<R, K, W, P> RateLimitLayer<R, K, W, P> {
    /// Takes as many tokens as `cost` returns for the request; 0 is free. Such a layer cannot
    /// reject before the inner service is ready, because the cost comes with the request.
    pub fn cost<F>(self, cost: F) -> RateLimitLayer<R, PerRequest<F>, W, P> {
        RateLimitLayer {
            front: self.front,
            cost: PerRequest::new(cost),
            wait: self.wait,
        }
    }
}

impl<R: Clone, K: Clone, W, P: Clone> RateLimitLayer<R, K, W, P> {
    fn rejecting<S>(&self, inner: S) -> RateLimitService<S, R, K, P> {
        let (front, cost) = (self.front.clone(), self.cost.clone());
        RateLimitService { inner, front, cost }
    }
}

impl<S, R: Clone, K: Clone, P: Clone> Layer<S> for RateLimitLayer<R, K, Rejects, P> {
    type Service = RateLimitService<S, R, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        self.rejecting(inner)
    }
}

impl<S, R: Clone, K: Clone, P: Clone> Layer<S> for RateLimitLayer<R, K, Waits, P> {
    type Service = WaitingService<S, R, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        WaitingService {
            rejecting: self.rejecting(inner),
            max_wait: self.wait.max_wait,
        }
    }
}
