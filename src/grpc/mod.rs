//! gRPC: a stack around the channel of a client, and one in front of a server.
//!
//! ```text
//!  OrdersClient ──> Channel ─ total ─ budget ─ retry ─ hedge ─ breaker ─ bulkhead ─ attempt ──> tonic's channel
//!                   │ names methods, reads the one message                          │ grpc-timeout,
//!                   │                                                               │ grpc-previous-rpc-attempts
//!  tonic's server ──> GrpcServerService ─ grpc-timeout ─ timeout ─ rate limit ─ bulkhead ──> your service
//!                     │ exempt methods
//! ```
//!
//! # Example
//!
#![cfg_attr(feature = "tonic", doc = "```no_run")]
#![cfg_attr(not(feature = "tonic"), doc = "```ignore")]
//! use seawall::{ClientStack, ServerStack, grpc};
//! use tonic::transport::{Endpoint, Server};
//! # struct OrdersClient<T>(T);
//! # impl<T: tonic::client::GrpcService<tonic::body::Body>> OrdersClient<T> { fn new(channel: T) -> Self { Self(channel) } }
//!
//! # async fn both() {
//! // A server: at most 200 calls in flight, and health checks are not among them.
//! let stack = ServerStack::grpc("api", 200).exempt([grpc::HEALTH]);
//! let server = Server::builder().layer(stack); // .add_service(..).serve(..)
//!
//! // A client: the channel under the stack goes into the generated client.
//! let endpoint = Endpoint::from_static("http://orders:50051");
//! let stack = ClientStack::grpc("orders").idempotent(["/orders.Orders/Get"]);
//! let orders = OrdersClient::new(stack.channel(endpoint.connect_lazy()));
//! # drop((server, orders)); }
//! ```
//!
//! [`examples/grpc.rs`](https://github.com/seawall-rs/seawall/blob/main/examples/grpc.rs) has both
//! in one process. A client is a feature of its own, `tonic`; the server's side needs the feature
//! `http` alone, and serves any tower service of `http::Request`.
//!
//! # Client
//!
//! [`Channel`] is the type of a channel under a stack, such as
//! `grpc::Channel<tonic::transport::Channel>`. Generated clients take it like a plain one.
//!
//! **Circuit breaker.** Each channel has a breaker, a bulkhead and a budget of its own, also where
//! two are made by one stack: tonic adds the address below the stack. They are named `service 1`
//! and so on, or as [`default_authority`](crate::ClientStack::default_authority) says, which is set
//! before `for_grpc`. The outcome of a call is judged at the end of its stream, by its status in
//! the head or in the trailers; the table is that of [`Codes`], whose rows can be
//! [replaced](GrpcClientStack::codes). A stream that ends without a status is a failure, and ends
//! in INTERNAL for the user, because a part of it may be missing.
//!
//! **What is sent again.** A request is one that can be copied if it is one message of at most
//! 64 KiB that is there at once, as that of every unary call is. Then:
//!
//! | failure | methods of [`idempotent`](GrpcClientStack::idempotent) | other methods |
//! |---|---|---|
//! | nothing was sent: the connection was refused, or the server did not process the stream | retried | retried |
//! | the server said when to come back, in a response without a message | retried | retried |
//! | any other transient failure | retried, hedged | sent once |
//! | negative or unreadable pushback | sent once | sent once |
//!
//! The response of a named method is read to its end within the attempt, so that a failing status
//! in the trailers is seen in time. If it turns out to be a stream, it is handed out with its
//! second message, or after 4 MiB of memory, and is not sent again. A stream of requests is always sent once.
//! Each extra attempt says how many were before it, in `grpc-previous-rpc-attempts`. How many there
//! are is bounded by the [budget](crate::budget), which can also
//! [throttle](crate::budget#retry-throttling-of-grpc) as a service config of gRPC says.
//!
//! **Deadline.** Each attempt says in `grpc-timeout` how long this side waits: for a
//! named method until the end of the attempt, for any other until the end of the whole call, since
//! it may be a stream. It is rounded up, and 50 ms longer, so that the timeout of this side ends the
//! call and has its name. `tonic::Request::set_timeout` sets the total of one call, which is at most that of the stack or what it
//! [allows](crate::stack::ClientConfig::longest_total_timeout), and
//! [`Overrides`](crate::stack::Overrides) among its extensions its attempts.
//!
//! **Errors.** The client's error is a `tonic::Status`. For a rejection by the stack its source is
//! the [`Rejection`](crate::Rejection), and [`Reason::find`](crate::Reason::find) returns the
//! details. Code and pushback are those of the table below, and the message names no policy, so
//! that a server may pass the status on. `From<Rejection>` makes the same status in a handler.
//!
//! **Other channels.** Any service with the types of tonic's channel goes under the stack. On 2026-11-28 that of
//! `tonic-xds` 0.1.0-alpha.4 compiled, as `grpc::Channel<tonic_xds::XdsChannelGrpc>`; it was not run against a server of
//! xDS. Its endpoints share one breaker here, as it balances below the stack, and it has retries of its own: use one of the two.
//!
//! # Server
//!
//! A rejection is a response without a message, with the status in its head:
//!
//! | rejected by | status | `grpc-retry-pushback-ms` |
//! |---|---|---|
//! | rate limit | RESOURCE_EXHAUSTED; a cost above the burst: INVALID_ARGUMENT | until the next token |
//! | circuit breaker | UNAVAILABLE | until the next probe; 1 to 2 s where that is not known |
//! | bulkhead | UNAVAILABLE | 1 to 2 s, at random |
//! | timeout, deadline | DEADLINE_EXCEEDED | none |
//!
//! A call ends by its `grpc-timeout`, whether its head was sent or not: a stream that is cut short
//! ends in trailers with DEADLINE_EXCEEDED. The timeout of the stack limits the time to the head,
//! whatever `grpc-timeout` says, and with
//! [`timeout_until_body_end`](GrpcServerStack::timeout_until_body_end) the stream. The permit of the
//! bulkhead is held until the end of the stream. [`timeout`] reads the header for a server of yours.
//!
//! [`exempt`](GrpcServerStack::exempt) lets methods pass the whole stack, such as health checks
//! ([`HEALTH`]).
//!
//! # Customised
//!
#![cfg_attr(feature = "tonic", doc = "```")]
#![cfg_attr(not(feature = "tonic"), doc = "```ignore")]
//! use std::time::Duration;
//! use seawall::classify::FailureKind;
//! use seawall::grpc::Codes;
//! use seawall::{ClientStack, ServerStack};
//! use tonic::Code;
//!
//! let stack = ClientStack::builder("orders")
//!     .total_timeout(Duration::from_secs(600)) // The longest stream.
//!     .attempt_timeout(Duration::from_millis(500)) // Until the head, or a unary response.
//!     .hedge(|hedge| hedge.quantile(0.95))
//!     .build()?
//!     .for_grpc()
//!     .idempotent(["/orders.Orders/Get", "/prices.Prices/"]) // A method, a service.
//!     .codes(Codes::new().counts(Code::Aborted, FailureKind::Permanent));
//! let server = ServerStack::builder("api", 200)
//!     .timeout(Duration::from_secs(600))
//!     .build()?
//!     .for_grpc()
//!     .timeout_until_body_end(); // No stream holds a permit for longer.
//! # let _ = (stack, server);
//! # Ok::<(), seawall::ConfigError>(())
//! ```
//!
//! # Defaults
//!
//! | setting | default | why |
//! |---|---|---|
//! | client and server: timeouts, retry, budget, breaker, bulkhead | those of the [stacks](crate::stack#defaults) | |
//! | [`idempotent`](GrpcClientStack::idempotent) | no method | every request of gRPC is a POST: only you know |
//! | [`codes`](GrpcClientStack::codes) | the table of [`Codes`] | |
//! | largest message that is copied | 64 KiB | that of every request |
//! | largest unary response that is read before the call returns | 4 MiB | the limit of tonic's decoder |
//! | longer `grpc-timeout` for the server | 50 ms | more than a timer is late on a busy machine |
//! | server: limit of a stream | its `grpc-timeout` | a stream may last for hours |
//! | server: shorter `grpc-timeout` | 2 ms | tonic's server has a timer of the same duration, which answers CANCELLED |
//! | [`exempt`](GrpcServerStack::exempt) | no method | |
//! | server: [`idle`](GrpcServerStack::idle) | no limit | a stream may be quiet |
//!
//! # Sharing
//!
//! Clones of a stack share its policies, as those of [`ClientStack`](crate::ClientStack) and
//! [`ServerStack`](crate::ServerStack) do, and so do clones of a channel.
//!
//! # Cancel safety
//!
//! Dropping the response future or the stream releases everything that the call holds, and resets
//! the stream, so that the server stops.
//!
//! # When not to use it
//!
//! - A client's stream that lasts for hours: use a channel of its own, with a long total timeout.
//! - Retries by a service configuration of gRPC, such as those of a mesh or of xDS, together with
//!   these: they multiply. Use one of them.

#[cfg(feature = "tonic")]
mod client;
mod methods;
mod server;
mod timeout;

#[cfg(feature = "tonic")]
pub use client::{
    AttemptFuture, AttemptService, Channel, ClientMethods, GrpcBody, GrpcClientFuture,
    GrpcClientService, GrpcClientStack, GrpcRequestBody, GrpcResponseBody,
};
pub use methods::HEALTH;
pub use server::{
    ByGrpcTimeout, GrpcServerBody, GrpcServerFuture, GrpcServerService, GrpcServerStack,
    ServerMethods,
};
pub use timeout::timeout;

pub use crate::classify::Codes;
