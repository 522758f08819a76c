use std::time::Duration;

use tower_layer::Layer;

use super::deadline::ByGrpcTimeout;
use super::service::GrpcServerService;
use crate::config::Name;
use crate::grpc::methods::Methods;
use crate::http::{BodyLayer, HttpServerStack, RequestBodyLayer, ServerBodies, UntilBodyEnd};
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::ServerStack;
use crate::timeout::{Timeout, TimeoutLayer, TimeoutService};

/// The [`ServerStack`] of a gRPC server; made by [`ServerStack::grpc`] and [`ServerStack::for_grpc`].
/// The [module](crate::grpc#server) has its behaviour. `L` is the limiter, or one limiter per key.
pub type GrpcServerStack<L = RateLimiter> = ServerStack<Native, L, ServerMethods>;

/// What a [`GrpcServerStack`] does with bodies, and the methods that pass it.
#[derive(Clone, Debug)]
pub struct ServerMethods {
    /// For the whole call, by its `grpc-timeout`.
    deadline: Timeout,
    bodies: ServerBodies,
    exempt: Methods,
}

type Limited<L, S> =
    TimeoutService<<HttpServerStack<L> as Layer<S>>::Service, UntilBodyEnd<Native>, ByGrpcTimeout>;

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
        let deadline = deadline.build().expect("the limit is not zero");
        // A stream may be quiet for as long as it lasts.
        let stack = self.until_body_end().body(|_| BodyLayer::new());
        let stack = stack.request_body(|_| RequestBodyLayer::new());
        stack.with_bodies(|bodies| ServerMethods {
            deadline,
            bodies,
            exempt: Methods::default(),
        })
    }
}

impl<L> GrpcServerStack<L> {
    /// Exempts methods from the whole stack: no permit, no token, no timeout. Each is given by its
    /// path `/package.Service/Method`, or all methods of a service by `/package.Service/`, as
    /// [`HEALTH`](crate::grpc::HEALTH) does. A health check of a server that is full must not fail,
    /// or the server is restarted because of its load.
    pub fn exempt<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.bodies.exempt = self.bodies.exempt.and(methods);
        self
    }

    /// Limits each stream by the stack's timeout too, so that no caller holds a permit for longer.
    pub fn timeout_until_body_end(self) -> Self {
        self.timeout_ends_with_head(false)
    }

    /// Cuts a stream short that sends no message for this long. The default is no limit. Its trailers
    /// have the status DEADLINE_EXCEEDED.
    #[track_caller]
    pub fn idle(mut self, limit: impl Into<Timeout>) -> Self {
        let body = &mut self.bodies.bodies.body;
        *body = body.clone().idle(limit);
        self
    }
}

impl<S, L> Layer<S> for GrpcServerStack<L>
where
    S: Clone,
    HttpServerStack<L>: Layer<S>,
    L: Clone,
{
    type Service = GrpcServerService<Limited<L, S>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        let ServerMethods {
            deadline, exempt, ..
        } = &self.bodies;
        let stack = self.clone().with_bodies(|methods| methods.bodies);
        let limited = TimeoutLayer::new(deadline)
            .until_body_end()
            .duration_by(ByGrpcTimeout)
            .layer(stack.layer(inner.clone()));
        GrpcServerService::new(limited, inner, exempt.clone())
    }
}
