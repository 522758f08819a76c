//! Prometheus's own check of the page of metrics.

#[path = "../../examples/gateway/metrics.rs"]
mod page;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use seawall::circuit_breaker::Trip;
use seawall::metrics::table;
use seawall::{
    Budget, Bulkhead, CircuitBreaker, Fallback, Hedge, Keyed, Quota, RateLimiter, Retry, Timeout,
};
use tower::ServiceExt;

// The page of the gateway, with all metrics there are.
#[tokio::test]
async fn ob2_promtool_finds_no_fault_in_the_names_and_kinds_of_the_metrics() {
    let rules = [Trip::failure_rate(0.5), Trip::consecutive_failures(5)];
    let breaker = CircuitBreaker::builder("promtool").trips(rules);
    let breaker = breaker.build().unwrap();
    for _ in 0..100 {
        breaker.try_acquire().unwrap().success();
    }
    let _others = (
        Timeout::new(Duration::from_secs(1)),
        RateLimiter::per_second(1),
        Bulkhead::builder(1).queue(1).build().unwrap(),
        Retry::builder().build().unwrap(),
        Hedge::builder()
            .delay(Duration::from_secs(1))
            .build()
            .unwrap(),
        Budget::percent(10),
        Fallback::builder().build().unwrap(),
        Keyed::<str, RateLimiter>::limit(10, Quota::per_second(1)).unwrap(),
        Keyed::new(10, |host: &str| CircuitBreaker::builder(host).build()).unwrap(),
    );
    let router = page::route(Router::new()).unwrap();
    let get = Request::get("/metrics").body(Body::empty()).unwrap();
    let page = router.oneshot(get).await.unwrap().into_body();
    let page = page.collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&page);
    for metric in table() {
        let name = format!("# TYPE {}", metric.name.replace('.', "_"));
        assert!(text.contains(&name), "{name} in {text}");
    }
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("promtool is installed");
    promtool.stdin.take().unwrap().write_all(&page).unwrap();
    let found = promtool.wait_with_output().unwrap();
    let faults = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success() && faults.is_empty(), "{faults}");
}
