//! HTTP: rejections as responses, and the classification of responses.
//!
//! A rejection becomes a response: 429 for a rate limit and 503 for a circuit breaker or a bulkhead,
//! both with `Retry-After`, 504 for a timeout or a deadline that has passed. Its body is empty unless
//! `Rejections` or a responder of yours makes one. A gRPC request, a POST recognized by its `content-type`, is answered
//! trailers-only with the matching status and `grpc-retry-pushback-ms`. The response has the
//! [`Reason`](crate::Reason) as an extension, by which the layers above recognize it.
//!
//! A call ends with the head of its response, or with the body: see the
#![cfg_attr(feature = "tower", doc = "[guide to bodies](crate::guide::bodies).")]
#![cfg_attr(not(feature = "tower"), doc = "guide to bodies.")]
//!
//! # Between processes
//!
//! `CallHeaders` carry the deadline of a call and the number of its attempt to the next process.
//! `RateLimitFields` show clients what is left of their limit.
//!
//! # Keys
//!
//! `ClientIp` is the client's address as a key, also behind proxies. `Keyed::by_header` and
//! `Keyed::by_bearer` take a header's value or a bearer token. They work with any body type.
//!
//! # Delays
//!
//! A failed response may request a delay: see [`retry_after`], and for gRPC
//! `grpc-retry-pushback-ms`. A header that is present and cannot be parsed means "do not retry".

#[cfg(feature = "tower")]
mod body;
#[cfg(feature = "tower")]
mod call_headers;
#[cfg(feature = "tower")]
mod client_ip;
#[cfg(feature = "tower")]
mod copy;
#[cfg(feature = "tokio")]
mod drain;
#[cfg(feature = "tower")]
mod format;
#[cfg(feature = "tower")]
mod forwarded;
#[cfg(feature = "tower")]
mod hold;
#[cfg(feature = "axum")]
mod into_response;
mod judge;
#[cfg(feature = "tower")]
mod keys;
#[cfg(feature = "tower")]
mod rate_limit_fields;
#[cfg(feature = "tower")]
mod rejections;
#[cfg(feature = "tower")]
mod replay;
mod request;
#[cfg(feature = "tower")]
mod request_body;
mod respond;
#[cfg(feature = "tower")]
mod respond_to;
mod retry_after;
#[cfg(feature = "tower")]
mod stack;
#[cfg(all(test, feature = "tower", feature = "tracing"))]
mod tests;
mod trailers;

#[cfg(all(feature = "tonic", feature = "tower"))]
pub(crate) use body::with_more;
#[cfg(feature = "tower")]
pub use body::{
    Body, BodyError, BodyFuture, BodyLayer, BodyService, ChunksBy, EveryChunk, HeldFormat,
    Progress, UntilBodyEnd,
};
#[cfg(feature = "tower")]
pub use call_headers::{
    CallHeaders, SendCallHeaders, SendService, TrustCallHeaders, TrustFuture, TrustService,
};
#[cfg(feature = "serve")]
pub(crate) use client_ip::network;
#[cfg(feature = "tower")]
pub use client_ip::{ClientIp, Peer};
#[cfg(all(feature = "tonic", feature = "tower"))]
pub(crate) use copy::with_body;
#[cfg(feature = "tower")]
pub use copy::{copy_empty, copy_small};
#[cfg(feature = "tokio")]
pub use drain::drain;
#[cfg(feature = "tower")]
pub(crate) use format::speaks_grpc;
#[cfg(feature = "tower")]
pub use format::{AsResponse, Grpc};
#[cfg(feature = "tower")]
pub use hold::Held;
#[cfg(feature = "tower")]
pub use ipnet::IpNet;
#[cfg(all(feature = "tonic", feature = "tower"))]
pub(crate) use judge::of_grpc_head;
#[cfg(feature = "tower")]
pub use keys::{Bearer, ByHeader};
#[cfg(feature = "tower")]
pub use rate_limit_fields::{
    RateLimitFields, RateLimitFieldsFuture, RateLimitFieldsService, WithRateLimitFields,
};
#[cfg(feature = "tower")]
pub use rejections::{Rejections, WithBody};
#[cfg(all(feature = "reqwest", feature = "tower"))]
pub(crate) use replay::Attempted;
#[cfg(feature = "tower")]
pub use replay::{ReplayBody, ReplayLayer, ReplayService};
#[cfg(feature = "tower")]
pub use request::RequestHeaders;
#[cfg(feature = "tower")]
pub use request_body::{RequestBody, RequestBodyFuture, RequestBodyLayer, RequestBodyService};
#[cfg(feature = "tower")]
pub use respond_to::{RespondTo, ToHead};
pub use retry_after::retry_after;
#[cfg(feature = "tower")]
pub use stack::{ClientBodies, HttpClientStack, HttpServerStack, ServerBodies};
