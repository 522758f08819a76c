//! The live page over HTTP. `.ci/run clients` has a browser for the rest.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod levers;
mod page;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use seawall::console::Console;
use seawall::{Backoff, CircuitBreaker, Trip};
use serde_json::Value;
use tower::ServiceExt;

/// A breaker that opens after five failures, for long.
fn breaker(name: &str) -> CircuitBreaker {
    let open_for = Backoff::constant(Duration::from_secs(600));
    CircuitBreaker::builder(name)
        .trips([Trip::consecutive_failures(5)])
        .open_for(open_for)
        .build()
        .unwrap()
}

fn trip(breaker: &CircuitBreaker) {
    for _ in 0..5 {
        breaker.try_acquire().unwrap().failure();
    }
}

fn app(console: &Console) -> Router {
    Router::new().nest("/seawall", console.router())
}

async fn get(app: &Router, path: &str) -> (StatusCode, http::HeaderMap, Bytes) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    (
        head.status,
        head.headers,
        body.collect().await.unwrap().to_bytes(),
    )
}

async fn document(app: &Router) -> Value {
    let (status, headers, body) = get(app, "/seawall/data.json").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    serde_json::from_slice(&body).unwrap()
}

fn tile(document: &Value, name: &str) -> Value {
    let policies = document["policies"].as_array().unwrap();
    let found = policies.iter().find(|policy| policy["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}
