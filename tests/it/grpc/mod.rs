//! gRPC with tonic's client and server over real sockets. Times are short, and real.

mod client;
mod deadlines;
mod server;
mod support;
