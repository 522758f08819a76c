use std::time::Duration;

use tower_layer::Layer;

use super::{Timeout, TimeoutService};
use crate::service::{Native, RespondWith};

/// Puts a [`Timeout`] around a service.
///
/// `R` says how a call that timed out is answered, `D` where its duration comes from.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct TimeoutLayer<R = Native, D = Fixed> {
    timeout: Timeout,
    responder: R,
    duration: D,
}

impl TimeoutLayer {
    /// A layer over `timeout`: a [`Duration`], a `Timeout` or a reference to one. All services
    /// made by it, and by other layers over the same timeout, share it.
    ///
    /// # Panics
    /// If given a duration of zero; see [`Timeout::new`]. In use, a call that has to be waited
    /// for needs a tokio runtime with time enabled.
    #[track_caller]
    pub fn new(timeout: impl Into<Timeout>) -> Self {
        Self {
            timeout: timeout.into(),
            responder: Native,
            duration: Fixed,
        }
    }
}

impl<R, D> TimeoutLayer<R, D> {
    /// Answers a call that timed out with what `respond` makes of the rejection, in place of
    /// the service's own terms.
    pub fn respond<F>(self, respond: F) -> TimeoutLayer<RespondWith<F>, D> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers a call that timed out by a [`Respond`](crate::service::Respond) of your own,
    /// which may read the request first.
    pub fn respond_as<R2>(self, responder: R2) -> TimeoutLayer<R2, D> {
        TimeoutLayer {
            timeout: self.timeout,
            responder,
            duration: self.duration,
        }
    }

    /// Takes the duration from the request; where `duration` returns none, the timeout's own
    /// applies. Zero is a deadline that has passed: the call is refused.
    pub fn duration_from<F>(self, duration: F) -> TimeoutLayer<R, PerRequest<F>> {
        TimeoutLayer {
            timeout: self.timeout,
            responder: self.responder,
            duration: PerRequest(duration),
        }
    }
}

impl<S, R: Clone, D: Clone> Layer<S> for TimeoutLayer<R, D> {
    type Service = TimeoutService<S, R, D>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeoutService::new(
            inner,
            self.timeout.clone(),
            self.responder.clone(),
            self.duration.clone(),
        )
    }
}

/// Where the duration of a call comes from.
pub trait DurationOf<Req> {
    /// The duration for this request; none for the timeout's own.
    fn duration(&self, request: &Req) -> Option<Duration>;
}

/// The timeout's own duration for every request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fixed;

impl<Req> DurationOf<Req> for Fixed {
    fn duration(&self, _: &Req) -> Option<Duration> {
        None
    }
}

/// A duration that a closure reads from the request.
#[derive(Clone, Copy)]
pub struct PerRequest<F>(F);

impl<F> std::fmt::Debug for PerRequest<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PerRequest(..)")
    }
}

impl<Req, F: Fn(&Req) -> Option<Duration>> DurationOf<Req> for PerRequest<F> {
    fn duration(&self, request: &Req) -> Option<Duration> {
        (self.0)(request)
    }
}
