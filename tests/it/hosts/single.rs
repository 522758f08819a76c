//! Single layers in an axum server on a real socket: each rejection and each extra attempt as the client
//! of that server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::StatusCode;
use seawall::circuit_breaker::Trip;
use seawall::http::copy_empty;
use seawall::{
    Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Hedge, HedgeLayer,
    Quota, RateLimitLayer, RateLimiter, Retry, RetryLayer, TimeoutLayer,
};

use super::{in_time, listen, until};
use crate::support::ms;

/// What a handler answers whose first call fails or hangs.
async fn answer(call: usize, hangs: bool) -> (StatusCode, &'static str) {
    match call {
        0 if hangs => std::future::pending().await,
        0 => (StatusCode::INTERNAL_SERVER_ERROR, "broken"),
        _ => (StatusCode::OK, "hello"),
    }
}

#[tokio::test]
async fn cx12_a_client_of_an_axum_server_reads_what_its_layers_reject_and_repeat() {
    let breaker = CircuitBreaker::builder("breaker")
        .trip_on(Trip::consecutive_failures(3))
        .build();
    let (breaker, bulkhead) = (breaker.unwrap(), Bulkhead::new(1));
    let retry = Retry::new(Backoff::constant(ms(1)));
    let hedge = Hedge::fixed(ms(30));
    let [failed, retried, hedged] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&failed);
    let fail = async move || {
        count.fetch_add(1, Ordering::SeqCst);
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let hang = async || std::future::pending::<()>().await;
    let limit = RateLimiter::builder(Quota::per_minute(1)).build().unwrap();
    let once = |hangs: bool, calls: &Arc<AtomicUsize>| {
        let calls = Arc::clone(calls);
        move || answer(calls.fetch_add(1, Ordering::SeqCst), hangs)
    };
    let retries = RetryLayer::new(&retry).resend(copy_empty::<Body>);
    let hedges = HedgeLayer::new(&hedge).resend(copy_empty::<Body>);
    let app = Router::new()
        .route("/fail", get(fail).layer(CircuitBreakerLayer::new(&breaker)))
        .route(
            "/limit",
            get(async || "hello").layer(RateLimitLayer::new(&limit)),
        )
        .route("/full", get(hang).layer(BulkheadLayer::new(&bulkhead)))
        .route("/late", get(hang).layer(TimeoutLayer::new(ms(100))))
        .route("/retried", get(once(false, &retried)).layer(retries))
        .route("/hedged", get(once(true, &hedged)).layer(hedges));
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let call = client.get(format!("http://{address}{path}")).send();
        let response = in_time(call).await.unwrap();
        let after = response.headers().get("retry-after");
        let after = after.map(|after| after.to_str().unwrap().parse::<u32>().unwrap());
        (response.status(), after)
    };

    for _ in 0..3 {
        assert_eq!(
            get("/fail").await,
            (StatusCode::INTERNAL_SERVER_ERROR, None)
        );
    }
    let (status, after) = get("/fail").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(after, Some(1));
    assert_eq!(failed.load(Ordering::SeqCst), 3);

    assert_eq!(get("/limit").await, (StatusCode::OK, None));
    let (status, after) = get("/limit").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(after.is_some_and(|after| (55..=60).contains(&after)));

    let held = client.get(format!("http://{address}/full")).send();
    let held = tokio::spawn(held);
    until(|| async { bulkhead.snapshot().in_flight == 1 }).await;
    let (status, after) = get("/full").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(after.is_some_and(|after| (1..=2).contains(&after)));
    // A client that leaves gives its permit back.
    held.abort();
    until(|| async { bulkhead.snapshot().in_flight == 0 }).await;

    assert_eq!(get("/late").await, (StatusCode::GATEWAY_TIMEOUT, None));

    assert_eq!(get("/retried").await, (StatusCode::OK, None));
    assert_eq!(retried.load(Ordering::SeqCst), 2);
    assert_eq!(retry.snapshot().retried, 1);
    assert_eq!(get("/hedged").await, (StatusCode::OK, None));
    assert_eq!(hedged.load(Ordering::SeqCst), 2);
    assert_eq!(hedge.snapshot().won, 1);
}
