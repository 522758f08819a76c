use std::fmt;
use std::time::Duration;

use ::reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ::reqwest::{Body, Request, Response, Version};
use bytes::Bytes;
use serde::Serialize;
use tower_service::Service as TowerService;

use super::call::Call;
use super::send::{Service, send};
use crate::http::BodyError;
use crate::macros::debug_fields;
use crate::rejection::Error;
use crate::stack::Overrides;

/// A request that is being built; made by [`Client::get`](super::Client::get) and the like. Its methods are those of
/// reqwest's `RequestBuilder`; [`with`](Self::with) reaches the others.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder<W = Service> {
    service: W,
    inner: ::reqwest::RequestBuilder,
    overrides: Overrides,
}

impl<W> RequestBuilder<W> {
    pub(super) fn new(service: W, inner: ::reqwest::RequestBuilder) -> Self {
        Self {
            service,
            inner,
            overrides: Overrides::new(),
        }
    }

    /// Changes reqwest's own builder, for what has no method here:
    /// `.with(|request| request.multipart(form))`.
    pub fn with(
        mut self,
        change: impl FnOnce(::reqwest::RequestBuilder) -> ::reqwest::RequestBuilder,
    ) -> Self {
        self.inner = change(self.inner);
        self
    }

    /// Adds a header.
    pub fn header<K, V>(self, key: K, value: V) -> Self
    where
        HeaderName: TryFrom<K, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.with(|inner| inner.header(key, value))
    }

    /// Adds these headers, and replaces those of the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.with(|inner| inner.headers(headers))
    }

    /// Adds these pairs to the query of the URL.
    pub fn query<T: Serialize + ?Sized>(self, query: &T) -> Self {
        self.with(|inner| inner.query(query))
    }

    /// Sets the body to this value as JSON, and its `content-type`.
    pub fn json<T: Serialize + ?Sized>(self, json: &T) -> Self {
        self.with(|inner| inner.json(json))
    }

    /// Sets the body to these pairs as a form, and its `content-type`.
    pub fn form<T: Serialize + ?Sized>(self, form: &T) -> Self {
        self.with(|inner| inner.form(form))
    }

    /// Sets the body. One in memory can be sent again, a stream is sent once.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.with(|inner| inner.body(body))
    }

    /// Adds a bearer token.
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.with(|inner| inner.bearer_auth(token))
    }

    /// Adds a user and a password.
    pub fn basic_auth<U, P>(self, username: U, password: Option<P>) -> Self
    where
        U: fmt::Display,
        P: fmt::Display,
    {
        self.with(|inner| inner.basic_auth(username, password))
    }

    /// Sets the version of HTTP.
    pub fn version(self, version: Version) -> Self {
        self.with(|inner| inner.version(version))
    }

    /// Limits all of this call: its attempts, the backoffs between them, and the response's body.
    /// The default is the total timeout of the stack, which is also the most, unless the stack
    /// [allows more](crate::stack::ClientConfig::longest_total_timeout).
    pub fn timeout(self, total: Duration) -> Self {
        self.with(|inner| inner.timeout(total))
    }

    /// Sets what this call changes about the stack: its total, the timeout of its attempts, or that
    /// it is not retried or not hedged.
    ///
    /// ```no_run
    /// use seawall::stack::Overrides;
    ///
    /// # async fn ping(client: seawall::reqwest::Client) -> Result<(), seawall::Error<reqwest::Error>> {
    /// client.get("http://users/ping").overrides(Overrides::new().once()).send().await?;
    /// # Ok(()) }
    /// ```
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// Builds the request, for [`Client::execute`](super::Client::execute). The overrides are not in it.
    ///
    /// # Errors
    /// If a part is invalid, such as the URL.
    pub fn build(self) -> Result<Request, ::reqwest::Error> {
        self.inner.build()
    }

    /// Sends the request.
    ///
    /// # Errors
    /// A rejection by the stack, or the error of the last attempt. A failing status is none: see
    /// `error_for_status` of the response. A request that is invalid is not sent.
    pub async fn send<B>(self) -> Result<Response, Error<::reqwest::Error>>
    where
        W: TowerService<Call, Response = http::Response<B>, Error = Error<::reqwest::Error>>,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Sync + 'static,
    {
        let request = self.inner.build().map_err(Error::Service)?;
        send(self.service, Call::new(request, self.overrides)).await
    }
}

debug_fields!([W] RequestBuilder<W>, this: request = this.inner, overrides = this.overrides);
