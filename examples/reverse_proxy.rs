//! A reverse proxy: a limit for each client; retries, a breaker and a bulkhead of the upstream.
//!
//!     cargo run --features axum,serve --example reverse_proxy -- 127.0.0.1:9000
//!     curl -i http://127.0.0.1:8080/

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use seawall::http::{ClientIp, Peer, RequestBody};
use seawall::serve::{Drained, Server};
use seawall::{ClientStack, Error, ServerStack};
use tower::{BoxError, ServiceBuilder, ServiceExt};

fn prepare(request: &mut Request<Body>, upstream: &str) -> Option<()> {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    *request.uri_mut() = format!("http://{upstream}{path}").parse().ok()?;
    let peer = request.extensions().get::<Peer>()?.0.ip().to_string();
    let headers = request.headers_mut();
    headers.remove("host");
    headers.append("x-forwarded-for", peer.parse().ok()?);
    Some(())
}

#[tokio::main]
async fn main() -> Result<Drained, BoxError> {
    let upstream = std::env::args().nth(1).ok_or("no upstream")?;
    let client = ServiceBuilder::new()
        .layer(ClientStack::http("upstream"))
        .map_err(Error::service)
        .service(Client::builder(TokioExecutor::new()).build_http());
    let proxy = ServiceBuilder::new()
        .layer(ServerStack::http("proxy", 1_000).rate_limit(ClientIp::peer().per_second(100)))
        .map_request(|request: Request<RequestBody<Incoming>>| request.map(Body::new))
        .service_fn(move |mut request| {
            let (client, prepared) = (client.clone(), prepare(&mut request, &upstream));
            async move {
                if prepared.is_none() {
                    return Ok(StatusCode::BAD_REQUEST.into_response());
                }
                Ok::<Response, std::convert::Infallible>(match client.oneshot(request).await {
                    Ok(response) => response.map(Body::new),
                    Err(Error::Rejected(rejection)) => rejection.into_response(),
                    Err(_) => StatusCode::BAD_GATEWAY.into_response(),
                })
            }
        });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(Server::new().serve(listener, proxy).await?)
}
