//! A shadow over policies that only record, against the same traffic under policies that enforce.

use std::collections::BTreeMap;
use std::time::Duration;

use seawall::circuit_breaker::Trip;
use seawall::classify::ErrorsOnly;
use seawall::prelude::*;
use seawall::shadow::Shadow;
use seawall::{Mode, Quota, Reason, registry};
use tokio::time::{sleep, sleep_until};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

/// A call: when it comes, how long the service takes, and whether it succeeds.
#[derive(Clone, Copy)]
struct Call {
    at: Duration,
    takes: Duration,
    succeeds: bool,
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Calls at this rate in a part of the traffic, each with its time and its outcome.
fn calls(
    seconds: std::ops::Range<u64>,
    per_second: u64,
    call: impl Fn(u64) -> (u64, bool),
) -> impl Iterator<Item = Call> {
    let count = (seconds.end - seconds.start) * per_second;
    (0..count).map(move |n| {
        let (takes, succeeds) = call(n);
        Call {
            // Not evenly: a client sends two at once.
            at: ms(seconds.start * 1_000 + (n - n % 2) * 1_000 / per_second),
            takes: ms(takes),
            succeeds,
        }
    })
}

/// A flood of one client.
fn flood() -> Vec<Call> {
    let even = calls(0..90, 60, |n| (20 + n % 40, true));
    let flood = calls(30..60, 300, |n| (20 + n % 40, true));
    in_order(even.chain(flood))
}

/// A dependency that becomes slow, and in which one call in fifty hangs.
fn slow() -> Vec<Call> {
    let before = calls(0..20, 80, |n| (20 + n % 60, true));
    let slow = calls(20..50, 80, |n| (700 + n * 37 % 600, true));
    let after = calls(50..90, 80, |n| {
        (if n % 50 == 0 { 30_000 } else { 30 }, true)
    });
    in_order(before.chain(slow).chain(after))
}

/// A dependency that fails.
fn outage() -> Vec<Call> {
    let before = calls(0..20, 50, |n| (20 + n % 60, n % 40 != 0));
    let out = calls(20..50, 50, |n| (5 + n % 10, false));
    let after = calls(50..80, 50, |n| (20 + n % 60, n % 40 != 0));
    in_order(before.chain(out).chain(after))
}

fn in_order(calls: impl Iterator<Item = Call>) -> Vec<Call> {
    let mut calls: Vec<_> = calls.collect();
    calls.sort_by_key(|call| call.at);
    calls
}

/// The traffic through a stack in this mode. Returns what a shadow of it says, and how many calls
/// each policy rejected.
async fn run(
    name: &str,
    traffic: &[Call],
    mode: Mode,
) -> (BTreeMap<String, u64>, BTreeMap<String, u64>, String) {
    let part = |part: &str| format!("{name}.{part}");
    let timeout = Timeout::builder(ms(2_000))
        .name(part("timeout"))
        .mode(mode)
        .build()
        .unwrap();
    let quota = Quota::per_second(100);
    let limiter = RateLimiter::builder(quota)
        .name(part("limit"))
        .mode(mode)
        .build()
        .unwrap();
    let bulkhead = Bulkhead::builder(40)
        .queue(20)
        .max_wait(ms(200))
        .name(part("bulkhead"));
    let bulkhead = bulkhead.mode(mode).build().unwrap();
    let breaker = CircuitBreaker::builder(part("breaker")).trips([Trip::consecutive_failures(10)]);
    let breaker = breaker.jitter_seed(7).mode(mode).build().unwrap();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(&timeout))
        .layer(RateLimitLayer::new(&limiter))
        .layer(BulkheadLayer::queued(&bulkhead))
        .layer(CircuitBreakerLayer::new(&breaker).classify(ErrorsOnly))
        .service(service_fn(|call: Call| async move {
            sleep(call.takes).await;
            match call.succeeds {
                true => Ok::<_, BoxError>(()),
                false => Err("unavailable".into()),
            }
        }));

    let shadow = Shadow::of(name);
    assert_eq!(shadow.policies(), 4, "{:?}", registry::policies());
    let start = tokio::time::Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for call in traffic.iter().copied() {
        sleep_until(start + call.at).await;
        under_way.spawn(stack.clone().oneshot(call));
    }
    let mut rejected = BTreeMap::new();
    for outcome in under_way.join_all().await {
        let error = outcome.err();
        if let Some(reason) = error.as_ref().and_then(|error| Reason::find(&**error)) {
            *rejected.entry(reason.policy().to_string()).or_default() += 1;
        }
    }
    let report = shadow.report();
    let would = report
        .policies
        .iter()
        .map(|verdict| (verdict.policy.clone(), verdict.would_reject()));
    (
        would.filter(|(_, count)| *count > 0).collect(),
        rejected,
        report.to_string(),
    )
}

/// The shadow's count of each policy is within 10 % of what the policy then rejects.
async fn predicts(name: &str, traffic: &[Call], of: &[&str]) {
    let (predicted, none, text) = run(name, traffic, Mode::RecordOnly).await;
    assert!(none.is_empty(), "record-only rejected: {none:?}");
    let (_, rejected, _) = run(name, traffic, Mode::Enforce).await;
    println!("{name}: predicted {predicted:?}, rejected {rejected:?}\n{text}");
    for part in of {
        let policy = format!("{name}.{part}");
        let (predicted, rejected) = (predicted[&policy], rejected[&policy]);
        assert!(rejected > 20, "{policy} rejects {rejected}");
        let apart = predicted.abs_diff(rejected) as f64 / rejected as f64;
        assert!(
            apart <= 0.1,
            "{policy}: {predicted} predicted, {rejected} rejected"
        );
    }
    // Nothing that does not happen.
    for (policy, predicted) in &predicted {
        let rejected = rejected.get(policy).copied().unwrap_or(0);
        assert!(
            predicted.abs_diff(rejected) as f64 <= 0.1 * rejected as f64 + 5.0,
            "{policy}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn ob1_a_shadow_predicts_the_rejections_of_a_flood() {
    predicts("flood", &flood(), &["limit"]).await;
}

#[tokio::test(start_paused = true)]
async fn ob1_a_shadow_predicts_the_rejections_of_a_slow_dependency() {
    predicts("slow", &slow(), &["bulkhead", "timeout"]).await;
}

#[tokio::test(start_paused = true)]
async fn ob1_a_shadow_predicts_the_rejections_of_an_outage() {
    predicts("outage", &outage(), &["breaker"]).await;
}
