//! One line around a client of hyper-util:
//!
//! ```
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::TokioExecutor;
//! use http_body_util::Empty;
//! use seawall::ClientStack;
//!
//! let client = ClientStack::http("search").hyper(Client::builder(TokioExecutor::new()).build_http());
//! # fn is<S: tower::Service<http::Request<Empty<bytes::Bytes>>>>(_: S) {}
//! # is(client);
//! ```
//!
//! The result is a tower service, whose error is `seawall::Error<hyper_util::client::legacy::Error>`:
//! a rejection by the stack or an error of the client. Clones share the stack's policies.
//!
//! Where a client is kept in a field, its type is [`Client`], and with options [`ClientOf`]:
//!
//! ```
//! use hyper_util::client::legacy::connect::HttpConnector;
//! use http_body_util::Empty;
//! use seawall::http::{HttpClientStack, SendCallHeaders};
//! use seawall::hyper::{Client, ClientOf};
//!
//! type Body = Empty<bytes::Bytes>;
//!
//! struct Search {
//!     plain: Client<HttpConnector, Body>,
//!     sends: ClientOf<SendCallHeaders<HttpClientStack>, HttpConnector, Body>,
//! }
//! # let _ = |search: Search| (search.plain, search.sends);
//! ```
//!
//! A connection that was not made, and a stream that the server did not process, mean that nothing
//! was sent: such a request is retried whatever its method. See [`classify`](crate::classify#errors).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper_util::client::legacy;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::ClientStack;
use crate::http::{ClientBodies, HttpClientStack, SendCallHeaders};
use crate::rejection::Error;

/// A client of hyper-util under a [`ClientStack::http`]; made by [`ClientStack::hyper`]. `T` is the
/// connector, `B` the body of requests.
pub type Client<T, B> = ClientOf<HttpClientStack, T, B>;

/// A client of hyper-util under a stack `K`, such as an
/// [`HttpClientStack`] with options.
pub type ClientOf<K, T, B> = <K as Layer<HyperService<legacy::Client<T, B>>>>::Service;

impl<R, C, L, O, K, P> ClientStack<R, C, L, O, K, ClientBodies<P>> {
    /// Puts the stack around a client of hyper-util. The [module](crate::hyper) has an example.
    pub fn hyper<T, B>(&self, client: legacy::Client<T, B>) -> ClientOf<Self, T, B>
    where
        Self: Layer<HyperService<legacy::Client<T, B>>>,
    {
        self.layer(HyperService { inner: client })
    }
}

impl<R, C, L, O, K, P> SendCallHeaders<ClientStack<R, C, L, O, K, ClientBodies<P>>> {
    /// Puts the stack around a client of hyper-util, as [`ClientStack::hyper`] does.
    pub fn hyper<T, B>(&self, client: legacy::Client<T, B>) -> ClientOf<Self, T, B>
    where
        Self: Layer<HyperService<legacy::Client<T, B>>>,
    {
        self.layer(HyperService { inner: client })
    }
}

/// A client whose error can carry a rejection: it becomes an [`Error`].
#[derive(Clone, Debug)]
pub struct HyperService<S> {
    inner: S,
}

impl<S: Service<Req>, Req> Service<Req> for HyperService<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = HyperFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let call = self.inner.call(request);
        HyperFuture { call }
    }
}

pin_project! {
    /// The response future of [`HyperService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct HyperFuture<F> {
        #[pin]
        call: F,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for HyperFuture<F> {
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx).map_err(Error::Service)
    }
}
