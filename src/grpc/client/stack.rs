use http::Request;
use tower_layer::Layer;

use super::attempt::AttemptService;
use super::request::{GrpcRequestBody, copy, may_resend};
use super::service::GrpcClientService;
use crate::attempts::{CopyBy, OnlyIf};
use crate::classify::{Codes, Standard};
use crate::config::Name;
use crate::grpc::methods::Methods;
use crate::http::{BodyLayer, BodyService, UntilBodyEnd};
use crate::rate_limit::RateLimiter;
use crate::service::Native;
use crate::stack::ClientStack;

/// The [`ClientStack`] of a gRPC client; made by [`ClientStack::grpc`] and [`ClientStack::for_grpc`].
/// The [module](crate::grpc#client) has its behaviour. `L` is the limiter, or one limiter per key.
pub type GrpcClientStack<L = RateLimiter> = Stack<Native, L, ClientMethods>;

/// The methods that a [`GrpcClientStack`] may send more than once.
#[derive(Clone, Debug, Default)]
pub struct ClientMethods {
    idempotent: Methods,
}

type Only = fn(&Request<GrpcRequestBody>) -> bool;
type Copy = fn(&Request<GrpcRequestBody>) -> Option<Request<GrpcRequestBody>>;
type Stack<R, L, B> = ClientStack<R, Codes, L, OnlyIf<Only>, CopyBy<Copy>, B>;
// Not the HTTP stack, whose requests have a body that is recorded: a message has a copier of its own.
type UntilEnd<L> = Stack<UntilBodyEnd<Native>, L, ()>;

/// A channel `S` under a [`GrpcClientStack`]; made by [`GrpcClientStack::channel`]. Clones are the
/// same channel, and share its circuit breaker.
///
/// ```
/// use seawall::grpc;
///
/// struct Prices {
///     channel: grpc::Channel<tonic::transport::Channel>,
/// }
/// # let _ = |prices: Prices| prices.channel;
/// ```
pub type Channel<S, L = RateLimiter> =
    GrpcClientService<<UntilEnd<L> as Layer<BodyService<AttemptService<S>>>>::Service>;

impl ClientStack {
    /// A stack for a gRPC client, with the [defaults](crate::stack#defaults). A call lasts until the
    /// end of its stream: so do the permit of its channel, the verdict of the channel's breaker,
    /// and the total timeout of 10 s. Nothing is retried or hedged that may have had an effect,
    /// until [`idempotent`](GrpcClientStack::idempotent) names the methods.
    ///
    /// For options, and for streams that last longer, build a stack and continue with
    /// [`for_grpc`](Self::for_grpc).
    ///
    /// ```no_run
    /// use seawall::ClientStack;
    /// use tonic::transport::Endpoint;
    /// # struct OrdersClient<T>(T);
    /// # impl<T: tonic::client::GrpcService<tonic::body::Body>> OrdersClient<T> { fn new(channel: T) -> Self { Self(channel) } }
    ///
    /// # async fn orders() {
    /// let endpoint = Endpoint::from_static("http://orders:50051");
    /// let stack = ClientStack::grpc("orders").idempotent(["/orders.Orders/Get"]);
    /// let orders = OrdersClient::new(stack.channel(endpoint.connect_lazy()));
    /// # drop(orders); }
    /// ```
    pub fn grpc(name: impl Into<Name>) -> GrpcClientStack {
        Self::new(name).for_grpc()
    }
}

impl<L> ClientStack<Native, Standard, L> {
    /// Makes this the stack of a gRPC client:
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall::ClientStack;
    ///
    /// let stack = ClientStack::builder("orders")
    ///     .total_timeout(Duration::from_secs(2))
    ///     .attempt_timeout(Duration::from_millis(500))
    ///     .hedge(|hedge| hedge.quantile(0.95))
    ///     .build()?
    ///     .for_grpc()
    ///     .idempotent(["/orders.Orders/Get"]);
    /// # let _ = stack;
    /// # Ok::<_, seawall::ConfigError>(())
    /// ```
    pub fn for_grpc(self) -> GrpcClientStack<L> {
        let (only, copy): (Only, Copy) = (may_resend, copy);
        let stack = self.classify(Codes::new()).only(only).resend(copy);
        stack.with_bodies(|()| ClientMethods::default())
    }
}

impl<L> GrpcClientStack<L> {
    /// Names the methods that may be sent more than once: retried after any transient failure, and
    /// hedged. Each is given by its path `/package.Service/Method`, or all methods of a service by
    /// `/package.Service/`.
    ///
    /// Name unary methods. A stream is not sent again once its response has begun, nor one of
    /// requests at all.
    pub fn idempotent<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.bodies.idempotent = self.bodies.idempotent.and(methods);
        self
    }

    /// Sets how each status counts for breaker, budget, retry and hedge. The default is the table
    /// of [`Codes`].
    pub fn codes(self, codes: Codes) -> Self {
        self.classify(codes)
    }

    /// Puts the stack around a channel: `tonic::transport::Channel`, or any service with its types.
    /// The clients that tonic generates take the result.
    ///
    /// Each call makes a channel with a breaker, a bulkhead and a budget of its own, so that one
    /// stack over two channels has two of each. Make it once, and clone it.
    pub fn channel<S>(&self, channel: S) -> Channel<S, L>
    where
        UntilEnd<L>: Layer<BodyService<AttemptService<S>>>,
        L: Clone,
    {
        let stack = self.clone().map_responder(UntilBodyEnd).with_bodies(drop);
        let inner = BodyLayer::new().layer(AttemptService::new(channel, *self.classifier()));
        let idempotent = self.bodies.idempotent.clone();
        GrpcClientService::new(stack.layer(inner), self.total_of(), idempotent)
    }
}

impl<S, L> Layer<S> for GrpcClientStack<L>
where
    UntilEnd<L>: Layer<BodyService<AttemptService<S>>>,
    L: Clone,
{
    type Service = Channel<S, L>;

    fn layer(&self, channel: S) -> Self::Service {
        self.channel(channel)
    }
}
