use tower_layer::Layer;

use super::HttpStack;
use crate::attempts::{ByRequest, CopyOf, OnlyIf};
use crate::classify::Standard;
use crate::config::Name;
use crate::http::replay::Attempted;
use crate::http::{
    BodyLayer, BodyService, EveryChunk, ReplayLayer, ReplayService, RequestBodyLayer, UntilBodyEnd,
};
use crate::keyed::IntoSource;
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::ClientStack;

/// The type of [`ClientStack::http`], which a field of yours can name. The parameters are for what an
/// option has replaced: the limiter, the classifier, which requests are sent again, their copier,
/// and what is progress of a body.
///
/// A closure has no name. Where the stack is kept in a field, give a function:
///
/// ```
/// use http::Request;
/// use seawall::attempts::OnlyIf;
/// use seawall::classify::Standard;
/// use seawall::http::{HttpClientStack, ReplayBody, SendCallHeaders};
/// use seawall::{ClientStack, RateLimiter};
/// # use seawall::http::CallHeaders;
///
/// type Reads = fn(&Request<ReplayBody<String>>) -> bool;
///
/// struct Search {
///     plain: HttpClientStack,
///     reads: HttpClientStack<RateLimiter, Standard, OnlyIf<Reads>>,
///     sends: SendCallHeaders<HttpClientStack>,
/// }
///
/// fn reads<B>(request: &Request<B>) -> bool {
///     request.uri().path().starts_with("/read/")
/// }
///
/// let search = Search {
///     plain: ClientStack::http("search"),
///     reads: ClientStack::http("search").only(reads as Reads),
///     sends: ClientStack::http("search").send_call_headers(CallHeaders::new()),
/// };
/// # drop((search.plain, search.reads, search.sends));
/// ```
pub type HttpClientStack<
    L = RateLimiter,
    C = Standard,
    O = ByRequest,
    K = ByRequest,
    P = EveryChunk,
> = HttpStack<ClientStack<UntilBodyEnd<Native>, C, L, O, K>, P>;

impl ClientStack {
    /// A stack for an HTTP client, with the [defaults](crate::stack#defaults). A call lasts until
    /// the end of its response's body: so do the permit of its host, the verdict of the host's
    /// breaker, and the total timeout of 10 s. An attempt ends with its head.
    ///
    /// The caller's request may have any body: one of up to 64 KiB is sent again by a retry or
    /// hedge, a larger one is sent once. The client below gets a [`ReplayBody`](crate::http::ReplayBody),
    /// and the timeout of an attempt starts when that has been sent. The responses have a
    /// [`Body`](crate::http::Body). For options, and for downloads that last longer, build a stack and
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
    pub fn http(name: impl Into<Name>) -> HttpClientStack {
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

impl<R, C, L, O, K, P> HttpStack<ClientStack<R, C, L, O, K>, P> {
    /// Sets up to how many bytes of a request body are recorded, so that a retry or hedge can send
    /// it again. The default is 64 KiB. A larger body is sent once; with 0, so is every body that
    /// is not empty.
    pub fn replay(mut self, bytes: usize) -> Self {
        self.replay = self.replay.limit(bytes);
        self
    }

    /// Retries and hedges the requests for which `only` is true, as [`ClientStack::only`] does. Their
    /// body is a [`ReplayBody`](crate::http::ReplayBody) here, so write a function for any.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use seawall::{ClientStack, RateLimiter};
    ///
    /// fn reads<B>(request: &Request<B>) -> bool {
    ///     request.method() == Method::GET
    /// }
    ///
    /// let stack = ClientStack::http("search") // The options stand in any order.
    ///     .only(reads::<seawall::http::ReplayBody<String>>)
    ///     .rate_limit(RateLimiter::per_second(100))
    ///     .default_authority("search.internal")
    ///     .replay(0);
    /// # let _ = stack;
    /// ```
    pub fn only<F>(self, only: F) -> HttpStack<ClientStack<R, C, L, OnlyIf<F>, K>, P> {
        self.map_stack(|stack| stack.only(only))
    }

    /// Copies requests by `copy`, as [`ClientStack::resend`] does. The body of a request is a
    /// [`ReplayBody`](crate::http::ReplayBody) here, whose copies share what was recorded: start from
    /// [`Resend::copy`](crate::attempts::Resend::copy), and change the copy, or return none for a
    /// request that is to be sent once.
    ///
    /// ```
    /// use axum::body::Body;
    /// use http::Request;
    /// use seawall::ClientStack;
    /// use seawall::attempts::Resend;
    /// use seawall::http::ReplayBody;
    ///
    /// // What cannot be replayed by the server is sent once.
    /// let stack = ClientStack::http("search").resend(|request: &Request<ReplayBody<Body>>| {
    ///     let signed = request.headers().contains_key("x-signed-for-one-request");
    ///     if signed { None } else { request.copy() }
    /// });
    /// # let _ = stack;
    /// ```
    pub fn resend<F>(self, copy: F) -> HttpStack<ClientStack<R, C, L, O, CopyOf<F>>, P> {
        self.map_stack(|stack| stack.resend_of(copy))
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
