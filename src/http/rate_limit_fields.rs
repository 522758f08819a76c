//! The fields by which a server says how much of a rate limit is left.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::respond::whole_seconds as seconds;
use super::{CallHeaders, TrustCallHeaders};
use crate::context::Remainder;
use crate::rate_limit::RateLimitLayer;
use crate::stack::ServerStack;
use crate::sync::Arc;

/// The `RateLimit-Policy` and `RateLimit` fields of the IETF draft
/// (`draft-ietf-httpapi-ratelimit-headers`, version 11), on every response, admitted or rejected, whose call
/// the limiter has decided:
///
/// ```text
/// RateLimit-Policy: "default";q=100;w=60
/// RateLimit: "default";r=73;t=1
/// ```
///
/// ```
/// use seawall::http::RateLimitFields;
/// use seawall::{RateLimitLayer, RateLimiter};
///
/// let layer = RateLimitLayer::new(RateLimiter::per_minute(100))
///     .rate_limit_fields(RateLimitFields::new());
/// # let _ = layer;
/// ```
///
/// | parameter | value |
/// |---|---|
/// | `q` | the [burst](crate::Quota::burst): the most that is admitted at once |
/// | `w` | the seconds in which the burst fills up, at least 1 |
/// | `r` | the tokens left after the decision on this call |
/// | `t` | the seconds until there are more than `r`, rounded up; for a rejected call that costs one token the same as `Retry-After` |
///
/// They come from the decision on the call. A limiter that is off, records only or is unlimited has none.
/// Of several limits [as one](crate::RateLimiter::all_of), that with the fewest tokens left is shown, and
/// of a limit per key the tokens of the request's key. A limiter with stripes adds what the stripes
/// hold, which other threads may have taken by then. Fields of these names that the response already
/// has, such as those of a service behind a proxy, are replaced.
///
/// A limit for all callers together shows each of them how much the others use.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a layer or a stack has it"]
pub struct RateLimitFields {
    name: String,
    x_rate_limit: bool,
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Default for RateLimitFields {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimitFields {
    /// The two fields of the draft, with a policy named `default`.
    pub fn new() -> Self {
        Self {
            name: "default".to_owned(),
            x_rate_limit: false,
        }
    }

    /// Sets the name that clients see. It is not the name of the limiter, which stays inside. Characters
    /// other than printable ASCII, and quotation marks and backslashes, are left out.
    pub fn name(mut self, name: &str) -> Self {
        let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        self.name = name.chars().filter(allowed).collect();
        self
    }

    /// Also sends the older fields `X-RateLimit-Limit`, `X-RateLimit-Remaining`, and
    /// `X-RateLimit-Reset`, which is the seconds until the burst is whole again.
    pub fn x_rate_limit(mut self) -> Self {
        self.x_rate_limit = true;
        self
    }

    fn write(&self, remainder: &Remainder, headers: &mut HeaderMap) {
        let Remainder { burst, left, .. } = remainder;
        let window = parameter("w", remainder.window.map(|window| seconds(window).max(1)));
        let next = parameter("t", remainder.next.map(seconds));
        let name = &self.name;
        let mut set = |field, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(field, value);
            }
        };
        set(POLICY, format!("\"{name}\";q={burst}{window}"));
        set(LIMIT, format!("\"{name}\";r={left}{next}"));
        if self.x_rate_limit {
            set(X_LIMIT, burst.to_string());
            set(X_REMAINING, left.to_string());
            if let Some(full) = remainder.full {
                set(X_RESET, seconds(full).to_string());
            }
        }
    }
}

fn parameter(name: &str, value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| format!(";{name}={value}"))
}

/// A layer or stack `L` with [`RateLimitFields`] on its responses; made by `.rate_limit_fields(..)` on
/// it. It dereferences to `L`.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put on a service"]
pub struct WithRateLimitFields<L> {
    layer: L,
    fields: RateLimitFields,
}

macro_rules! rate_limit_fields {
    ($([$($generic:ident),*] $of:ty;)*) => {$(
        impl<$($generic),*> $of {
            /// Says on every response how much of the limit is left: see
            /// [`RateLimitFields`](crate::http::RateLimitFields). It comes after the other options.
            pub fn rate_limit_fields(
                self,
                fields: RateLimitFields,
            ) -> WithRateLimitFields<Self> {
                let layer = self;
                WithRateLimitFields { layer, fields }
            }
        }
    )*};
}

rate_limit_fields! {
    [R, K, W, P] RateLimitLayer<R, K, W, P>;
    [R, L, B] ServerStack<R, L, B>;
    [L] TrustCallHeaders<L>;
}

impl<L> WithRateLimitFields<L> {
    /// Takes over the deadline and the attempt of callers that send them: see [`TrustCallHeaders`].
    pub fn trust_call_headers(self, headers: CallHeaders) -> TrustCallHeaders<Self> {
        TrustCallHeaders::around(self, headers)
    }
}

impl<L> Deref for WithRateLimitFields<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.layer
    }
}

impl<S, L: Layer<S>> Layer<S> for WithRateLimitFields<L> {
    type Service = RateLimitFieldsService<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitFieldsService {
            inner: self.layer.layer(inner),
            fields: Arc::new(self.fields.clone()),
        }
    }
}

/// A service whose responses have [`RateLimitFields`]; made by [`WithRateLimitFields`].
#[derive(Clone, Debug)]
pub struct RateLimitFieldsService<S> {
    inner: S,
    fields: Arc<RateLimitFields>,
}

impl<S, Req, B> Service<Req> for RateLimitFieldsService<S>
where
    S: Service<Req, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = RateLimitFieldsFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (future, remainder) = Remainder::requested(|| self.inner.call(request));
        RateLimitFieldsFuture {
            future,
            remainder,
            fields: Arc::clone(&self.fields),
        }
    }
}

pin_project! {
    /// The response future of [`RateLimitFieldsService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RateLimitFieldsFuture<F> {
        #[pin]
        future: F,
        // None before the decision, and without one.
        remainder: Option<Remainder>,
        fields: Arc<RateLimitFields>,
    }
}

impl<F, B, E> Future for RateLimitFieldsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let (polled, noted) = Remainder::noted(|| this.future.poll(cx));
        *this.remainder = this.remainder.or(noted);
        let mut response = ready!(polled)?;
        if let Some(remainder) = this.remainder {
            this.fields.write(remainder, response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}
