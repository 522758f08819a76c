use tower_layer::Layer;

use crate::attempts::{ByRequest, CopyOf};
use crate::classify::Standard;
use crate::config::Name;
use crate::http::replay::Attempted;
use crate::http::{BodyLayer, BodyService, EveryChunk, ReplayLayer, ReplayService, UntilBodyEnd};
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::ClientStack;
#[cfg(doc)]
use crate::stack::ServerStack;

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
> = ClientStack<Native, C, L, O, K, ClientBodies<P>>;

/// What a [`ClientStack::http`] does with bodies: request bodies can be sent again, and a call lasts until
/// the end of its response's body. `P` says which chunks of it are progress.
#[derive(Clone, Debug)]
pub struct ClientBodies<P = EveryChunk> {
    body: BodyLayer<P>,
    replay: ReplayLayer,
}

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
    ///
    /// A function for [`only`](Self::only) gets requests with a [`ReplayBody`](crate::http::ReplayBody), so
    /// write one for any body:
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
    pub fn http(name: impl Into<Name>) -> HttpClientStack {
        Self::new(name).until_body_end()
    }
}

impl<R, C, L, O, K> ClientStack<R, C, L, O, K> {
    /// Makes each call last until the end of its response's body, for an HTTP client. The total
    /// timeout limits the body; [`ClientStack::body`] adds limits of its own. Request bodies of up to
    /// 64 KiB can be sent again; [`ClientStack::replay`] changes that.
    pub fn until_body_end(self) -> ClientStack<R, C, L, O, K, ClientBodies> {
        self.with_bodies(|()| ClientBodies {
            body: BodyLayer::new(),
            replay: ReplayLayer::new(),
        })
    }
}

impl<R, C, L, O, K, P> ClientStack<R, C, L, O, K, ClientBodies<P>> {
    /// Changes the limits of response bodies, and what is progress, as [`ServerStack::body`] does.
    pub fn body<P2>(
        self,
        change: impl FnOnce(BodyLayer<P>) -> BodyLayer<P2>,
    ) -> ClientStack<R, C, L, O, K, ClientBodies<P2>> {
        self.with_bodies(|bodies| ClientBodies {
            body: change(bodies.body),
            replay: bodies.replay,
        })
    }

    /// Sets up to how many bytes of a request body are recorded, so that a retry or hedge can send
    /// it again. The default is 64 KiB. A larger body is sent once; with 0, so is every body that
    /// is not empty.
    pub fn replay(mut self, bytes: usize) -> Self {
        self.bodies.replay = self.bodies.replay.limit(bytes);
        self
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
    pub fn resend<F>(self, copy: F) -> ClientStack<R, C, L, O, CopyOf<F>, ClientBodies<P>> {
        self.resend_of(copy)
    }
}

impl<S, R, C, L, O, K, P> Layer<S> for ClientStack<R, C, L, O, K, ClientBodies<P>>
where
    ClientStack<UntilBodyEnd<R>, C, L, O, K>: Layer<Attempted<BodyService<S, P>>>,
    Self: Clone,
    P: Clone,
{
    type Service = ReplayService<
        <ClientStack<UntilBodyEnd<R>, C, L, O, K> as Layer<Attempted<BodyService<S, P>>>>::Service,
    >;

    fn layer(&self, inner: S) -> Self::Service {
        let ClientBodies { body, replay } = &self.bodies;
        let stack = self.clone().map_responder(UntilBodyEnd).with_bodies(drop);
        replay.layer(stack.layer(Attempted(body.layer(inner))))
    }
}
