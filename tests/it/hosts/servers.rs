//! `ServerStack::http` under each host, by a client of HTTP/1 and one of HTTP/2.

use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use seawall::http::{ClientIp, HttpServerStack, Peer};
use seawall::serve::Server;
use seawall::{RateLimiter, ServerStack, keyed};
use tower::{ServiceBuilder, service_fn};

use super::{answer, chunk, in_time, listen, until};
use crate::support::ms;

type Limited = keyed::ByKey<std::net::IpAddr, RateLimiter, ClientIp>;
type Stack = HttpServerStack<Limited>;

#[derive(Clone, Copy, Debug)]
enum Host {
    Axum,
    Serve,
    Http1,
    Http2,
    Auto,
}

/// Each host with what it speaks: false is HTTP/1, true HTTP/2.
const HOSTS: [(Host, bool); 8] = [
    (Host::Axum, false),
    (Host::Axum, true),
    (Host::Serve, false),
    (Host::Serve, true),
    (Host::Http1, false),
    (Host::Http2, true),
    (Host::Auto, false),
    (Host::Auto, true),
];

impl Host {
    async fn start(self, stack: Stack) -> SocketAddr {
        let (listener, address) = listen().await;
        match self {
            Self::Axum => {
                let app = Router::new()
                    .fallback_service(service_fn(answer))
                    .layer(stack);
                #[cfg(feature = "axum")]
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                #[cfg(not(feature = "axum"))]
                let app = app.layer(axum::middleware::from_fn(local_peer));
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            Self::Serve => {
                let app = ServiceBuilder::new().layer(stack).service_fn(answer);
                let server = Server::builder().signals(false).build().unwrap();
                tokio::spawn(async move { server.serve(listener, app).await });
            }
            Self::Http1 | Self::Http2 | Self::Auto => {
                let app = ServiceBuilder::new().layer(stack).service_fn(answer);
                tokio::spawn(async move {
                    loop {
                        let (stream, peer) = listener.accept().await.unwrap();
                        let app = ServiceBuilder::new()
                            .map_request(move |mut request: Request<Incoming>| {
                                request.extensions_mut().insert(Peer(peer));
                                request
                            })
                            .service(app.clone());
                        let (io, app) = (TokioIo::new(stream), TowerToHyperService::new(app));
                        tokio::spawn(async move {
                            let executor = TokioExecutor::new();
                            let _ = match self {
                                Self::Http1 => hyper::server::conn::http1::Builder::new()
                                    .serve_connection(io, app)
                                    .await
                                    .map_err(Into::into),
                                Self::Http2 => hyper::server::conn::http2::Builder::new(executor)
                                    .serve_connection(io, app)
                                    .await
                                    .map_err(Into::into),
                                _ => auto::Builder::new(executor).serve_connection(io, app).await,
                            };
                        });
                    }
                });
            }
        }
        address
    }
}

#[cfg(not(feature = "axum"))]
async fn local_peer(
    mut request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let peer = Peer(([127, 0, 0, 1], 4_711).into());
    request.extensions_mut().insert(peer);
    next.run(request).await
}

fn stack(limit: u32, timeout: std::time::Duration, per_minute: u32) -> Stack {
    let stack = ServerStack::builder("hosts", limit).timeout(timeout);
    let stack = stack.build().unwrap();
    let clients = ClientIp::peer().per_minute(per_minute);
    stack
        .rate_limit(clients)
        .until_body_end()
        .timeout_until_body_end()
}

struct Caller {
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Body>,
    address: SocketAddr,
}

impl Caller {
    async fn start((host, http2): (Host, bool), stack: Stack) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(http2)
            .build_http();
        Self {
            client,
            address: host.start(stack).await,
        }
    }

    async fn get(&self, path: &str) -> http::Response<Incoming> {
        let request = Request::get(format!("http://{}{path}", self.address));
        let call = self.client.request(request.body(Body::empty()).unwrap());
        in_time(call).await.unwrap()
    }
}

// HB9
#[tokio::test]
async fn rl16_each_host_answers_429_above_the_limit_of_its_peer() {
    for host in HOSTS {
        let caller = Caller::start(host, stack(10, ms(20_000), 2)).await;
        for _ in 0..2 {
            assert_eq!(caller.get("/").await.status(), StatusCode::OK, "{host:?}");
        }
        let rejected = caller.get("/").await;
        assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS, "{host:?}");
        let after = rejected.headers()["retry-after"].to_str().unwrap();
        let after: u32 = after.parse().unwrap();
        assert!((1..=30).contains(&after), "{host:?}: {after}");
    }
}

#[tokio::test]
async fn hb1_each_host_answers_503_while_a_body_holds_the_permit() {
    for host in HOSTS {
        let stack = stack(1, ms(20_000), 1_000);
        let bulkhead = stack.bulkhead().clone();
        let caller = Caller::start(host, stack).await;
        let mut held = caller.get("/held").await.into_body();
        assert_eq!(chunk(&mut held).await.unwrap(), "first", "{host:?}");
        let rejected = caller.get("/").await;
        assert_eq!(
            rejected.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{host:?}"
        );
        drop(held);
        until(|| async { bulkhead.snapshot().in_flight == 0 }).await;
        assert_eq!(caller.get("/").await.status(), StatusCode::OK, "{host:?}");
    }
}

// HB4
#[tokio::test]
async fn hb1_each_host_answers_504_or_cuts_the_body_at_the_total() {
    for host in HOSTS {
        let caller = Caller::start(host, stack(10, ms(300), 1_000)).await;
        assert_eq!(
            caller.get("/hang").await.status(),
            StatusCode::GATEWAY_TIMEOUT,
            "{host:?}"
        );
        let start = Instant::now();
        let mut held = caller.get("/held").await.into_body();
        assert_eq!(chunk(&mut held).await.unwrap(), "first", "{host:?}");
        // Closed, or reset: it is no short body.
        assert!(chunk(&mut held).await.is_err(), "{host:?}");
        assert!(start.elapsed() >= ms(300), "{host:?}");
        // The host serves on.
        assert_eq!(caller.get("/").await.status(), StatusCode::OK, "{host:?}");
    }
}
