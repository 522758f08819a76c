//! The reverse proxy: bare, and behind the policies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{self, ConnectInfo, Request};
use axum::http::header::{CONNECTION, HOST, HeaderValue, RETRY_AFTER};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use seawall::circuit_breaker::State;
use seawall::{Bulkhead, ConfigError};
use tower::{ServiceBuilder, service_fn};

use crate::counts::{Counted, CountedBody, Counts};
use crate::headers;
use crate::policies::{self, Client, Limits};
use crate::target::Target;
use crate::upstreams::Upstreams;

/// A proxy in front of its upstreams.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) router: Router,
    pub(crate) health: Health,
}

/// The state of a running gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) counts: Arc<Counts>,
    /// None without protection.
    pub(crate) policies: Option<Policies>,
    draining: Arc<AtomicBool>,
}

/// The policies of requests and of their attempts.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    /// For all requests together.
    #[allow(dead_code, reason = "the tests check that all permits are returned")]
    pub(crate) bulkhead: Bulkhead,
    pub(crate) client: Client,
    pub(crate) upstreams: Upstreams,
}

impl Health {
    /// Rejects new requests from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

impl Gateway {
    /// A proxy without protection.
    pub(crate) fn plain(targets: &[Target]) -> Self {
        let client = client(is_http2(targets), None);
        let health = Health::default();
        let upstreams = Upstreams::plain(targets);
        let proxy = ServiceBuilder::new()
            .layer(from_fn_with_state((upstreams, health.clone()), admit))
            .service(service_fn(move |request| forward(client.clone(), request)));
        let router = Router::new().fallback_service(proxy);
        Self { router, health }
    }

    /// A proxy that protects callers and upstreams from each other.
    pub(crate) fn protected(
        targets: &[Target],
        limits: &Limits,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let server = policies::server(limits)?;
        let stack = policies::upstream(limits, log)?;
        let client = client(is_http2(targets), Some(limits.attempt_timeout));
        let upstreams = Upstreams::protected(targets, &stack);
        let health = Health {
            policies: Some(Policies {
                bulkhead: server.bulkhead().clone(),
                client: stack.clone(),
                upstreams: upstreams.clone(),
            }),
            ..Health::default()
        };
        let proxy = ServiceBuilder::new()
            .layer(from_fn_with_state((upstreams, health.clone()), admit))
            .layer(server)
            .layer(stack)
            .service(service_fn(move |request| forward(client.clone(), request)));
        let router = Router::new()
            .route("/healthz", get("ok\n"))
            .route("/readyz", get(readyz).with_state(health.clone()))
            .fallback_service(proxy);
        Ok(Self { router, health })
    }
}

fn is_http2(targets: &[Target]) -> bool {
    targets.iter().any(|target| target.http2)
}

/// An open breaker does not make the gateway unready: all replicas have the same upstreams, and a fast
/// 503 is better than no replica.
async fn readyz(extract::State(health): extract::State<Health>) -> Response {
    if health.draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    let upstreams = health.policies.iter();
    let upstreams = upstreams.flat_map(|policies| policies.upstreams.all());
    let breakers = upstreams.filter_map(|one| Some(&one.policies.as_ref()?.0));
    let degraded: String = breakers
        .map(|breaker| (breaker.name(), breaker.state()))
        .filter(|(_, state)| *state != State::Closed)
        .map(|(breaker, state)| format!("degraded: {breaker} is {}\n", policies::name(state)))
        .collect();
    match degraded.is_empty() {
        true => "ready\n".into_response(),
        false => degraded.into_response(),
    }
}

/// The client that calls the upstreams.
pub(crate) type Upstream = HyperClient<HttpConnector, Body>;

pub(crate) fn client(http2: bool, connect_timeout: Option<Duration>) -> Upstream {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(connect_timeout);
    HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .http2_only(http2)
        .build(connector)
}

/// Prepares a request for its upstream, or answers it. It comes before the policies, because a request
/// that never reaches the upstream must not count in its breaker.
async fn admit(
    extract::State((upstreams, health)): extract::State<(Upstreams, Health)>,
    mut request: Request,
    next: Next,
) -> Response {
    if health.draining() {
        let head = [(CONNECTION, "close"), (RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, head, "draining\n").into_response();
    }
    if let Err(rejection) = prepare(upstreams.pick(), &mut request) {
        return rejection.into_response();
    }
    let counted = Counted::request(&health.counts);
    let response = next.run(request).await;
    response.map(|body| Body::new(CountedBody::new(body, counted)))
}

fn prepare(target: &Target, request: &mut Request) -> Result<(), (StatusCode, String)> {
    let unsupported = |what: String| Err((StatusCode::NOT_IMPLEMENTED, what));
    if request.method() == Method::CONNECT {
        return unsupported("CONNECT is not supported by this gateway\n".into());
    }
    if let Some(protocol) = headers::upgrade(request.headers()) {
        return unsupported(format!(
            "an upgrade to {protocol:?} is not supported by this gateway\n"
        ));
    }
    if request.uri().path() == "*" {
        return unsupported("a request for * is not supported by this gateway\n".into());
    }
    let Ok(uri) = target.uri(request.uri()) else {
        return Err((StatusCode::BAD_REQUEST, "the path makes no URL\n".into()));
    };
    let host = request.uri().authority().map(Authority::as_str);
    let host = match host {
        Some(host) => HeaderValue::try_from(host).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0);
    let may_split_cookies = request.version() == Version::HTTP_2;
    let headers = request.headers_mut();
    let wants_trailers = headers::wants_trailers(headers);
    headers::strip(headers);
    if wants_trailers {
        headers::want_trailers(headers, target.http2);
    }
    if may_split_cookies && !target.http2 {
        headers::join_cookies(headers);
    }
    headers::forwarded(headers, peer, host);
    headers.insert(HOST, target.host.clone());
    *request.uri_mut() = uri;
    // The protocol to the upstream does not depend on that of the caller.
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// The upstream's answer, or a 502. The breaker is above and judges both.
async fn forward(client: Upstream, request: Request) -> Result<Response, Infallible> {
    let mut response = match client.request(request).await {
        Ok(response) => response,
        Err(error) => {
            let what = if error.is_connect() {
                "the upstream cannot be reached\n"
            } else {
                "the upstream closed the connection\n"
            };
            return Ok((StatusCode::BAD_GATEWAY, what).into_response());
        }
    };
    headers::strip(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(Body::new))
}
