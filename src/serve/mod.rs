//! Serving HTTP: an accept loop with bounded connections, which drains in order.
//!
//! ```text
//!  accept ──> caps ──> handshake ──> head of a request ──> the app ──> response
//!    │        │                      │                     (stacks)     │
//!    │        └ above: closed        └ header timeout       idle timeout, maximum age
//!    │
//!  signal ──> not ready ──> settle time ──> accept nothing ──> finish ──> ended
//!             (serves on)                   (GOAWAY, close)    └─ bound, second signal ──> cut
//! ```
//!
//! The layers of this crate start when a request's head has been read. What is before that can hold a
//! server as well: clients that send their heads byte by byte, thousands of idle connections, and a
//! restart that cuts off what is in flight. [`Server`] bounds these, for an axum `Router` or any tower
//! service of HTTP requests, on HTTP/1 and HTTP/2.
//!
//! # What it does
//!
//! - A connection above [a cap](Builder::max_connections) is closed at once. No request was read
//!   from it, so its client may send the request elsewhere.
//! - A connection that is slow with its TLS handshake or with a request's head is cut after the
//!   [header timeout](Builder::header_timeout); one without requests is closed after the [idle
//!   timeout](Builder::idle_timeout).
//! - A connection of the [maximum age](Builder::max_age) is closed gracefully.
//! - Each request has the address of its [`Peer`](crate::http::Peer), which
//!   [`ClientIp`](crate::http::ClientIp) reads.
//! - On SIGTERM it drains in this order. First [`Health`] says that it is not ready, while all goes on
//!   for the [settle time](Builder::settle): load balancers need it to notice. On HTTP/1 the responses
//!   then say `Connection: close`. After that it accepts nothing, and idle connections are closed.
//!   Requests in flight, to the end of their bodies, have the [drain's bound](Builder::drain) to
//!   finish. What is left then is cut off. Ctrl-C skips the settle time. A second signal cuts off at
//!   once.
//! - The result says how it went, and is an exit code: see [`Drained`].
//!
//! Slow bodies and slow handlers are not its concern but that of the layers: put a
//! [`ServerStack`](crate::ServerStack) around the app.
//!
//! # Example
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use seawall::{ServerStack, http::ClientIp, serve::{Drained, Server}};
//! use tokio::net::TcpListener;
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<Drained> {
//!     let server = Server::new();
//!     let stack = ServerStack::new("api", 200).rate_limit(ClientIp::peer().per_second(50));
//!     let app: Router = Router::new()
//!         .route("/", get(|| async { "hello" }))
//!         .layer(stack)
//!         .route_service("/readyz", server.health());
//!     server.serve(TcpListener::bind("0.0.0.0:8080").await?, app).await
//! }
//! ```
//!
//! # Customised
//!
//! Any tower service, and health on a port of its own:
//!
//! ```no_run
//! use std::convert::Infallible;
//! use std::time::Duration;
//! use http::{Request, Response};
//! use hyper::body::Incoming;
//! use seawall::serve::Server;
//! use tokio::net::TcpListener;
//! use tower::service_fn;
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .max_connections(2_000)
//!     .max_connections_per_address(100)
//!     .max_age(Duration::from_secs(600))
//!     .build()?;
//! let app = service_fn(|_: Request<Incoming>| async {
//!     Ok::<_, Infallible>(Response::new("hello".to_owned()))
//! });
//! let (app_port, health_port) = (TcpListener::bind("0.0.0.0:80").await?, TcpListener::bind("0.0.0.0:81").await?);
//! let (drained, _) = tokio::try_join!(
//!     server.serve(app_port, app),
//!     server.serve(health_port, server.health()),
//! )?;
//! println!("{drained:?}");
//! # Ok(()) }
//! ```
//!
//! # Defaults
//!
//! | knob | default | why |
//! |---|---|---|
//! | [`header_timeout`](Builder::header_timeout) | 10 s | long enough for a phone in a tunnel, short enough that a held socket is cheap |
//! | [`idle_timeout`](Builder::idle_timeout) | 75 s | longer than the 60 s of most load balancers: the side that closes last loses no request |
//! | [`max_connections`](Builder::max_connections) | 10,000 | a bound that few servers reach; it has to be below the limit of file descriptors |
//! | [`max_connections_per_address`](Builder::max_connections_per_address) | none | behind a proxy all connections have one address |
//! | [`max_age`](Builder::max_age) | none | only load balancing needs it |
//! | [`settle`](Builder::settle), [`drain`](Builder::drain) | 5 s, 20 s | together within the 30 s that Kubernetes gives |
//! | [`signals`](Builder::signals) | on | |
//!
//! An HTTP/2 client is pinged every 20 s. If it does not answer within 20 s, its connection is closed.
//!
//! # Sharing
//!
//! A [`Server`] is a handle. One that serves several listeners has one set of caps and one drain.
//!
//! # Cancel safety
//!
//! Dropping the future of [`serve`](Server::serve) closes the listener and all connections.
//!
//! # Errors
//!
//! Those of connections end these connections. An app that fails ends its HTTP/1 connection or resets
//! its HTTP/2 stream, so answer with a response instead: an app whose error is `Infallible` gets
//! [rejections](crate::rejection) as responses.
//!
//! # When not to use it
//!
//! Behind a proxy that already bounds connections and that drains for you, `axum::serve` is enough.
//! Then [`ClientIp`](crate::http::ClientIp) needs
//! `app.into_make_service_with_connect_info::<SocketAddr>()` and the feature `axum`. This server has no
//! Unix sockets and no HTTP/3.

mod accept;
mod activity;
mod builder;
mod caps;
mod config;
mod connection;
mod drained;
mod health;
mod io;
mod request;
mod server;
mod service;
mod signals;
#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use drained::Drained;
pub use health::Health;
pub use server::{Phase, Server, Snapshot};
