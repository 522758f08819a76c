//! The stacks whose calls last until the end of the response's body.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use tower_layer::Layer;

use super::hold::WithPermit;
use super::replay::Attempted;
use super::{
    BodyLayer, BodyService, EveryChunk, ReplayLayer, ReplayService, RequestBodyLayer,
    RequestBodyService, UntilBodyEnd,
};
use crate::attempts::OnlyIf;
use crate::config::Name;
use crate::keyed::IntoSource;
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::{ClientStack, ServerStack};
use crate::timeout::Timeout;

/// Until a body that has stalled is cut short, as for a call that does not answer.
const IDLE: Duration = Duration::from_secs(30);

/// A [`ServerStack`] or [`ClientStack`] whose calls last until the end of the response's body: made
/// by [`ServerStack::http`], [`ClientStack::http`], and `until_body_end` on a stack.
///
/// It dereferences to the stack, for its policies and for changes. `P` says which chunks of a body
/// are progress.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct HttpStack<K, P = EveryChunk> {
    stack: K,
    body: BodyLayer<P>,
    replay: ReplayLayer,
    requests: RequestBodyLayer,
    shares_permit: bool,
}

impl ServerStack {
    /// A stack for an HTTP service, with the [defaults](crate::stack#defaults) and at most `limit`
    /// calls in flight. A call holds its permit until the end of its response's body. The timeout
    /// of 30 s is for the head, and a body may take as long as it makes progress: one that stalls
    /// for 30 s is cut short.
    ///
    /// The timeout does not include the body because no number fits both: a handler that takes 30 s
    /// hangs, and a download of a gigabyte does not. For one limit for both, see
    /// [`HttpStack::timeout_until_body_end`].
    ///
    /// The service waits for at most 30 s for the next chunk of a request's body; then its answer is
    /// 408. Up to 64 KiB of the body of a rejected request are read, so that its connection is kept.
    ///
    /// The service gets a [`RequestBody`](super::RequestBody), and its responses have a
    /// [`Body`](super::Body). So write a key or a handler that names the body for any: `fn key<B>(request:
    /// &Request<B>)`. For options build a stack and continue with
    /// [`until_body_end`](Self::until_body_end).
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::http("api", 200);
    /// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(stack);
    /// # let _ = app;
    /// ```
    ///
    /// # Panics
    /// If `limit` is above 1,000,000.
    #[track_caller]
    pub fn http(name: impl Into<Name>, limit: u32) -> HttpStack<ServerStack<UntilBodyEnd<Native>>> {
        Self::new(name, limit).until_body_end()
    }
}

impl<R, L> ServerStack<R, L> {
    /// Makes each call hold its permit until the end of its response's body, for an HTTP service.
    /// The wait for the next chunk of a body is limited to 30 s; [`HttpStack::body`] changes that.
    /// The timeout is for the head; [`HttpStack::timeout_until_body_end`] changes that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::builder("files", 64)
    ///     .timeout(Duration::from_secs(5))
    ///     .build()?
    ///     .until_body_end();
    /// # let _ = stack;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn until_body_end(self) -> HttpStack<ServerStack<UntilBodyEnd<R>, L>> {
        let name = self.name().clone();
        let idle = |of| {
            let idle = Timeout::builder(IDLE).name(format!("{name}.{of}"));
            idle.build().expect("the limit is not zero")
        };
        HttpStack {
            stack: self
                .map_responder(UntilBodyEnd)
                .timeout_ends_with_head(true),
            body: BodyLayer::new().idle(idle("body_idle")),
            replay: ReplayLayer::new(),
            requests: RequestBodyLayer::new().idle(idle("request_idle")),
            shares_permit: false,
        }
    }
}

impl ClientStack {
    /// A stack for an HTTP client, with the [defaults](crate::stack#defaults). A call lasts until
    /// the end of its response's body: so do the permit of its host, the verdict of the host's
    /// breaker, and the total timeout of 10 s. An attempt ends with its head.
    ///
    /// The caller's request may have any body: one of up to 64 KiB is sent again by a retry or
    /// hedge, a larger one is sent once. The client below gets a [`ReplayBody`](super::ReplayBody),
    /// and the timeout of an attempt starts when that has been sent. The responses have a
    /// [`Body`](super::Body). For options, and for downloads that last longer, build a stack and
    /// continue with [`until_body_end`](Self::until_body_end).
    ///
    /// ```
    /// use axum::body::Body;
    /// use hyper_util::client::legacy::Client;
    /// use hyper_util::rt::TokioExecutor;
    /// use seawall::{ClientStack, Error};
    /// use tower::ServiceBuilder;
    ///
    /// let client = ServiceBuilder::new()
    ///     .layer(ClientStack::http("search"))
    ///     .map_err(Error::service)
    ///     .service(Client::builder(TokioExecutor::new()).build_http());
    /// # fn is<S: tower::Service<http::Request<Body>>>(_: S) {}
    /// # is(client);
    /// ```
    pub fn http(name: impl Into<Name>) -> HttpStack<ClientStack<UntilBodyEnd<Native>>> {
        Self::new(name).until_body_end()
    }
}

impl<R, C, L, O, K> ClientStack<R, C, L, O, K> {
    /// Makes each call last until the end of its response's body, for an HTTP client. The total
    /// timeout limits the body; [`HttpStack::body`] adds limits of its own. Request bodies of up to
    /// 64 KiB can be sent again; [`HttpStack::replay`] changes that.
    pub fn until_body_end(self) -> HttpStack<ClientStack<UntilBodyEnd<R>, C, L, O, K>> {
        HttpStack {
            stack: self.map_responder(UntilBodyEnd),
            body: BodyLayer::new(),
            replay: ReplayLayer::new(),
            requests: RequestBodyLayer::new(),
            shares_permit: false,
        }
    }
}

impl<K, P> HttpStack<K, P> {
    /// Changes the limits of bodies, and what is progress:
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::http("events", 1_000)
    ///     .body(|body| body.idle(Duration::from_secs(60)).progress(|chunk: &bytes::Bytes| chunk[0] != b':'));
    /// # let _ = stack;
    /// ```
    pub fn body<P2>(self, change: impl FnOnce(BodyLayer<P>) -> BodyLayer<P2>) -> HttpStack<K, P2> {
        HttpStack {
            stack: self.stack,
            body: change(self.body),
            replay: self.replay,
            requests: self.requests,
            shares_permit: self.shares_permit,
        }
    }
}

impl<K, P> HttpStack<K, P> {
    /// A service under the stack whose requests are no `http::Request`.
    #[cfg(feature = "reqwest")]
    pub(crate) fn around<S>(&self, inner: S) -> K::Service
    where
        K: Layer<BodyService<S, P>>,
        P: Clone,
    {
        self.stack.layer(self.body.layer(inner))
    }

    pub(super) fn map_stack<K2>(self, change: impl FnOnce(K) -> K2) -> HttpStack<K2, P> {
        HttpStack {
            stack: change(self.stack),
            body: self.body,
            replay: self.replay,
            requests: self.requests,
            shares_permit: self.shares_permit,
        }
    }
}

impl<R, L, P> HttpStack<ServerStack<R, L>, P> {
    /// Limits calls by `limiter`, as [`ServerStack::rate_limit`] does.
    pub fn rate_limit<L2>(
        self,
        limiter: impl IntoSource<RateLimiter, Source = L2>,
    ) -> HttpStack<ServerStack<R, L2>, P> {
        self.map_stack(|stack| stack.rate_limit(limiter))
    }
}

impl<R, C, L, O, K, P> HttpStack<ClientStack<R, C, L, O, K>, P> {
    /// Sets up to how many bytes of a request body are recorded, so that a retry or hedge can send
    /// it again. The default is 64 KiB. A larger body is sent once; with 0, so is every body that
    /// is not empty.
    pub fn replay(mut self, bytes: usize) -> Self {
        self.replay = self.replay.limit(bytes);
        self
    }

    /// Retries and hedges the requests for which `only` is true, as [`ClientStack::only`] does.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use seawall::{ClientStack, RateLimiter};
    ///
    /// let stack = ClientStack::http("search") // The options stand in any order.
    ///     .only(|request: &Request<()>| request.method() == Method::GET)
    ///     .rate_limit(RateLimiter::per_second(100))
    ///     .default_authority("search.internal")
    ///     .replay(0);
    /// # let _ = stack;
    /// ```
    pub fn only<F>(self, only: F) -> HttpStack<ClientStack<R, C, L, OnlyIf<F>, K>, P> {
        self.map_stack(|stack| stack.only(only))
    }

    /// Sets what is a failure, as [`ClientStack::classify`] does.
    pub fn classify<C2>(self, classifier: C2) -> HttpStack<ClientStack<R, C2, L, O, K>, P> {
        self.map_stack(|stack| stack.classify(classifier))
    }

    /// Limits calls by `limiter`, as [`ClientStack::rate_limit`] does.
    pub fn rate_limit<L2>(
        self,
        limiter: impl IntoSource<RateLimiter, Source = L2>,
    ) -> HttpStack<ClientStack<R, C, L2, O, K>, P> {
        self.map_stack(|stack| stack.rate_limit(limiter))
    }

    /// Sets the key of requests without an authority, as [`ClientStack::default_authority`] does.
    pub fn default_authority(self, authority: impl Into<String>) -> Self {
        self.map_stack(|stack| stack.default_authority(authority))
    }
}

impl<R, L, P> HttpStack<ServerStack<R, L>, P> {
    /// Changes the limits of request bodies: by default 30 s between chunks, and no total.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::http("uploads", 100)
    ///     .request_body(|body| body.idle(Duration::from_secs(5)).total(Duration::from_secs(20)));
    /// # let _ = stack;
    /// ```
    pub fn request_body(self, change: impl FnOnce(RequestBodyLayer) -> RequestBodyLayer) -> Self {
        Self {
            requests: change(self.requests),
            ..self
        }
    }

    /// Gives each request a [`SharedPermit`](crate::bulkhead::SharedPermit) as an extension, so that
    /// work that outlives its call can keep the permit: a WebSocket, whose response ends with its
    /// head, or a task. The default is off, because it allocates.
    ///
    /// ```
    /// use axum::{Extension, Router, routing::post};
    /// use seawall::ServerStack;
    /// use seawall::bulkhead::SharedPermit;
    ///
    /// async fn start(Extension(permit): Extension<SharedPermit>) -> &'static str {
    ///     tokio::spawn(async move {
    ///         let _held = permit; // Until the work is done.
    ///     });
    ///     "started"
    /// }
    ///
    /// let stack = ServerStack::http("jobs", 10).share_permit();
    /// let app: Router = Router::new().route("/", post(start)).layer(stack);
    /// # let _ = app;
    /// ```
    pub fn share_permit(mut self) -> Self {
        self.shares_permit = true;
        self
    }

    /// Limits the whole call by the stack's timeout, until the end of its response's body. The body
    /// sees the deadline as well. By default the timeout ends with the head.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::builder("files", 64)
    ///     .timeout(Duration::from_secs(3_600)) // With the download.
    ///     .build()?
    ///     .until_body_end()
    ///     .timeout_until_body_end();
    /// # let _ = stack;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn timeout_until_body_end(self) -> Self {
        Self {
            stack: self.stack.timeout_ends_with_head(false),
            ..self
        }
    }
}

impl<K, P> Deref for HttpStack<K, P> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.stack
    }
}

impl<S, R, L, P> Layer<S> for HttpStack<ServerStack<R, L>, P>
where
    ServerStack<R, L>: Layer<WithPermit<BodyService<S, P>>>,
    R: Clone,
    P: Clone,
{
    type Service =
        RequestBodyService<<ServerStack<R, L> as Layer<WithPermit<BodyService<S, P>>>>::Service, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let responder = self.stack.responder().clone();
        let requests = self.requests.clone().respond_as(responder);
        requests.layer(self.stack.layer(WithPermit {
            inner: self.body.layer(inner),
            on: self.shares_permit,
        }))
    }
}

impl<S, R, C, L, O, K, P> Layer<S> for HttpStack<ClientStack<R, C, L, O, K>, P>
where
    ClientStack<R, C, L, O, K>: Layer<Attempted<BodyService<S, P>>>,
    P: Clone,
{
    type Service =
        ReplayService<<ClientStack<R, C, L, O, K> as Layer<Attempted<BodyService<S, P>>>>::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        let inner = Attempted(self.body.layer(inner));
        self.replay.layer(self.stack.layer(inner))
    }
}

impl<K: fmt::Debug, P> fmt::Debug for HttpStack<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpStack").field(&self.stack).finish()
    }
}
