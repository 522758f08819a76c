//! The option of the layers that a call lasts until the end of its response's body.

use std::any::Any;

use http::Response;
use http_body::Body as HttpBody;

use super::response::{Body, hold};
use crate::budget::BudgetLayer;
use crate::bulkhead::BulkheadLayer;
use crate::circuit_breaker::CircuitBreakerLayer;
use crate::hedge::HedgeLayer;
use crate::rejection::{Reason, Rejection};
use crate::retry::RetryLayer;
use crate::service::{Format, Respond};
use crate::timeout::TimeoutLayer;

/// A responder that answers rejections as `R` does, and whose calls last until the end of the
/// [`Body`]. It is set by `.until_body_end()` on a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilBodyEnd<R>(pub(crate) R);

impl<R, Req, B, P, Err> Respond<Req, Response<Body<B, P>>, Err> for UntilBodyEnd<R>
where
    R: Respond<Req, Response<Body<B, P>>, Err>,
    B: HttpBody,
{
    type Format = HeldFormat<R::Format>;

    #[inline]
    fn format(&self, request: &Req) -> Self::Format {
        HeldFormat(self.0.format(request))
    }
}

/// The [`Format`] of [`UntilBodyEnd`].
#[derive(Clone, Copy, Debug)]
pub struct HeldFormat<M>(M);

impl<M, B, P, Err> Format<Response<Body<B, P>>, Err> for HeldFormat<M>
where
    M: Format<Response<Body<B, P>>, Err>,
    B: HttpBody,
{
    const HOLDS: bool = true;

    fn reject(self, rejection: Rejection) -> Result<Response<Body<B, P>>, Err> {
        self.0.reject(rejection)
    }

    fn reason<'o>(&self, outcome: Result<&'o Response<Body<B, P>>, &'o Err>) -> Option<&'o Reason> {
        self.0.reason(outcome)
    }

    fn hold<T: Any>(response: &mut Response<Body<B, P>>, held: T) -> Option<T> {
        hold(response, held)
    }
}

impl<R, W, P> BulkheadLayer<R, W, P> {
    /// Holds the permit of a call until the end of its response's body, or until that is dropped,
    /// instead of until its head. The service's body is a [`Body`], which a
    /// [`BodyLayer`](super::BodyLayer) further down makes.
    ///
    /// A response without a body ends with its head.
    pub fn until_body_end(self) -> BulkheadLayer<UntilBodyEnd<R>, W, P> {
        self.map_responder(UntilBodyEnd)
    }
}

impl<R, C, G, P> CircuitBreakerLayer<R, C, G, P> {
    /// Judges a call at the end of its response's body, if its head is a success: a body that
    /// fails, is cut short, or has a failing gRPC status in its trailers is a failure. A body that
    /// its reader drops, or that takes [longer](super::BodyLayer::judge_within) than 10 s, counts
    /// as its head. The service's body is a [`Body`], which a [`BodyLayer`](super::BodyLayer)
    /// further down makes.
    pub fn until_body_end(self) -> CircuitBreakerLayer<UntilBodyEnd<R>, C, G, P> {
        self.map_responder(UntilBodyEnd)
    }
}

impl<R, D> TimeoutLayer<R, D> {
    /// Limits the call until the end of its response's body, instead of until its head, and sets
    /// the deadline for the body as well. A body that takes longer ends in an error that carries
    /// the [`Reason`](crate::Reason). The service's body is a [`Body`], which a
    /// [`BodyLayer`](super::BodyLayer) further down makes.
    pub fn until_body_end(self) -> TimeoutLayer<UntilBodyEnd<R>, D> {
        self.map_responder(UntilBodyEnd)
    }
}

impl<C, A, R> RetryLayer<C, A, R> {
    /// Waits with the deposit for a success until the end of its response's body: a budget earns
    /// nothing from a response whose body failed or was cut short. A retry itself ends with the
    /// head, because it cannot take back a response that it has returned. The service's body is a
    /// [`Body`], which a [`BodyLayer`](super::BodyLayer) further down makes.
    pub fn until_body_end(self) -> RetryLayer<C, A, UntilBodyEnd<R>> {
        self.responder()
    }
}

impl<C, A, D, P, X, R> HedgeLayer<C, A, D, P, X, R> {
    /// Judges the attempt that won at the end of its response's body: if that failed or was cut
    /// short, no win and no deposit is counted, and its latency is known to be at least that long.
    /// A hedge itself ends with the head. The service's body is a [`Body`], which a
    /// [`BodyLayer`](super::BodyLayer) further down makes.
    pub fn until_body_end(self) -> HedgeLayer<C, A, D, P, X, UntilBodyEnd<R>> {
        self.responder()
    }
}

impl<P, R> BudgetLayer<P, R> {
    /// Waits with the deposit for a success until the end of its response's body, as
    /// [`RetryLayer::until_body_end`] does. The service's body is a [`Body`], which a
    /// [`BodyLayer`](super::BodyLayer) further down makes.
    pub fn until_body_end(self) -> BudgetLayer<P, UntilBodyEnd<R>> {
        self.responder()
    }
}
