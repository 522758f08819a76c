use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::bulkhead::QueuedService;
use crate::rate_limit::{One, RateLimitService, RateLimiter};
use crate::service::Native;
use crate::timeout::TimeoutService;

pub(super) type Whole<S, R, L> =
    TimeoutService<RateLimitService<QueuedService<S, R>, R, One, L>, R>;

/// A service under a [`ServerStack`](crate::ServerStack).
#[derive(Clone)]
pub struct ServerService<S, R = Native, L = RateLimiter>(Whole<S, R, L>);

impl<S, R, L> ServerService<S, R, L> {
    pub(super) fn new(whole: Whole<S, R, L>) -> Self {
        Self(whole)
    }
}

impl<S, Req, R, L> Service<Req> for ServerService<S, R, L>
where
    Whole<S, R, L>: Service<Req>,
{
    type Response = <Whole<S, R, L> as Service<Req>>::Response;
    type Error = <Whole<S, R, L> as Service<Req>>::Error;
    type Future = <Whole<S, R, L> as Service<Req>>::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

impl<S, R, L> fmt::Debug for ServerService<S, R, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerService").finish_non_exhaustive()
    }
}
