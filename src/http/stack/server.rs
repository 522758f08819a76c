use std::time::Duration;

use tower_layer::Layer;

use crate::config::Name;
use crate::http::hold::WithPermit;
use crate::http::{
    BodyLayer, BodyService, EveryChunk, RequestBodyLayer, RequestBodyService, UntilBodyEnd,
};
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::ServerStack;
use crate::timeout::Timeout;

/// Until a body that has stalled is cut short, as for a call that does not answer.
const IDLE: Duration = Duration::from_secs(30);

/// The type of [`ServerStack::http`], which a field of yours can name. The parameters are for what an
/// option has replaced: the limiter, and what is progress of a body.
///
/// ```
/// use seawall::http::{ClientIp, HttpServerStack};
/// use seawall::ServerStack;
///
/// struct Api {
///     stack: HttpServerStack,
/// }
///
/// let api = Api { stack: ServerStack::http("api", 200) };
/// # drop(api.stack);
/// ```
pub type HttpServerStack<L = RateLimiter, P = EveryChunk> = ServerStack<Native, L, ServerBodies<P>>;

/// What a [`ServerStack::http`] does with bodies: it limits the waits for chunks, and a call lasts until the
/// end of its response's body. `P` says which chunks of it are progress.
#[derive(Clone, Debug)]
pub struct ServerBodies<P = EveryChunk> {
    pub(crate) body: BodyLayer<P>,
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
    /// [`ServerStack::timeout_until_body_end`].
    ///
    /// The service waits for at most 30 s for the next chunk of a request's body; then its answer is
    /// 408. Up to 64 KiB of the body of a rejected request are read, so that its connection is kept.
    ///
    /// The service gets a [`RequestBody`](crate::http::RequestBody), and its responses have a
    /// [`Body`](crate::http::Body). So write a key or a handler that names the body for any: `fn key<B>(request:
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
    pub fn http(name: impl Into<Name>, limit: u32) -> HttpServerStack {
        Self::new(name, limit).until_body_end()
    }
}

impl<R, L> ServerStack<R, L> {
    /// Makes each call hold its permit until the end of its response's body, for an HTTP service.
    /// The wait for the next chunk of a body is limited to 30 s; [`ServerStack::body`] changes that.
    /// The timeout is for the head; [`ServerStack::timeout_until_body_end`] changes that.
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
    pub fn until_body_end(self) -> ServerStack<R, L, ServerBodies> {
        let name = self.name().clone();
        let idle = |of| {
            let idle = Timeout::builder(IDLE).name(format!("{name}.{of}"));
            idle.build().expect("the limit is not zero")
        };
        let stack = self.timeout_ends_with_head(true);
        stack.with_bodies(|()| ServerBodies {
            body: BodyLayer::new().idle(idle("body_idle")),
            requests: RequestBodyLayer::new().idle(idle("request_idle")),
            shares_permit: false,
        })
    }
}

impl<R, L, P> ServerStack<R, L, ServerBodies<P>> {
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
    pub fn body<P2>(
        self,
        change: impl FnOnce(BodyLayer<P>) -> BodyLayer<P2>,
    ) -> ServerStack<R, L, ServerBodies<P2>> {
        self.with_bodies(|bodies| ServerBodies {
            body: change(bodies.body),
            requests: bodies.requests,
            shares_permit: bodies.shares_permit,
        })
    }

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
    pub fn request_body(
        mut self,
        change: impl FnOnce(RequestBodyLayer) -> RequestBodyLayer,
    ) -> Self {
        self.bodies.requests = change(self.bodies.requests);
        self
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
        self.bodies.shares_permit = true;
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
        self.timeout_ends_with_head(false)
    }
}

impl<S, R, L, P> Layer<S> for ServerStack<R, L, ServerBodies<P>>
where
    ServerStack<UntilBodyEnd<R>, L>: Layer<WithPermit<BodyService<S, P>>>,
    Self: Clone,
    R: Clone,
    P: Clone,
{
    type Service = RequestBodyService<
        <ServerStack<UntilBodyEnd<R>, L> as Layer<WithPermit<BodyService<S, P>>>>::Service,
        UntilBodyEnd<R>,
    >;

    fn layer(&self, inner: S) -> Self::Service {
        let bodies = &self.bodies;
        let stack = self.clone().map_responder(UntilBodyEnd).with_bodies(drop);
        let requests = bodies
            .requests
            .clone()
            .respond_as(stack.responder().clone());
        requests.layer(stack.layer(WithPermit {
            inner: bodies.body.layer(inner),
            on: bodies.shares_permit,
        }))
    }
}
