//! Permits of work that outlives its call.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::bulkhead::{Bulkhead, Permit, SharedPermit};
use crate::macros::debug_fields;
use crate::rejection::Rejection;

impl Bulkhead {
    /// Takes a permit for a stream, which holds it until its end or its drop: for server-sent
    /// events and other work that no call waits for.
    ///
    /// For the permit that the call itself has, see
    /// [`ServerStack::share_permit`](crate::ServerStack::share_permit).
    ///
    /// ```
    /// use futures::StreamExt;
    /// use seawall::Bulkhead;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), seawall::Rejection> {
    /// let feeds = Bulkhead::new(1_000);
    /// let mut feed = feeds.hold(futures::stream::iter([1, 2]))?;
    /// assert_eq!(feeds.snapshot().in_flight, 1);
    /// while feed.next().await.is_some() {}
    /// assert_eq!(feeds.snapshot().in_flight, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RejectionKind::BulkheadFull`](crate::RejectionKind::BulkheadFull).
    pub fn hold<S>(&self, stream: S) -> Result<Held<S>, Rejection> {
        let permit = self.try_acquire_owned()?;
        Ok(Held {
            stream,
            permit: Some(permit),
        })
    }
}

impl SharedPermit {
    /// Holds this permit until the end of the stream, or its drop.
    pub fn hold<S>(self, stream: S) -> Held<S, Self> {
        Held {
            stream,
            permit: Some(self),
        }
    }
}

pin_project! {
    /// A stream that holds a permit until its end; made by [`Bulkhead::hold`] and
    /// [`SharedPermit::hold`].
    #[must_use = "streams do nothing unless polled"]
    pub struct Held<S, P = Permit> {
        #[pin]
        stream: S,
        // None once the stream has ended.
        permit: Option<P>,
    }
}

impl<S: Stream, P> Stream for Held<S, P> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let polled = this.stream.poll_next(cx);
        if let Poll::Ready(None) = polled {
            *this.permit = None;
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

debug_fields!([S, P] Held<S, P>, this: holds = this.permit.is_some());

/// A service that finds the permit of its call in the request, if `on`.
#[derive(Clone, Debug)]
pub struct WithPermit<S> {
    pub(super) inner: S,
    pub(super) on: bool,
}

impl<S, B> Service<Request<B>> for WithPermit<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if self.on {
            let permit = SharedPermit::offer();
            request.extensions_mut().insert(permit);
        }
        self.inner.call(request)
    }
}
