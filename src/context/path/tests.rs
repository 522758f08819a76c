use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt;

use crate::event::lines_of;
use crate::{
    Backoff, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Hedge, HedgeLayer,
    Keyed, Mode, RateLimitLayer, RateLimiter, Retry, RetryLayer, Timeout, TimeoutLayer,
};

/// The warnings of a future.
fn warnings_of(future: impl Future<Output = ()>) -> Vec<String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let mut lines = lines_of(|| runtime.block_on(future));
    lines.retain(|line| line.starts_with("WARN"));
    lines
}

async fn status_of(app: &Router, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

fn hello() -> Router {
    Router::new().route("/hello", get(|| async { "hello" }))
}

#[test]
fn cx22_a_bulkhead_on_a_router_and_on_one_nested_in_it_is_warned_about_once() {
    let bulkhead = Bulkhead::builder(1).name("all routes").build().unwrap();
    let nested = hello().layer(BulkheadLayer::new(&bulkhead));
    let line = line!() - 1;
    let app = Router::new().nest("/api", nested);
    let app = app.layer(BulkheadLayer::new(&bulkhead));
    let warnings = warnings_of(async {
        for _ in 0..3 {
            let status = status_of(&app, "/api/hello").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
    });
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(
        warning.contains("resilience.policy=all routes"),
        "{warning}"
    );
    let site = format!("{}:{line}:", file!());
    assert!(warning.contains(&site), "{warning}");
}

#[test]
fn cx22_a_breaker_and_a_queued_bulkhead_are_detected_too() {
    let breaker = CircuitBreaker::new("twice");
    let nested = hello().layer(CircuitBreakerLayer::new(&breaker));
    let app = Router::new().nest("/api", nested);
    let broken = app.layer(CircuitBreakerLayer::new(&breaker));
    let bulkhead = Bulkhead::builder(2).name("queued").build().unwrap();
    let nested = hello().layer(BulkheadLayer::queued(&bulkhead));
    let app = Router::new().nest("/api", nested);
    let queued = app.layer(BulkheadLayer::queued(&bulkhead));
    let warnings = warnings_of(async {
        assert_eq!(status_of(&broken, "/api/hello").await, StatusCode::OK);
        assert_eq!(status_of(&queued, "/api/hello").await, StatusCode::OK);
    });
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn cx22_a_run_inside_of_a_layer_over_the_same_policy_is_detected() {
    let bulkhead = Bulkhead::new(2);
    let inner = bulkhead.clone();
    let handler = move || async move {
        let answer = inner.run(|| async { Ok::<_, std::io::Error>("hello") });
        answer.await.unwrap()
    };
    let app = Router::new().route("/hello", get(handler));
    let app = app.layer(BulkheadLayer::new(&bulkhead));
    let warnings = warnings_of(async {
        assert_eq!(status_of(&app, "/hello").await, StatusCode::OK);
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`run`"), "{warnings:?}");
}

#[test]
fn cx22_calls_in_sequence_or_side_by_side_are_no_false_alarm() {
    let outer = Bulkhead::new(9);
    let inner = Bulkhead::new(2);
    let handler = move || async move {
        let call = || {
            inner.run(|| async {
                tokio::task::yield_now().await;
                Ok::<_, std::io::Error>(())
            })
        };
        call().await.unwrap();
        call().await.unwrap();
        let (one, two) = tokio::join!(call(), call());
        one.and(two).unwrap();
        "hello"
    };
    let app = Router::new().route("/hello", get(handler));
    let app = app.layer(BulkheadLayer::new(&outer));
    let warnings = warnings_of(async {
        assert_eq!(status_of(&app, "/hello").await, StatusCode::OK);
    });
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn cx22_attempts_of_a_retry_are_no_false_alarm() {
    let breaker = CircuitBreaker::new("below");
    let retry = Retry::new(Backoff::constant(Duration::ZERO));
    let failing = |_: u32| async {
        tokio::task::yield_now().await;
        Err::<u32, _>(tower::BoxError::from("down"))
    };
    let service = tower::ServiceBuilder::new()
        .layer(RetryLayer::new(&retry))
        .layer(CircuitBreakerLayer::new(&breaker))
        .service(tower::service_fn(failing));
    let warnings = warnings_of(async {
        service.oneshot(1).await.unwrap_err();
    });
    assert_eq!(retry.snapshot().retried, 2);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn cx22_two_keys_and_policies_that_are_off_are_no_false_alarm() {
    let per_path = Keyed::new(9, |_: &str| Ok(Bulkhead::new(1))).unwrap();
    // The nested router sees the path without its prefix.
    let path = |request: &Request<Body>| Some(request.uri().path().to_owned());
    let by_path = || BulkheadLayer::new(per_path.by_value(path));
    let keyed = Router::new().nest("/api", hello().layer(by_path()));
    let keyed = keyed.layer(by_path());
    let none = |_: &Request<Body>| None::<String>;
    let skip = || BulkheadLayer::new(per_path.by_value(none).or_skip());
    let skipped = Router::new().nest("/api", hello().layer(skip()));
    let skipped = skipped.layer(skip());
    let off = Bulkhead::builder(1).mode(Mode::Off).build().unwrap();
    let switched_off = hello().layer(BulkheadLayer::new(&off));
    let switched_off = Router::new().nest("/api", switched_off);
    let switched_off = switched_off.layer(BulkheadLayer::new(&off));
    let breaker = CircuitBreaker::builder("off").mode(Mode::Off);
    let breaker = breaker.build().unwrap();
    let unbroken = hello().layer(CircuitBreakerLayer::new(&breaker));
    let unbroken = Router::new().nest("/api", unbroken);
    let unbroken = unbroken.layer(CircuitBreakerLayer::new(&breaker));
    let mut warnings = warnings_of(async {
        for app in [keyed, skipped, switched_off, unbroken] {
            assert_eq!(status_of(&app, "/api/hello").await, StatusCode::OK);
        }
    });
    // Requests without a key have a warning of their own.
    warnings.retain(|line| !line.contains("without a key"));
    assert_eq!(warnings, [""; 0]);
}

const LONG: Duration = Duration::from_secs(60);

/// Fails when first polled again.
async fn fails(_: u32) -> Result<u32, tower::BoxError> {
    tokio::task::yield_now().await;
    Err(tower::BoxError::from("down"))
}

#[test]
fn cx22_a_timeout_on_a_router_and_on_one_nested_in_it_is_warned_about_once() {
    let timeout = Timeout::builder(LONG).name("whole call").build().unwrap();
    let nested = hello().layer(TimeoutLayer::new(&timeout));
    let line = line!() - 1;
    let app = Router::new().nest("/api", nested);
    let app = app.layer(TimeoutLayer::new(&timeout));
    let warnings = warnings_of(async {
        for _ in 0..3 {
            assert_eq!(status_of(&app, "/api/hello").await, StatusCode::OK);
        }
    });
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(
        warning.contains("resilience.policy=whole call"),
        "{warning}"
    );
    let site = format!("{}:{line}:", file!());
    assert!(warning.contains(&site), "{warning}");
}

#[test]
fn cx22_a_retry_and_a_hedge_are_detected_too() {
    let retry = Retry::builder().name("again").build().unwrap();
    let hedge = Hedge::builder().name("sooner").delay(LONG);
    let hedge = hedge.build().unwrap();
    let service = tower::ServiceBuilder::new()
        .layer(RetryLayer::new(&retry))
        .layer(HedgeLayer::new(&hedge))
        .layer(RetryLayer::new(&retry))
        .layer(HedgeLayer::new(&hedge))
        .service(tower::service_fn(|n: u32| async move {
            Ok::<_, tower::BoxError>(n)
        }));
    let lines = [line!() - 5, line!() - 4];
    let warnings = warnings_of(async {
        for n in 0..2 {
            assert_eq!(service.clone().oneshot(n).await.unwrap(), n);
        }
    });
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for ((warning, name), line) in warnings.iter().zip(["again", "sooner"]).zip(lines) {
        assert!(
            warning.contains(&format!("resilience.policy={name}")),
            "{warning}"
        );
        let site = format!("{}:{line}:", file!());
        assert!(warning.contains(&site), "{warning}");
    }
}

#[test]
fn cx22_a_run_of_a_timeout_retry_or_hedge_inside_of_itself_is_detected() {
    let timeout = Timeout::new(LONG);
    let retry = Retry::new(Backoff::constant(Duration::ZERO));
    let hedge = Hedge::fixed(LONG);
    let answer = || async {
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(1)
    };
    let warnings = warnings_of(async {
        let inner = || timeout.run(answer);
        timeout.run(inner).await.unwrap();
        let inner = |_| retry.run(|_| answer());
        retry.run(inner).await.unwrap();
        let inner = |_| hedge.run(|_| answer());
        hedge.run(inner).await.unwrap();
    });
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings.iter().all(|warning| warning.contains("`run`")),
        "{warnings:?}"
    );
}

#[test]
fn cx22_runs_side_by_side_and_extra_attempts_are_no_false_alarm() {
    let timeout = Timeout::new(LONG);
    let retry = Retry::new(Backoff::constant(Duration::ZERO));
    let outer = Retry::new(Backoff::constant(Duration::ZERO));
    let hedge = Hedge::fixed(Duration::ZERO);
    let call = || timeout.run(|| fails(1));
    let retried = || retry.run(|_| fails(1));
    let service = tower::ServiceBuilder::new()
        .layer(RetryLayer::new(&outer))
        .layer(HedgeLayer::new(&hedge))
        .layer(TimeoutLayer::new(&timeout))
        .service(tower::service_fn(fails));
    let warnings = warnings_of(async {
        call().await.unwrap_err();
        let (one, two) = tokio::join!(call(), call());
        one.and(two).unwrap_err();
        let (one, two) = tokio::join!(retried(), retried());
        one.and(two).unwrap_err();
        service.oneshot(1).await.unwrap_err();
    });
    assert_eq!((retry.snapshot().retried, outer.snapshot().retried), (4, 2));
    assert!(hedge.snapshot().made > 0);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn cx22_timeouts_with_durations_of_requests_and_policies_that_are_off_are_no_false_alarm() {
    let timeout = Timeout::new(LONG);
    let own = || TimeoutLayer::new(&timeout).duration_from(|_: &Request<Body>| Some(LONG / 2));
    let of_requests = Router::new().nest("/api", hello().layer(own()));
    let of_requests = of_requests.layer(TimeoutLayer::new(&timeout));
    let off = Timeout::builder(LONG).mode(Mode::Off).build().unwrap();
    let switched_off = hello().layer(TimeoutLayer::new(&off));
    let switched_off = Router::new().nest("/api", switched_off);
    let switched_off = switched_off.layer(TimeoutLayer::new(&off));
    let retry = Retry::builder().mode(Mode::Off).build().unwrap();
    let hedge = Hedge::builder().mode(Mode::Off).build().unwrap();
    let per_key = Keyed::new(9, |_: &str| Ok(Hedge::fixed(LONG))).unwrap();
    let key = std::sync::atomic::AtomicU32::new(0);
    let next = |_: &u32| {
        Some(
            key.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
                .to_string(),
        )
    };
    let service = tower::ServiceBuilder::new()
        .layer(RetryLayer::new(&retry))
        .layer(RetryLayer::new(&retry))
        .layer(HedgeLayer::new(&hedge))
        .layer(HedgeLayer::new(&hedge))
        .layer(HedgeLayer::new(per_key.by_value(next)))
        .layer(HedgeLayer::new(per_key.by_value(next)))
        .service(tower::service_fn(fails));
    let warnings = warnings_of(async {
        for app in [of_requests, switched_off] {
            assert_eq!(status_of(&app, "/api/hello").await, StatusCode::OK);
        }
        service.oneshot(1).await.unwrap_err();
    });
    assert!(per_key.len() > 1);
    assert_eq!(warnings, [""; 0]);
}

// A call inside of another may be one that pays for itself, such as a part of a batch.
#[test]
fn cx22_calls_under_a_rate_limiter_may_nest() {
    let limiter = RateLimiter::per_second(100);
    let nested = hello().layer(RateLimitLayer::new(&limiter));
    let app = Router::new().nest("/api", nested);
    let app = app.layer(RateLimitLayer::new(&limiter));
    let warnings = warnings_of(async {
        assert_eq!(status_of(&app, "/api/hello").await, StatusCode::OK);
    });
    assert_eq!(warnings, [""; 0]);
}
