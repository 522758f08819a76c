//! The server's side: `grpc-timeout` as the deadline of the whole stream, rejections as statuses.

mod body;
mod deadline;
mod service;
mod stack;

pub use body::GrpcServerBody;
pub use deadline::ByGrpcTimeout;
pub use service::{GrpcServerFuture, GrpcServerService};
pub use stack::{GrpcServerStack, ServerMethods};
