//! A stack above the layers of tower-http that change bodies, in one `ServiceBuilder`.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use seawall::http::RequestBody;
use seawall::{Bulkhead, ServerStack};
use tower::{ServiceBuilder, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::trace::TraceLayer;

use super::{listen, until};

/// Answers with a long text, or by the path panics or reads the request's body.
async fn texts<B>(request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: http_body::Body<Data: Send, Error: std::fmt::Debug> + Send,
{
    use http_body_util::BodyExt;
    assert!(request.uri().path() != "/panic", "a panic of the handler");
    let read = request.into_body().collect().await;
    let mut response = Response::new(Body::from("seawall ".repeat(1_000)));
    if read.is_err() {
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    }
    Ok(response)
}

/// What a client sees of the layers, over HTTP/1.
async fn check(address: SocketAddr, bulkhead: &Bulkhead) {
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{address}{path}");
    let text = client.get(url("/")).header("accept-encoding", "gzip");
    let text = text.send().await.unwrap();
    assert_eq!(text.status(), StatusCode::OK);
    assert_eq!(text.headers()["content-encoding"], "gzip");
    assert!(text.bytes().await.unwrap().len() < 1_000);
    let panicked = client.get(url("/panic")).send().await.unwrap();
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let large = client.post(url("/")).body(vec![7; 2_000]).send();
    assert_eq!(large.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    until(|| async { bulkhead.snapshot().in_flight == 0 }).await;
    let permit = bulkhead.try_acquire().unwrap();
    let full = client.get(url("/")).send().await.unwrap();
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    permit.release();
    let served = client.get(url("/")).send().await.unwrap();
    assert_eq!(served.text().await.unwrap().len(), 8_000);
}

#[tokio::test]
async fn hb9_above_the_layers_of_tower_http_under_axum() {
    let stack = ServerStack::http("api", 1);
    let bulkhead = stack.bulkhead().clone();
    let layers = ServiceBuilder::new()
        .layer(stack)
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(1_000));
    let app = Router::new()
        .fallback_service(service_fn(texts))
        .layer(layers);
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    check(address, &bulkhead).await;
}

#[tokio::test]
async fn hb9_above_the_layers_of_tower_http_under_plain_hyper() {
    let stack = ServerStack::http("api", 1);
    let bulkhead = stack.bulkhead().clone();
    let app = ServiceBuilder::new()
        .layer(stack)
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(1_000))
        .service(service_fn(
            texts::<tower_http::body::Limited<RequestBody<Incoming>>>,
        ));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let app = TowerToHyperService::new(app.clone());
            let http1 = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http1.serve_connection(TokioIo::new(stream), app));
        }
    });
    check(address, &bulkhead).await;
}
