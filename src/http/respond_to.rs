//! Responders that see the head of the request.

use std::fmt;

use http::request::Parts;
use http::{Request, Response};

use super::copy::with_body;
use super::format::reason_of;
use crate::bulkhead::BulkheadLayer;
use crate::circuit_breaker::CircuitBreakerLayer;
use crate::rate_limit::RateLimitLayer;
use crate::rejection::{Reason, Rejection};
use crate::service::{Format, Respond};
use crate::stack::{ClientStack, ServerStack};
use crate::sync::Arc;
use crate::timeout::TimeoutLayer;

/// Answers rejections with a closure that sees the head of the request; made by `.respond_to(closure)`
/// on a layer or a stack.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use http::request::Parts;
/// use seawall::{RateLimitLayer, RateLimiter, Rejection};
///
/// let limit = RateLimitLayer::new(RateLimiter::per_second(10));
/// let limit = limit.respond_to(|head: &Parts, rejection: Rejection| {
///     let text = format!("{}: {}", head.uri.path(), rejection.kind().public_text());
///     Ok(rejection.into_http_response::<()>().map(|()| Body::from(text)))
/// });
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(limit);
/// # let _ = app;
/// ```
///
/// The head is copied, with its headers and extensions: for every call of a layer that may reject it
/// after it was made or has waited (a timeout, a queue), and otherwise only for a rejected one. The
/// other responders copy nothing.
#[derive(Clone, Copy)]
pub struct RespondTo<F>(F);

/// The [`Format`] of [`RespondTo`]: the closure, and the head of one request.
#[derive(Clone)]
pub struct ToHead<F> {
    respond: F,
    head: Arc<Parts>,
}

impl<A, B, Err, F> Respond<Request<A>, Response<B>, Err> for RespondTo<F>
where
    F: Clone,
    ToHead<F>: Format<Response<B>, Err>,
{
    type Format = ToHead<F>;

    fn format(&self, request: &Request<A>) -> ToHead<F> {
        let (head, ()) = with_body(request, ()).into_parts();
        ToHead {
            respond: self.0.clone(),
            head: Arc::new(head),
        }
    }
}

impl<B, Err, F> Format<Response<B>, Err> for ToHead<F>
where
    F: Fn(&Parts, Rejection) -> Result<Response<B>, Err> + Clone + Send + Sync + Unpin + 'static,
{
    fn reject(self, rejection: Rejection) -> Result<Response<B>, Err> {
        let reason = rejection.reason().clone();
        let mut response = (self.respond)(&self.head, rejection)?;
        response.extensions_mut().insert(reason);
        Ok(response)
    }

    fn reason<'o>(&self, outcome: Result<&'o Response<B>, &'o Err>) -> Option<&'o Reason> {
        reason_of(outcome)
    }
}

macro_rules! debug {
    ($($name:ident),*) => {$(
        impl<F> fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

debug!(RespondTo, ToHead);

macro_rules! respond_to {
    ($([$($generic:ident),*] $from:ty => $to:ty;)*) => {$(
        impl<$($generic),*> $from {
            /// Answers a rejected call with what `respond` makes of the head of its request and the
            /// rejection: see [`RespondTo`](crate::http::RespondTo).
            pub fn respond_to<F>(self, respond: F) -> $to {
                self.respond_as(RespondTo(respond))
            }
        }
    )*};
}

respond_to! {
    [R, D] TimeoutLayer<R, D> => TimeoutLayer<RespondTo<F>, D>;
    [R, K, W, P] RateLimitLayer<R, K, W, P> => RateLimitLayer<RespondTo<F>, K, W, P>;
    [R, W, P] BulkheadLayer<R, W, P> => BulkheadLayer<RespondTo<F>, W, P>;
    [R, C, G, P] CircuitBreakerLayer<R, C, G, P> => CircuitBreakerLayer<RespondTo<F>, C, G, P>;
    [R, L, B] ServerStack<R, L, B> => ServerStack<RespondTo<F>, L, B>;
    [R, C, L, O, K, B] ClientStack<R, C, L, O, K, B> => ClientStack<RespondTo<F>, C, L, O, K, B>;
}
