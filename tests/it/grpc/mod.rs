//! gRPC with tonic's client and server over real sockets. Times are short, and real.

mod client;
mod deadlines;
#[cfg(all(feature = "reqwest", feature = "serve"))]
mod newcomer;
mod server;
mod support;
