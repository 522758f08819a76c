//! What the library says in HTTP, and what it reads there.
//!
//! A refusal becomes a response with an empty body: 429 for a limit, 503 for a circuit breaker,
//! 504 for a timeout or a deadline that had passed, each with `Retry-After` where it is known.
//! A gRPC request (by its `content-type`) is answered trailers-only with the matching status and
//! `grpc-retry-pushback-ms`. The response carries the [`Reason`](crate::Reason) as an extension, by which layers
//! above know it again.
//!
//! A failed response is read for the delay that it asks for: [`retry_after`], and
//! `grpc-retry-pushback-ms` of a gRPC response. A hint that cannot be read means "do not retry".

#[cfg(feature = "tower")]
mod format;
mod judge;
mod request;
mod respond;
mod retry_after;

#[cfg(feature = "tower")]
pub use format::{AsResponse, Grpc};
pub use retry_after::retry_after;
