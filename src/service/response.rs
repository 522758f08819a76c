//! The response future of the layers that reject.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::respond::Format;
use crate::rejection::Rejection;

pin_project! {
    /// The response future of a layer that admits a call or rejects it: `C` is the call, with
    /// what the layer holds for it, and `M` makes a rejection the service's own outcome.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<C, M> {
        #[pin]
        state: State<C, M>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<C, M> {
        // The call was admitted and made.
        Calling {
            #[pin]
            call: C,
        },
        // The call was not made. None once the rejection has been returned.
        Rejected { rejected: Option<(Rejection, M)> },
    }
}

impl<C, M> ResponseFuture<C, M> {
    // Inlined, so that the call is built where it stays. Passed through another function it would
    // be copied.
    #[inline(always)]
    pub(crate) fn calling(call: impl FnOnce() -> C) -> Self {
        Self {
            state: State::Calling { call: call() },
        }
    }

    pub(crate) fn rejected(rejection: Rejection, format: M) -> Self {
        Self {
            state: State::Rejected {
                rejected: Some((rejection, format)),
            },
        }
    }
}

impl<C, M, Res, Err> Future for ResponseFuture<C, M>
where
    C: Future<Output = Result<Res, Err>>,
    M: Format<Res, Err>,
{
    type Output = Result<Res, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Calling { call } => call.poll(cx),
            StateProjection::Rejected { rejected } => {
                let (rejection, format) = rejected.take().expect("polled after it was ready");
                Poll::Ready(format.reject(rejection))
            }
        }
    }
}

impl<C, M> fmt::Debug for ResponseFuture<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.state {
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        })
    }
}
