use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::reqwest::{Body, ResponseBuilderExt};
use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::call::Call;
use crate::http::{Attempted, ReplayService};
use crate::rejection::Error;

type Reply = Result<::reqwest::Response, ::reqwest::Error>;

/// One attempt of a [`Call`] by reqwest's client. Its response is one of `http`, for the stack.
#[derive(Clone, Debug)]
pub struct AttemptService {
    client: ::reqwest::Client,
}

impl AttemptService {
    pub(super) fn new(client: ::reqwest::Client) -> Self {
        Self { client }
    }
}

impl Service<Call> for AttemptService {
    type Response = Response<Body>;
    type Error = Error<::reqwest::Error>;
    type Future = AttemptFuture<<::reqwest::Client as Service<::reqwest::Request>>::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.client.poll_ready(cx).map_err(Error::Service)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let call = self.client.call(call.into_request());
        AttemptFuture { call }
    }
}

pin_project! {
    /// The response future of [`AttemptService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct AttemptFuture<F> {
        #[pin]
        call: F,
    }
}

impl<F: Future<Output = Reply>> Future for AttemptFuture<F> {
    type Output = Result<Response<Body>, Error<::reqwest::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().call.poll(cx)).map_err(Error::Service)?;
        // The conversion loses the URL, which follows redirects.
        let url = Response::builder().url(response.url().clone()).body(());
        let mut response = Response::<Body>::from(response);
        if let Ok(url) = url {
            response
                .extensions_mut()
                .extend(url.into_parts().0.extensions);
        }
        Poll::Ready(Ok(response))
    }
}

// Requests of reqwest have a copy of their own, of a body in memory and of any size, and its body does
// not say when it has been sent: what an HTTP stack has for that passes them on.
macro_rules! passes_on {
    ($service:ident, $inner:tt: $($request:ty),*) => {$(
        impl<S: Service<$request>> Service<$request> for $service<S> {
            type Response = S::Response;
            type Error = S::Error;
            type Future = S::Future;

            #[inline]
            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                self.$inner.poll_ready(cx)
            }

            #[inline]
            fn call(&mut self, request: $request) -> S::Future {
                self.$inner.call(request)
            }
        }
    )*};
}

passes_on!(ReplayService, inner: Call, ::reqwest::Request);
passes_on!(Attempted, 0: Call, ::reqwest::Request);
