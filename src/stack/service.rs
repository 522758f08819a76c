use std::fmt;
use std::task::{Context, Poll};

use tower_service::Service;

/// A service under a stack; `W` is the service of the outermost layer.
#[derive(Clone)]
pub struct StackService<W>(pub(super) W);

impl<W: Service<Req>, Req> Service<Req> for StackService<W> {
    type Response = W::Response;
    type Error = W::Error;
    type Future = W::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

impl<W> fmt::Debug for StackService<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackService").finish_non_exhaustive()
    }
}
