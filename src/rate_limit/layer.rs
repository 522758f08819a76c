use std::time::Duration;

use tower_layer::Layer;

use super::cost::{One, PerRequest};
use super::policy::RateLimiter;
use super::service::{RateLimitService, WaitingService};
use crate::keyed::IntoSource;
use crate::service::{Native, RespondWith};

/// Puts a [`RateLimiter`] in front of a service.
///
/// `R` says how a refused call is answered, `K` what a call costs, `W` is whether calls wait for
/// their token, and `P` is the limiter, or one per key.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct RateLimitLayer<R = Native, K = One, W = Refusing, P = RateLimiter> {
    limiter: P,
    responder: R,
    cost: K,
    wait: W,
}

/// A layer whose calls are refused when there is no token: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusing;

/// A layer whose calls wait for their token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    max_wait: Option<Duration>,
}

impl<P> RateLimitLayer<Native, One, Refusing, P> {
    /// A layer that refuses what is above the limit. Takes a limiter, a reference to one, or one
    /// [per key](crate::Keyed::by); all services made by it, and by other layers over the same
    /// limiter, share it.
    pub fn new(limiter: impl IntoSource<RateLimiter, Source = P>) -> Self {
        Self {
            limiter: limiter.into_source(),
            responder: Native,
            cost: One,
            wait: Refusing,
        }
    }
}

impl<P> RateLimitLayer<Native, One, Waits, P> {
    /// A layer that makes calls wait for their token, first come, first served, for at most the
    /// limiter's [`max_wait`](super::Builder::max_wait) and the deadline in force. A call whose
    /// wait would be longer is refused at once.
    ///
    /// The service has to be `Clone`: whoever waits holds no capacity of it.
    ///
    /// # Panics
    /// In use, not here: outside of a tokio runtime with time enabled, once a call has to wait.
    pub fn waiting(limiter: impl IntoSource<RateLimiter, Source = P>) -> Self {
        Self {
            limiter: limiter.into_source(),
            responder: Native,
            cost: One,
            wait: Waits::default(),
        }
    }
}

impl<R, K, P> RateLimitLayer<R, K, Waits, P> {
    /// For how long a call waits at most, in place of what the limiter was built with.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.wait.max_wait = Some(max_wait);
        self
    }
}

impl<R, K, W, P> RateLimitLayer<R, K, W, P> {
    /// Answers a refused call with what `respond` makes of the rejection, in place of the
    /// service's own terms.
    pub fn respond<F>(self, respond: F) -> RateLimitLayer<RespondWith<F>, K, W, P> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers a refused call by a [`Respond`](crate::service::Respond) of your own, which
    /// may read the request first.
    pub fn respond_as<R2>(self, responder: R2) -> RateLimitLayer<R2, K, W, P> {
        RateLimitLayer {
            limiter: self.limiter,
            responder,
            cost: self.cost,
            wait: self.wait,
        }
    }

    /// Takes as many tokens as `cost` says of the request; 0 is free. A layer that has to see
    /// the request to know its cost cannot refuse before it is ready.
    pub fn cost<F>(self, cost: F) -> RateLimitLayer<R, PerRequest<F>, W, P> {
        RateLimitLayer {
            limiter: self.limiter,
            responder: self.responder,
            cost: PerRequest::new(cost),
            wait: self.wait,
        }
    }
}

impl<S, R: Clone, K: Clone, P: Clone> Layer<S> for RateLimitLayer<R, K, Refusing, P> {
    type Service = RateLimitService<S, R, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(
            inner,
            self.limiter.clone(),
            self.responder.clone(),
            self.cost.clone(),
        )
    }
}

impl<S, R: Clone, K: Clone, P: Clone> Layer<S> for RateLimitLayer<R, K, Waits, P> {
    type Service = WaitingService<S, R, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let refusing = RateLimitService::new(
            inner,
            self.limiter.clone(),
            self.responder.clone(),
            self.cost.clone(),
        );
        WaitingService::new(refusing, self.wait.max_wait)
    }
}
