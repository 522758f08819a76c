//! The client's side: the stack around a channel of tonic.

mod attempt;
mod body;
mod frames;
mod judge;
mod request;
mod response;
mod service;
mod stack;

pub use attempt::{AttemptFuture, AttemptService};
pub use body::GrpcBody;
pub use request::GrpcRequestBody;
pub use response::GrpcResponseBody;
pub use service::{GrpcClientFuture, GrpcClientService};
pub use stack::{Channel, ClientMethods, GrpcClientStack};
