//! `/healthz` and `/readyz`.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::circuit_breaker::CircuitBreaker;
use crate::keyed::{Key, Keyed};
use crate::macros::debug_fields;
use crate::observe::registry::{self, Draining, breaker_reason};
use crate::sync::Arc;

type Check = Arc<dyn Fn(&mut Vec<String>) + Send + Sync>;

/// Whether a server is alive and ready, as a service to mount.
///
/// It answers a path that ends in `/healthz` or `/livez` with 200 for as long as the process answers
/// at all, and one that ends in `/readyz` with its state, as plain text with one reason a line:
///
/// | state | status | when |
/// |---|---|---|
/// | `ready` | 200 | |
/// | `degraded` | 200 | a circuit breaker of [`degraded_by`](Self::degraded_by) is not closed, a policy of [`degraded_by_registry`](Self::degraded_by_registry) has a reason, or another check has one |
/// | `not ready` | 503 | a check of [`unready_if`](Self::unready_if) has a reason |
/// | `draining` | 503 | the server is [draining](super::Server::drain) |
///
/// A degraded server stays ready: if a dependency of all replicas is down, no replica is better, and
/// without any there is no answer at all. Any other path is answered 404.
///
/// The reasons name dependencies. Where clients can reach the path, mount it on a listener of its
/// own: one [`Server`](super::Server) can serve several.
///
/// ```
/// use axum::{Router, routing::get};
/// use seawall::{CircuitBreaker, ServerStack, serve::Server};
///
/// let payments = CircuitBreaker::new("payments");
/// let server = Server::new();
/// let health = server.health().degraded_by(&payments);
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(ServerStack::new("api", 200)) // Not around the health checks.
///     .route_service("/healthz", health.clone())
///     .route_service("/readyz", health.clone());
///
/// payments.force_open();
/// let answer = health.answer("/readyz").unwrap();
/// assert_eq!((answer.status().as_u16(), &**answer.body()), (200, "degraded\npayments: forced open\n"));
/// # let _ = app;
/// ```
///
/// Clones share the state of draining. Checks that are added to a clone are its own.
#[derive(Clone)]
pub struct Health {
    draining: Arc<Draining>,
    degraded_if: Vec<Check>,
    unready_if: Vec<Check>,
}

impl Health {
    /// Health of a server that is not a [`Server`](super::Server), such as `axum::serve`. Call
    /// [`drain`](Self::drain) when it stops.
    pub fn new() -> Self {
        Self {
            draining: Draining::new(),
            degraded_if: Vec::new(),
            unready_if: Vec::new(),
        }
    }

    /// Degraded while [`registry::health`] has a reason: by any policy of the process.
    #[must_use]
    pub fn degraded_by_registry(self) -> Self {
        self.degraded(|reasons| {
            let health = registry::health();
            reasons.extend(health.reasons.iter().map(ToString::to_string));
        })
    }

    /// Degraded while this circuit breaker is not closed.
    #[must_use]
    pub fn degraded_by(self, breaker: &CircuitBreaker) -> Self {
        let breaker = breaker.clone();
        self.degraded(move |reasons| reasons.extend(reason(&breaker)))
    }

    /// Degraded while any of these circuit breakers is not closed. Reads all of them.
    #[must_use]
    pub fn degraded_by_any<K>(self, breakers: &Keyed<K, CircuitBreaker>) -> Self
    where
        K: ?Sized + Key,
        K::Owned: Clone,
    {
        let breakers = breakers.clone();
        self.degraded(move |reasons| {
            let all = breakers.entries();
            let mut not_closed: Vec<_> = all.iter().filter_map(|(_, b)| reason(b)).collect();
            not_closed.sort();
            reasons.extend(not_closed);
        })
    }

    /// Degraded while `check` returns a reason. It runs for each request, so it must not block.
    #[must_use]
    pub fn degraded_if(self, check: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.degraded(move |reasons| reasons.extend(check()))
    }

    /// Not ready while `check` returns a reason, such as a cache that is not filled yet. It runs for
    /// each request, so it must not block.
    #[must_use]
    pub fn unready_if(
        mut self,
        check: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let check = move |reasons: &mut Vec<String>| reasons.extend(check());
        self.unready_if.push(Arc::new(check));
        self
    }

    fn degraded(mut self, check: impl Fn(&mut Vec<String>) + Send + Sync + 'static) -> Self {
        self.degraded_if.push(Arc::new(check));
        self
    }

    /// From now on it is not ready.
    pub fn drain(&self) {
        self.draining.set();
    }

    /// Whether it is draining.
    pub fn is_draining(&self) -> bool {
        self.draining.is_set()
    }

    /// The answer to a request for this path. None if the path is neither for health nor for
    /// readiness: for a service without a router.
    pub fn answer(&self, path: &str) -> Option<Response<String>> {
        let (status, text) = match path.rsplit('/').next() {
            Some("healthz" | "livez") => (StatusCode::OK, "ok\n".to_owned()),
            Some("readyz") => self.readiness(),
            _ => return None,
        };
        let mut response = Response::new(text);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, text);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }

    fn readiness(&self) -> (StatusCode, String) {
        let reasons = |checks: &[Check]| {
            let mut reasons = Vec::new();
            checks.iter().for_each(|check| check(&mut reasons));
            reasons
        };
        let mut unready = reasons(&self.unready_if);
        let degraded = reasons(&self.degraded_if);
        let (status, state) = if self.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if !unready.is_empty() {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        } else if !degraded.is_empty() {
            (StatusCode::OK, "degraded")
        } else {
            (StatusCode::OK, "ready")
        };
        unready.extend(degraded);
        let lines = std::iter::once(state).chain(unready.iter().map(String::as_str));
        (status, lines.flat_map(|line| [line, "\n"]).collect())
    }
}

fn reason(breaker: &CircuitBreaker) -> Option<String> {
    breaker_reason(breaker).map(|reason| reason.to_string())
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Service<Request<B>> for Health {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.answer(request.uri().path()).unwrap_or_else(|| {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        });
        ready(Ok(answer))
    }
}

debug_fields!(Health, this: draining = this.is_draining());
