use tower_layer::Layer;

use super::waiter::Readying;
use super::{Fixed, PerRequest, Timeout, TimeoutService};
use crate::context::path::Site;
use crate::service::{Native, Readiness, RespondWith};

/// Puts a [`Timeout`] around a service.
///
/// `R` makes the answer to a call that timed out, and `D` says where its duration comes from.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct TimeoutLayer<R = Native, D = Fixed> {
    timeout: Timeout,
    responder: R,
    duration: D,
    covers_readiness: bool,
    ends_with_head: bool,
    site: Site,
}

impl TimeoutLayer {
    /// A layer over `timeout`: a [`Duration`](std::time::Duration), a `Timeout` or a reference to
    /// one. All services made by it, and by other layers over the same timeout, share it.
    ///
    /// # Panics
    /// If `timeout` is a duration of zero; see [`Timeout::new`]. In use: when a pending call is
    /// polled outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn new(timeout: impl Into<Timeout>) -> Self {
        Self {
            timeout: timeout.into(),
            responder: Native,
            duration: Fixed,
            covers_readiness: false,
            ends_with_head: false,
            site: Site::caller(),
        }
    }
}

impl<R, D> TimeoutLayer<R, D> {
    /// Answers a call that timed out with what `respond` makes of the rejection, instead of the
    /// service's own error or response.
    pub fn respond<F>(self, respond: F) -> TimeoutLayer<RespondWith<F>, D> {
        self.respond_as(RespondWith(respond))
    }

    /// Answers a call that timed out by a [`Respond`](crate::service::Respond), which may read the
    /// request first.
    pub fn respond_as<R2>(self, responder: R2) -> TimeoutLayer<R2, D> {
        self.map_responder(|_| responder)
    }

    pub(crate) fn map_responder<R2>(self, change: impl FnOnce(R) -> R2) -> TimeoutLayer<R2, D> {
        TimeoutLayer {
            timeout: self.timeout,
            responder: change(self.responder),
            duration: self.duration,
            covers_readiness: self.covers_readiness,
            ends_with_head: self.ends_with_head,
            site: self.site,
        }
    }

    /// Counts the time in which the service is not ready against the limit of the call that
    /// follows. A service that is not ready for the whole limit rejects that call as timed out. The
    /// stacks do this with their total.
    ///
    /// The wait starts when `poll_ready` is first pending, also if its caller gives it up then and
    /// another one polls the same handle within the limit.
    pub fn covers_readiness(mut self) -> Self {
        self.covers_readiness = true;
        self
    }

    /// Whether each call ends with the head of its response, whatever the responder holds in the
    /// body.
    pub(crate) fn ends_with_head(mut self, ends: bool) -> Self {
        self.ends_with_head = ends;
        self
    }

    /// Takes the duration from the request. Where `duration` returns none, the timeout's own
    /// applies. Zero is a deadline that has passed: the call is rejected. [`Duration::MAX`](std::time::Duration::MAX) is no
    /// limit.
    pub fn duration_from<F>(self, duration: F) -> TimeoutLayer<R, PerRequest<F>> {
        self.duration_by(PerRequest(duration))
    }

    pub(crate) fn duration_by<D2>(self, duration: D2) -> TimeoutLayer<R, D2> {
        TimeoutLayer {
            timeout: self.timeout,
            responder: self.responder,
            duration,
            covers_readiness: self.covers_readiness,
            ends_with_head: self.ends_with_head,
            site: self.site,
        }
    }
}

impl<S, R: Clone, D: Clone> Layer<S> for TimeoutLayer<R, D> {
    type Service = TimeoutService<S, R, D>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeoutService {
            inner,
            timeout: self.timeout.clone(),
            responder: self.responder.clone(),
            duration: self.duration.clone(),
            readiness: Readiness::default(),
            readying: Readying::covered(self.covers_readiness),
            ends_with_head: self.ends_with_head,
            site: self.site,
        }
    }
}
