//! The reverse proxy: bare, and behind the policies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{self, ConnectInfo, Request};
use axum::http::header::{CONNECTION, HOST, HeaderValue, RETRY_AFTER};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use seawall::circuit_breaker::{
    Cause, CircuitBreaker, CircuitBreakerLayer, State, Transition, Trip, Window,
};
use seawall::event::What;
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, ConfigError, Hedge, HedgeLayer, Jitter, Mode, Quota,
    RateLimitLayer, RateLimiter, Retry, RetryLayer, TimeoutLayer,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::counts::{Counted, CountedBody, Counts};
use crate::headers;
use crate::target::Target;

/// The numbers of the policies.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    /// Of one request at most, the first counted.
    pub(crate) attempts: u32,
    /// Attempts beyond the first, in percent of the requests.
    pub(crate) budget: u32,
    /// The share of attempts after whose time another begins; none where nothing is hedged.
    pub(crate) hedge: Option<f64>,
    /// How many latencies that share is taken of at least.
    pub(crate) hedge_samples: u32,
    pub(crate) capacity: u32,
    pub(crate) queue: u32,
    pub(crate) queue_wait: Duration,
    pub(crate) failures: u32,
    pub(crate) failing_for: Duration,
    pub(crate) failure_rate: f64,
    pub(crate) min_calls: u32,
    pub(crate) open_for: Duration,
    pub(crate) open_at_most: Duration,
    pub(crate) probes: u32,
}

/// A proxy in front of one target.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) router: Router,
    pub(crate) health: Health,
}

/// What can be read of a gateway that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) counts: Arc<Counts>,
    /// None of a proxy that protects nobody.
    pub(crate) policies: Option<Policies>,
    draining: Arc<AtomicBool>,
}

/// What attempts go through.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    pub(crate) budget: Budget,
    pub(crate) retry: Retry,
    pub(crate) hedge: Hedge,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) bulkhead: Bulkhead,
}

impl Health {
    /// From now on nothing new is let in.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

impl Gateway {
    /// A proxy that protects nobody.
    pub(crate) fn plain(target: &Target) -> Self {
        let client = client(target.http2, None);
        let health = Health::default();
        let proxy = ServiceBuilder::new()
            .layer(from_fn_with_state((target.clone(), health.clone()), admit))
            .service(service_fn(move |request| forward(client.clone(), request)));
        let router = Router::new().fallback_service(proxy);
        Self { router, health }
    }

    /// A proxy that protects its callers from the upstream, and the upstream from its callers.
    pub(crate) fn protected(
        target: &Target,
        limits: &Limits,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let quota = Quota::per_second(limits.rate).burst(limits.burst);
        let limiter = RateLimiter::builder(quota).name("gateway").build()?;
        let policies = Policies::new(limits, log)?;
        let client = client(target.http2, Some(limits.attempt_timeout));

        let once = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::new(&policies.breaker))
            .layer(BulkheadLayer::queued(&policies.bulkhead))
            .layer(TimeoutLayer::new(limits.attempt_timeout))
            .service(service_fn(move |request| forward(client.clone(), request)));
        let again = ServiceBuilder::new()
            .layer(RetryLayer::new(&policies.retry))
            .layer(HedgeLayer::new(&policies.hedge))
            .map_request(|request: Request<Empty<Bytes>>| request.map(Body::new))
            .service(once.clone());
        // A body is a stream, which can be sent only once; a request without one can be copied,
        // and its type says so.
        let send = service_fn(move |request: Request| {
            let (once, again) = (once.clone(), again.clone());
            async move {
                match request.body().is_end_stream() {
                    true => again.oneshot(request.map(|_| Empty::new())).await,
                    false => once.oneshot(request).await,
                }
            }
        });

        let health = Health {
            policies: Some(policies),
            ..Health::default()
        };
        let proxy = ServiceBuilder::new()
            .layer(from_fn_with_state((target.clone(), health.clone()), admit))
            .layer(RateLimitLayer::new(&limiter))
            .layer(TimeoutLayer::new(limits.timeout))
            .service(send);
        let router = Router::new()
            .route("/healthz", get("ok\n"))
            .route("/readyz", get(readyz).with_state(health.clone()))
            .fallback_service(proxy);
        Ok(Self { router, health })
    }
}

impl Policies {
    fn new(
        limits: &Limits,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let budget = Budget::builder()
            .name("upstream")
            .ratio(f64::from(limits.budget) / 100.0)
            .build()?;
        let retry = Retry::builder()
            .name("upstream")
            .max_attempts(limits.attempts)
            .budget(&budget)
            .build()?;
        let hedge = Hedge::builder().name("upstream").budget(&budget);
        let hedge = match limits.hedge {
            Some(quantile) => hedge.quantile(quantile).min_samples(limits.hedge_samples),
            None => hedge.mode(Mode::Off),
        };
        let bulkhead = Bulkhead::builder(limits.capacity)
            .name("upstream")
            .queue(limits.queue)
            .max_wait(limits.queue_wait);
        Ok(Self {
            budget,
            retry,
            hedge: hedge.build()?,
            breaker: breaker(limits, log)?,
            bulkhead: bulkhead.build()?,
        })
    }
}

fn breaker(
    limits: &Limits,
    log: impl Fn(&str) + Send + Sync + 'static,
) -> Result<CircuitBreaker, ConfigError> {
    let run = Trip::consecutive_failures(limits.failures)
        .lasting(limits.failing_for)
        .within(limits.failing_for.max(Duration::from_secs(60)));
    let rate = Trip::failure_rate(limits.failure_rate)
        .over(Window::time(Duration::from_secs(10)))
        .min_calls(limits.min_calls);
    CircuitBreaker::builder("upstream")
        .trip_on(run)
        .trip_on(rate)
        .open_for(
            Backoff::exponential(limits.open_for)
                .max(limits.open_at_most)
                .jitter(Jitter::Equal),
        )
        .probes(limits.probes)
        .on_event(move |event| {
            if let What::Transition(transition) = event.what {
                log(&told(event.policy, transition));
            }
        })
        .build()
}

fn told(breaker: &str, transition: &Transition) -> String {
    let why = match &transition.cause {
        Cause::Tripped(tripped) => format!("{}, the last a {:?}", tripped.rule, tripped.kind),
        Cause::ProbesFailed(kind) => format!("a probe failed, a {kind:?}"),
        Cause::ProbesSucceeded => "the probes succeeded".into(),
        Cause::WaitOver => "its wait is over".into(),
        other => format!("{other:?}"),
    };
    let (from, to) = (name(transition.from), name(transition.to));
    match transition.open_for {
        Some(wait) => format!("breaker {breaker}: {from} -> {to} for {wait:.0?}: {why}"),
        None => format!("breaker {breaker}: {from} -> {to}: {why}"),
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::HalfOpen => "half-open",
        State::Recovering => "recovering",
        _ => "open",
    }
}

/// An open breaker does not make the gateway unready: every replica has the same upstream, and
/// one that answers 503 fast serves better than none.
async fn readyz(extract::State(health): extract::State<Health>) -> Response {
    if health.draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    let breaker = health.policies.as_ref().map(|policies| &policies.breaker);
    match breaker.map(|breaker| (breaker.name(), breaker.state())) {
        Some((breaker, state)) if state != State::Closed => {
            format!("degraded: breaker {breaker} is {}\n", name(state)).into_response()
        }
        _ => "ready\n".into_response(),
    }
}

/// The client that calls the upstream.
pub(crate) type Upstream = Client<HttpConnector, Body>;

pub(crate) fn client(http2: bool, connect_timeout: Option<Duration>) -> Upstream {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(connect_timeout);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .http2_only(http2)
        .build(connector)
}

/// Lets in what can be passed on, as it is to be passed on. What never reaches the upstream must
/// not count with its breaker, so this stands before the policies.
async fn admit(
    extract::State((target, health)): extract::State<(Target, Health)>,
    mut request: Request,
    next: Next,
) -> Response {
    if health.draining() {
        let head = [(CONNECTION, "close"), (RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, head, "draining\n").into_response();
    }
    if let Err(refusal) = prepare(&target, &mut request) {
        return refusal.into_response();
    }
    let counted = Counted::request(&health.counts);
    let response = next.run(request).await;
    response.map(|body| Body::new(CountedBody::new(body, counted)))
}

fn prepare(target: &Target, request: &mut Request) -> Result<(), (StatusCode, String)> {
    let refuse = |what: String| Err((StatusCode::NOT_IMPLEMENTED, what));
    if request.method() == Method::CONNECT {
        return refuse("CONNECT is not supported by this gateway\n".into());
    }
    if let Some(protocol) = headers::upgrade(request.headers()) {
        return refuse(format!(
            "an upgrade to {protocol:?} is not supported by this gateway\n"
        ));
    }
    if request.uri().path() == "*" {
        return refuse("a request for * is not supported by this gateway\n".into());
    }
    let Ok(uri) = target.uri(request.uri()) else {
        return Err((StatusCode::BAD_REQUEST, "the path makes no URL\n".into()));
    };
    let asked = request.uri().authority().map(Authority::as_str);
    let asked = match asked {
        Some(asked) => HeaderValue::try_from(asked).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0);
    let crumbled = request.version() == Version::HTTP_2;
    let headers = request.headers_mut();
    let wants_trailers = headers::wants_trailers(headers);
    headers::strip(headers);
    if wants_trailers {
        headers::want_trailers(headers, target.http2);
    }
    if crumbled && !target.http2 {
        headers::join_cookies(headers);
    }
    headers::forwarded(headers, peer, asked);
    headers.insert(HOST, target.host.clone());
    *request.uri_mut() = uri;
    // The client speaks what the upstream speaks, whatever the caller spoke.
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// The upstream's answer, or a 502 in its place. It stands under the breaker, which takes both
/// for what they are.
async fn forward(client: Upstream, request: Request) -> Result<Response, Infallible> {
    let mut response = match client.request(request).await {
        Ok(response) => response,
        Err(error) => {
            let what = if error.is_connect() {
                "the upstream cannot be reached\n"
            } else {
                "the upstream broke off\n"
            };
            return Ok((StatusCode::BAD_GATEWAY, what).into_response());
        }
    };
    headers::strip(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(Body::new))
}
