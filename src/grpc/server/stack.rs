use std::ops::Deref;
use std::time::Duration;

use tower_layer::Layer;

use super::deadline::ByGrpcTimeout;
use super::service::GrpcServerService;
use crate::config::Name;
use crate::grpc::methods::Methods;
use crate::http::{BodyLayer, HttpServerStack, RequestBodyLayer, UntilBodyEnd};
use crate::keyed::IntoSource;
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::ServerStack;
use crate::timeout::{Timeout, TimeoutLayer, TimeoutService};

/// A [`ServerStack`] in front of a gRPC server; made by [`ServerStack::grpc`] and
/// [`ServerStack::for_grpc`]. The [module](crate::grpc#server) has its behaviour.
///
/// It dereferences to the stack, for its policies and for changes. `L` is the limiter, or one
/// limiter per key.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct GrpcServerStack<L = RateLimiter> {
    /// For the whole call, by its `grpc-timeout`.
    deadline: Timeout,
    stack: Stack<L>,
    exempt: Methods,
}

type Stack<L> = HttpServerStack<L>;
type Limited<L, S> =
    TimeoutService<<Stack<L> as Layer<S>>::Service, UntilBodyEnd<Native>, ByGrpcTimeout>;

impl ServerStack {
    /// A stack for a gRPC server, such as tonic's, with the [defaults](crate::stack#defaults) and at
    /// most `limit` calls in flight. A call holds its permit until the end of its stream. The timeout
    /// of 30 s is for the head of the response, and `grpc-timeout` for the whole stream.
    ///
    /// For options, build a stack and continue with [`for_grpc`](Self::for_grpc).
    ///
    #[cfg_attr(feature = "tonic", doc = "```no_run")]
    #[cfg_attr(not(feature = "tonic"), doc = "```ignore")]
    /// use seawall::{ServerStack, grpc};
    /// use tonic::transport::Server;
    ///
    /// let stack = ServerStack::grpc("api", 200).exempt([grpc::HEALTH]);
    /// let server = Server::builder().layer(stack); // .add_service(..).serve(..)
    /// # let _ = server;
    /// ```
    ///
    /// # Panics
    /// If `limit` is above 1,000,000.
    #[track_caller]
    pub fn grpc(name: impl Into<Name>, limit: u32) -> GrpcServerStack {
        Self::new(name, limit).for_grpc()
    }
}

impl<L> ServerStack<Native, L> {
    /// Makes this the stack of a gRPC server: calls hold their permit until the end of their stream,
    /// and `grpc-timeout` limits the whole of it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ServerStack;
    ///
    /// let stack = ServerStack::builder("events", 1_000)
    ///     .timeout(Duration::from_secs(5))
    ///     .build()?
    ///     .for_grpc();
    /// # let _ = stack;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn for_grpc(self) -> GrpcServerStack<L> {
        // The limit is that of each request.
        let deadline =
            Timeout::builder(Duration::MAX).name(format!("{}.grpc_timeout", self.name()));
        GrpcServerStack {
            deadline: deadline.build().expect("the limit is not zero"),
            // A stream may be quiet for as long as it lasts.
            stack: self
                .until_body_end()
                .body(|_| BodyLayer::new())
                .request_body(|_| RequestBodyLayer::new()),
            exempt: Methods::default(),
        }
    }
}

impl<L> GrpcServerStack<L> {
    /// Exempts methods from the whole stack: no permit, no token, no timeout. Each is given by its
    /// path `/package.Service/Method`, or all methods of a service by `/package.Service/`, as
    /// [`HEALTH`](crate::grpc::HEALTH) does. A health check of a server that is full must not fail,
    /// or the server is restarted because of its load.
    pub fn exempt<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.exempt = self.exempt.and(methods);
        self
    }

    /// Limits each stream by the stack's timeout too, as
    /// [`ServerStack::timeout_until_body_end`] does, so that no caller holds a permit for longer.
    pub fn timeout_until_body_end(mut self) -> Self {
        self.stack = self.stack.timeout_until_body_end();
        self
    }

    /// Cuts a stream short that sends no message for this long. The default is no limit. Its trailers
    /// have the status DEADLINE_EXCEEDED.
    #[track_caller]
    pub fn idle(mut self, limit: impl Into<Timeout>) -> Self {
        let limit = limit.into();
        self.stack = self.stack.body(|body| body.idle(limit));
        self
    }

    /// Limits calls by `limiter`, as [`ServerStack::rate_limit`] does.
    pub fn rate_limit<L2>(
        self,
        limiter: impl IntoSource<RateLimiter, Source = L2>,
    ) -> GrpcServerStack<L2> {
        GrpcServerStack {
            deadline: self.deadline,
            stack: self.stack.rate_limit(limiter),
            exempt: self.exempt,
        }
    }
}

impl<L> Deref for GrpcServerStack<L> {
    type Target = HttpServerStack<L>;

    fn deref(&self) -> &Self::Target {
        &self.stack
    }
}

impl<S, L> Layer<S> for GrpcServerStack<L>
where
    S: Clone,
    Stack<L>: Layer<S>,
{
    type Service = GrpcServerService<Limited<L, S>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        let limited = TimeoutLayer::new(&self.deadline)
            .until_body_end()
            .duration_by(ByGrpcTimeout)
            .layer(self.stack.layer(inner.clone()));
        GrpcServerService::new(limited, inner, self.exempt.clone())
    }
}
