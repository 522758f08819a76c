//! The reverse proxy: bare, and behind the policies.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{self, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HyperClient, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use seawall::http::{Peer, RequestBody};
use seawall::serve::Health;
use seawall::{Bulkhead, ConfigError, Error};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::headers;
use crate::policies::{self, Client, Limits};
use crate::target::{Target, Targets};

/// A proxy in front of its upstreams.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) router: Router,
    /// None without protection.
    pub(crate) policies: Option<Policies>,
}

/// The policies of requests and of their attempts.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    /// For all requests together.
    #[allow(dead_code, reason = "the tests check that all permits are returned")]
    pub(crate) bulkhead: Bulkhead,
    pub(crate) client: Client,
}

impl Gateway {
    /// A proxy without protection.
    pub(crate) fn plain(targets: &[Target]) -> Self {
        let targets = Targets::new(targets, None);
        let client = client(targets.http2()).map_err(Error::service);
        let proxy = service_fn(move |request| forward(targets.clone(), client.clone(), request));
        Self {
            router: Router::new().fallback_service(proxy),
            policies: None,
        }
    }

    /// A proxy that protects callers and upstreams from each other.
    pub(crate) fn protected(
        targets: &[Target],
        limits: &Limits,
        health: Health,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let server = policies::server(limits)?;
        let stack = policies::upstream(limits, log)?;
        let targets = Targets::new(targets, Some(stack.breakers()));
        let policies = Policies {
            bulkhead: server.bulkhead().clone(),
            client: stack.clone(),
        };
        let client = ServiceBuilder::new()
            .layer(stack)
            .map_err(Error::service)
            .service(client(targets.http2()));
        let proxy = ServiceBuilder::new()
            .layer(server)
            .map_request(|request: http::Request<RequestBody<Body>>| request.map(Body::new))
            .service_fn(move |request| forward(targets.clone(), client.clone(), request));
        // An open breaker does not make the gateway unready: all replicas have the same upstreams,
        // and a fast 503 is better than no replica.
        let health = health.degraded_by_any(policies.client.breakers());
        let router = Router::new()
            .route_service("/healthz", health.clone())
            .route_service("/readyz", health)
            .fallback_service(proxy);
        Ok(Self {
            router,
            policies: Some(policies),
        })
    }
}

/// The client that calls the upstreams.
pub(crate) type Upstream<B = Body> = HyperClient<HttpConnector, B>;

pub(crate) fn client<B>(http2: bool) -> Upstream<B>
where
    B: HttpBody<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(3)));
    HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(256)
        .http2_only(http2)
        .build(connector)
}

/// The upstream's answer, or a response that says why there is none.
async fn forward<S, B>(
    targets: Targets,
    client: S,
    mut request: Request,
) -> Result<Response, Infallible>
where
    S: Service<Request, Response = http::Response<B>, Error = Error<HyperError>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let kind = request.headers().get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    // Before the policies, because what never reaches the upstream must not count in its breaker.
    if let Err(answer) = prepare(targets.pick(), &mut request) {
        return Ok(answer.into_response());
    }
    let bad_gateway = |what| (StatusCode::BAD_GATEWAY, what).into_response();
    Ok(match client.oneshot(request).await {
        Ok(mut response) => {
            headers::strip(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            response.map(Body::new)
        }
        Err(Error::Rejected(rejection)) if is_grpc => rejection.into_grpc_response(),
        Err(Error::Rejected(rejection)) => rejection.into_http_response(),
        Err(Error::Service(error)) if error.is_connect() => {
            bad_gateway("the upstream cannot be reached\n")
        }
        Err(_) => bad_gateway("the upstream closed the connection\n"),
    })
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
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
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
