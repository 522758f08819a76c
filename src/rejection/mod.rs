//! Rejections, and how they enter the outcome of a service.
//!
//! A layer never changes the types of the service under it. A [`Rejection`] becomes a value of the
//! service's own error or response type:
//!
//! - If the error type is a [`Carrier`], the rejection is an error. `Box<dyn Error>`,
//!   [`std::io::Error`] and [`Error<E>`](crate::Error) are carriers, and your own enum becomes one
//!   with one line of [`carrier!`](crate::carrier).
//! - If the service never fails (`Infallible`) and answers with an `http::Response`, the rejection
//!   is a response: 429, 503 or 504, or trailers-only for gRPC (feature `http`).
//! - Anything else is made by `.respond(closure)` on a layer; see below.
//!
//! [`Reason::of`] finds the rejection again in an error, and [`Reason::find`] in its whole source
//! chain.
//!
//! # Custom answers
//!
//! `.respond(closure)` takes a closure `|rejection: Rejection| -> Result<Response, Error>`. It is
//! cloned for each call, so it may hold an `Arc`. With the feature `http`, `http::Rejections` has
//! ready-made bodies, `.respond_to(closure)` sees the head of the request, and a closure can keep the status
//! and `Retry-After` and make only the body:
//!
#![cfg_attr(all(feature = "http", feature = "tower"), doc = "```")]
#![cfg_attr(not(all(feature = "http", feature = "tower")), doc = "```ignore")]
//! use axum::{Router, body::Body, routing::get};
//! use seawall::{RateLimitLayer, RateLimiter, Rejection};
//!
//! let limit = RateLimitLayer::new(RateLimiter::per_second(10)).respond(|rejection: Rejection| {
//!     let json = format!("{{\"error\":\"{}\"}}", rejection.kind().public_text());
//!     Ok(rejection.into_http_response::<()>().map(|()| Body::from(json)))
//! });
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(limit);
//! ```
//!
//! Circuit breaker, retry and hedge classify outcomes, so they must distinguish rejections from
//! failures. Under these layers the error must be a carrier or `Infallible`, even with a
//! `.respond(..)`: a bare `reqwest::Error` or `hyper::Error` needs
//! `.map_err(seawall::Error::service)` at the bottom of the stack.
//!
//! # When the compiler says that `oneshot` or `ready` exists, but its bounds were not satisfied
//!
//! A layer does not fit the service under it. Wrap the stack in [`check`](crate::service::check),
//! or call `ServiceExt::oneshot(service, request)` as a function, and the compiler names the
//! missing bound. The usual reasons:
//!
//! | stack | needs |
//! |---|---|
//! | over an error type of another crate | `.map_err(seawall::Error::service)` at the bottom |
//! | over your own enum | [`carrier!`](crate::carrier) |
//! | with a breaker, retry or hedge, over your own response type | [`judge!`](crate::judge), or `.classify(ErrorsOnly)` |
//! | with retry or hedge, over your own request type | [`resend!`](crate::resend) |
//! | with a layer that waits, retry or hedge | a service that is `Clone` |
//! | with a closure for `.respond`, `.cost`, `.classify` or `.only` | the type of the argument, with the body left open: `\|request: &Request<_>\|` |

mod carrier;
mod error;
mod fault;
mod for_enums;
mod reason;

pub use carrier::Carrier;
#[cfg(feature = "tower")]
pub(crate) use carrier::Recognize;
#[doc(hidden)]
pub use carrier::look;
pub use error::Error;
pub use fault::{ByBox, ByError, ByReport, Fault, Nested, Opaque};
pub use reason::{Reason, Rejection, RejectionKind};
pub(crate) use reason::{chain, with_causes};
