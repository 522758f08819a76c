//! Metrics, as Prometheus sees them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../gateway/example.rs"]
mod example;
mod otlp;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use seawall::circuit_breaker::{Trip, Window};
use seawall::event::{Ending, Event, EventKind};
use seawall::metrics::{BUCKETS, Metric, MetricKind, Publisher, table};
use seawall::registry::PolicyKind;
use seawall::stack::{ClientConfig, ClientStack};
use seawall::{
    Backoff, Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, Fallback, Hedge,
    Keyed, Quota, RateLimitLayer, RateLimiter, Retry, RetryLayer, Timeout, TimeoutLayer,
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

/// A Prometheus of one test.
struct Prometheus {
    recorder: PrometheusRecorder,
    publisher: Publisher,
}

/// Each series with its labels, and its value.
type Page = BTreeMap<String, f64>;

impl Prometheus {
    fn new() -> Self {
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let builder =
            builder.set_buckets_for_metric(Matcher::Prefix("resilience".into()), &BUCKETS);
        Self {
            recorder: builder.unwrap().build_recorder(),
            publisher: Publisher::new(),
        }
    }

    fn text(&self) -> String {
        metrics::with_local_recorder(&self.recorder, || self.publisher.publish());
        let handle = self.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }

    /// The series of the policies whose names start with `prefix`.
    fn scrape(&self, prefix: &str) -> Page {
        let text = self.text();
        let of_test = |line: &&str| line.contains(&format!("policy=\"{prefix}"));
        let series = text.lines().filter(of_test).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        series.collect()
    }
}

/// The name at Prometheus.
fn at_prometheus(metric: &Metric) -> String {
    let mut name = metric.name.replace('.', "_");
    if metric.unit == "s" {
        name += "_seconds";
    }
    if metric.kind == MetricKind::Counter {
        name += "_total";
    }
    name
}

/// One policy of each kind, plain and keyed, with a value for each gauge.
#[allow(dead_code, reason = "some only stay alive")]
struct Policies {
    timeout: Timeout,
    limiter: RateLimiter,
    breaker: CircuitBreaker,
    bulkhead: Bulkhead,
    retry: Retry,
    hedge: Hedge,
    budget: Budget,
    fallback: Fallback,
    limits: Keyed<Ipv4Addr, RateLimiter>,
    breakers: Keyed<str, CircuitBreaker>,
}

impl Policies {
    fn new(prefix: &str) -> Self {
        let secs = Duration::from_secs;
        let name = |kind: PolicyKind| format!("{prefix}.{kind}");
        let breaker = |name: &str| {
            let rate = Trip::failure_rate(0.5).over(Window::count(10));
            CircuitBreaker::builder(name.to_owned())
                .trip_on(rate)
                .trip_on(Trip::consecutive_failures(7))
                .trip_on(Trip::consecutive_failures(20))
                .build()
        };
        let inner = prefix.to_owned();
        Self {
            timeout: Timeout::builder(secs(1))
                .name(name(PolicyKind::Timeout))
                .build()
                .unwrap(),
            limiter: RateLimiter::builder(Quota::per_second(5))
                .name(name(PolicyKind::RateLimit))
                .build()
                .unwrap(),
            breaker: breaker(&name(PolicyKind::CircuitBreaker)).unwrap(),
            bulkhead: Bulkhead::builder(2)
                .queue(1)
                .name(name(PolicyKind::Bulkhead))
                .build()
                .unwrap(),
            retry: Retry::builder()
                .name(name(PolicyKind::Retry))
                .build()
                .unwrap(),
            hedge: Hedge::builder()
                .delay(secs(1))
                .name(name(PolicyKind::Hedge))
                .build()
                .unwrap(),
            budget: Budget::builder()
                .name(name(PolicyKind::Budget))
                .build()
                .unwrap(),
            fallback: Fallback::builder()
                .name(name(PolicyKind::Fallback))
                .build()
                .unwrap(),
            limits: RateLimiter::builder(Quota::per_second(5))
                .name(format!("{prefix}.per client"))
                .per_key(100)
                .unwrap(),
            breakers: Keyed::builder(move |host: &str| breaker(&format!("{inner}.{host}")))
                .name(format!("{prefix}.per host"))
                .build()
                .unwrap(),
        }
    }

    /// Gives a value to the rates of failures.
    fn use_breakers(&self) {
        for _ in 0..10 {
            self.breaker.try_acquire().unwrap().success();
        }
    }
}

/// The lines of the guide's table.
fn guide() -> BTreeSet<[String; 5]> {
    let text = include_str!("../../src/guide/observing.md");
    let (text, _) = text.split_once("\n# Tracing").unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `resilience."));
    let cells = |row: &str| -> Vec<_> {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.map(|row| cells(row).try_into().unwrap()).collect()
}

#[test]
fn ob2_the_guide_lists_exactly_the_metrics_of_the_table() {
    let of_table = table().map(|metric| {
        let Metric {
            name,
            kind,
            unit,
            text,
            ..
        } = *metric;
        [name, kind.label(), unit, &metric.labels.join(", "), text].map(str::to_owned)
    });
    assert_eq!(guide(), of_table.collect());
}

#[test]
fn ob2_exactly_the_metrics_of_the_table_are_published() {
    let prometheus = Prometheus::new();
    let policies = Policies::new("ob2.table");
    policies.use_breakers();
    let text = prometheus.text();
    let mut published = BTreeMap::<_, BTreeSet<_>>::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|it| it.split_once(' '))
        {
            kinds.insert(name.to_owned(), kind.to_owned());
        } else if let Some((series, _)) = line
            .strip_prefix("resilience")
            .and_then(|it| it.rsplit_once(' '))
        {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = format!("resilience{name}");
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(&name);
            let labels = labels
                .split("\",")
                .filter_map(|label| label.split_once("=\""));
            let labels = labels
                .map(|(label, _)| label.to_owned())
                .filter(|label| label != "le");
            published
                .entry(whole.to_owned())
                .or_default()
                .extend(labels);
        }
    }
    for metric in table() {
        let name = at_prometheus(metric);
        let labels = published
            .remove(&name)
            .unwrap_or_else(|| panic!("{name} is not published"));
        let expected: BTreeSet<_> = metric.labels.iter().map(ToString::to_string).collect();
        assert_eq!(labels, expected, "{name}");
        assert_eq!(kinds[&name], metric.kind.label(), "{name}");
    }
    assert_eq!(published, BTreeMap::new());
}

#[test]
fn ob2_the_dashboard_uses_exactly_the_metrics_of_the_table() {
    let dashboard = include_str!("../../docs/grafana.json");
    let mut used: BTreeSet<_> = dashboard
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("resilience_"))
        .collect();
    for metric in table() {
        let name = at_prometheus(metric);
        let suffix = match metric.kind {
            MetricKind::Histogram => "_bucket",
            _ => "",
        };
        assert!(
            used.remove(&*format!("{name}{suffix}")),
            "{name} is in no panel"
        );
    }
    assert_eq!(used, BTreeSet::new(), "no such metrics");
}

#[test]
fn ob2_every_series_exists_before_its_first_event() {
    let prometheus = Prometheus::new();
    let policies = Policies::new("ob2.first");
    let before = prometheus.scrape("ob2.first");
    let at_zero = |(series, value): (&String, &f64)| !series.contains("_total") || *value == 0.0;
    assert!(before.iter().all(at_zero), "{before:#?}");

    policies.use_breakers();
    policies.limiter.pause_for(Duration::from_secs(1));
    policies.limiter.try_acquire().unwrap_err();
    let held = [
        policies.bulkhead.try_acquire(),
        policies.bulkhead.try_acquire(),
    ];
    policies.bulkhead.try_acquire().unwrap_err();
    drop(held);
    policies.breaker.force_open();
    policies.breaker.try_acquire().unwrap_err();
    policies.breakers.get("a.example").force_open();
    policies
        .breakers
        .get("a.example")
        .try_acquire()
        .unwrap_err();
    let _ = policies.limits.allow(&Ipv4Addr::LOCALHOST);
    let after = prometheus.scrape("ob2.first");
    // A gauge whose value was not known may come; what counts may not.
    let counts = |series: &&String| series.contains("_total") || series.contains("_count");
    let new: Vec<_> = after
        .keys()
        .filter(counts)
        .filter(|it| !before.contains_key(*it))
        .collect();
    assert!(new.is_empty(), "{new:#?}");
    let rejected = |of: &str, kind: &str, reason: &str| {
        after[&format!(
            "resilience_calls_rejected_total{{policy=\"ob2.first.{of}\",kind=\"{kind}\",reason=\"{reason}\"}}"
        )]
    };
    assert_eq!(rejected("rate_limit", "rate_limit", "rate_limited"), 1.0);
    assert_eq!(rejected("bulkhead", "bulkhead", "bulkhead_full"), 1.0);
    assert_eq!(
        rejected("circuit_breaker", "circuit_breaker", "circuit_open"),
        1.0
    );
    assert_eq!(rejected("per host", "circuit_breaker", "circuit_open"), 1.0);
}

#[test]
fn ob2_a_failure_rate_is_absent_until_it_is_known_and_nan_when_it_is_no_longer() {
    let prometheus = Prometheus::new();
    let policies = Policies::new("ob2.rate");
    let rate = || {
        let page = prometheus.scrape("ob2.rate.circuit_breaker");
        let mut rates = page
            .into_iter()
            .filter(|(series, _)| series.contains("failure_rate{"));
        rates.next().map(|(_, rate)| rate)
    };
    let threshold = |page: Page| {
        page.into_iter()
            .find(|(series, _)| series.contains("failure_rate_threshold"))
            .unwrap()
            .1
    };
    assert_eq!(rate(), None);
    assert_eq!(
        threshold(prometheus.scrape("ob2.rate.circuit_breaker")),
        0.5
    );
    policies.use_breakers();
    assert_eq!(rate(), Some(0.0));
    policies.breaker.reset();
    assert!(rate().unwrap().is_nan());
}

#[test]
fn ob2_a_run_of_failures_is_beside_its_threshold() {
    let prometheus = Prometheus::new();
    let policies = Policies::new("ob2.run");
    for _ in 0..6 {
        let permit = policies.breaker.try_acquire().unwrap();
        permit.failure();
    }
    let run = |policy: &str| {
        let page = prometheus.scrape("ob2.run");
        ["", "_threshold"].map(|end| {
            let gauge = format!("circuit_breaker_consecutive_failures{end}");
            sum(&page, &gauge, policy, &[])
        })
    };
    assert_eq!(run("ob2.run.circuit_breaker"), [6.0, 7.0]);
    assert_eq!(run("ob2.run.per host"), [0.0, 7.0]);
}

#[test]
fn ob2_the_rate_of_a_limit_for_each_key_is_its_own_whatever_limits_it_is_joined_with() {
    let prometheus = Prometheus::new();
    for all in [1, 100] {
        let all = RateLimiter::builder(Quota::per_second(all)).name("ob2.joint.all");
        let each = RateLimiter::builder(Quota::per_second(10)).name("ob2.joint.client");
        let each = each.per_key::<Ipv4Addr>(100).unwrap();
        let each = each.with_limits([all.build().unwrap()]).unwrap();
        let page = prometheus.scrape("ob2.joint.client");
        assert_eq!(sum(&page, "rate_limit_rate", "ob2.joint.client", &[]), 10.0);
        drop(each);
    }
}

#[test]
fn ob2_a_breaker_that_keys_share_is_counted_from_its_first_call() {
    let prometheus = Prometheus::new();
    let make = |host: &str| CircuitBreaker::builder(format!("ob2.shared.{host}")).build();
    let per_host = Keyed::<str, CircuitBreaker>::builder(make)
        .name("ob2.shared")
        .build()
        .unwrap();
    let states = || {
        let page = prometheus.scrape("ob2.shared");
        ["closed", "open", "forced_open"].map(|state| {
            let labels = "policy=\"ob2.shared\",kind=\"circuit_breaker\"";
            page[&format!("resilience_circuit_breaker_keys{{{labels},state=\"{state}\"}}")]
        })
    };
    assert_eq!(states(), [0.0, 0.0, 0.0]);
    // A total outage.
    per_host.get("a.example").force_open();
    assert_eq!(states(), [0.0, 0.0, 1.0]);
    per_host.get("b.example").try_acquire().unwrap().success();
    assert_eq!(states(), [1.0, 0.0, 1.0]);
    // A request without a key.
    let mut service = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(
            per_host.by(|(): &()| None::<&str>),
        ))
        .service(service_fn(|()| std::future::ready(Ok::<_, BoxError>(()))));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    assert!(Box::pin(service.call(())).as_mut().poll(&mut cx).is_ready());
    assert_eq!(states(), [2.0, 0.0, 1.0]);
    // One that was used by hand, and has something to show.
    let per_host = Keyed::<str, CircuitBreaker>::builder(make)
        .name("ob2.shared")
        .build()
        .unwrap();
    per_host.anonymous().force_open();
    assert_eq!(states(), [2.0, 0.0, 2.0]);
}

#[test]
fn ob2_the_balance_of_a_budget_is_that_of_the_keys_in_use_beside_its_burst() {
    let prometheus = Prometheus::new();
    let per_host = Keyed::<str, Budget>::builder(|_| Budget::builder().ratio(0.5).burst(4).build())
        .name("ob2.balance")
        .build()
        .unwrap();
    let gauge = |of: &str| {
        let page = prometheus.scrape("ob2.balance");
        page[&format!("resilience_budget_{of}{{policy=\"ob2.balance\",kind=\"budget\"}}")]
    };
    // What a new key gets.
    assert_eq!((gauge("balance"), gauge("burst")), (4.0, 4.0));
    let budget = per_host.get("a.example");
    for _ in 0..10 {
        budget.on_success();
    }
    assert_eq!((gauge("balance"), gauge("burst")), (9.0, 4.0));
    for _ in 0..8 {
        budget.withdraw().unwrap().spend();
    }
    assert_eq!(gauge("balance"), 1.0);
    let throttling = Budget::builder().retry_throttling(10, 0.1);
    let _throttling = throttling.name("ob2.balance.throttling").build().unwrap();
    let page = prometheus.scrape("ob2.balance.throttling");
    assert_eq!(
        sum(&page, "budget_burst", "ob2.balance.throttling", &[]),
        10.0
    );
}

#[test]
fn ob2_the_budget_that_a_retry_or_hedge_does_not_use_in_a_stack_is_not_listed() {
    let prometheus = Prometheus::new();
    let secs = Duration::from_secs;
    let own = || {
        let page = prometheus.scrape("budget of ob2.own");
        let balance = |series: &&String| series.contains("budget_balance");
        page.keys().filter(balance).count()
    };
    let stack = ClientStack::builder("ob2.own").hedge(|hedge| hedge.delay(secs(1)));
    let stack = stack.build().unwrap();
    assert_eq!(own(), 0);
    let change = |now: ClientConfig| {
        let now = now.retry(|retry| retry.max_attempts(2));
        now.hedge(|hedge| hedge.delay(secs(2)))
    };
    stack.change(change).unwrap();
    assert_eq!(own(), 0);
    // Without a stack it is in use.
    let retry = Retry::builder().name("ob2.own.retry").build().unwrap();
    let hedge = Hedge::builder().name("ob2.own.hedge").build().unwrap();
    assert_eq!(own(), 2);
    drop((retry, hedge));
}

// As the guide says.
#[test]
fn ob1_a_rejection_by_a_member_is_counted_on_it_and_on_the_joint_limiter() {
    let prometheus = Prometheus::new();
    let all = RateLimiter::builder(Quota::per_second(1)).name("ob1.member.all");
    let each = RateLimiter::builder(Quota::per_second(10)).name("ob1.member.client");
    let each = each.per_key::<Ipv4Addr>(100).unwrap();
    let each = each.with_limits([all.build().unwrap()]).unwrap();
    let allowed = [(); 3].map(|()| each.allow(&Ipv4Addr::LOCALHOST));
    assert_eq!(allowed, [true, false, false]);
    let page = prometheus.scrape("ob1.member");
    for policy in ["ob1.member.all", "ob1.member.client"] {
        let rejected = sum(&page, "calls_rejected_total", policy, &[]);
        assert_eq!(rejected, 2.0, "{policy}");
    }
}

#[test]
fn ob2_a_policy_that_is_built_again_goes_on_counting() {
    let prometheus = Prometheus::new();
    let count = || {
        let page = prometheus.scrape("ob2.again");
        page["resilience_calls_rejected_total{policy=\"ob2.again\",kind=\"circuit_breaker\",reason=\"circuit_open\"}"]
    };
    for built in 1..4 {
        let breaker = CircuitBreaker::new("ob2.again");
        count();
        breaker.force_open();
        breaker.try_acquire().unwrap_err();
        breaker.try_acquire().unwrap_err();
        assert_eq!(count(), f64::from(2 * built));
    }
    let gone = prometheus.scrape("ob2.again");
    let state = gone
        .into_iter()
        .find(|(series, _)| series.contains("breaker_state{"));
    assert!(state.unwrap().1.is_nan());
}

/// The sum of the series of one metric and policy, without those that have a label in `without`.
fn sum(page: &Page, metric: &str, policy: &str, without: &[&str]) -> f64 {
    let of_policy = format!("resilience_{metric}{{policy=\"{policy}\"");
    let series = page
        .iter()
        .filter(|(series, _)| series.starts_with(&of_policy));
    let excluded = |series: &str| {
        without
            .iter()
            .any(|label| series.contains(&format!("\"{label}\"")))
    };
    series
        .filter(|(series, _)| !excluded(series))
        .map(|(_, value)| value)
        .sum()
}

/// Calls that were admitted or rejected, and whether as many have ended as were admitted.
fn adds_up(page: &Page, policy: &str) -> f64 {
    let admitted = sum(page, "calls_admitted_total", policy, &[]);
    assert_eq!(
        sum(page, "calls_ended_total", policy, &[]),
        admitted,
        "{policy}: {page:#?}"
    );
    let cut_short = ["timed_out", "request_timed_out"];
    admitted + sum(page, "calls_rejected_total", policy, &cut_short)
}

const THREADS: u64 = 8;
const CALLS: u64 = 500;

#[test]
fn ob1_the_metrics_add_up_after_a_storm_of_threads() {
    let prometheus = Prometheus::new();
    let secs = Duration::from_secs;
    let timeout = Timeout::builder(secs(1))
        .name("ob1.timeout")
        .build()
        .unwrap();
    let limiter = RateLimiter::builder(Quota::per_second(100).burst(10))
        .name("ob1.limit")
        .build()
        .unwrap();
    let breaker = CircuitBreaker::builder("ob1.breaker").trip_on(Trip::consecutive_failures(4));
    let breaker = breaker
        .open_for(Backoff::constant(Duration::from_millis(1)))
        .build()
        .unwrap();
    let bulkhead = Bulkhead::builder(3)
        .queue(2)
        .name("ob1.bulkhead")
        .build()
        .unwrap();
    let retry = Retry::builder()
        .max_attempts(2)
        .name("ob1.retry")
        .build()
        .unwrap();
    prometheus.scrape("ob1.");
    let calls = AtomicU64::new(0);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(timeout))
        .layer(RetryLayer::new(retry))
        .layer(CircuitBreakerLayer::new(&breaker))
        .layer(BulkheadLayer::queued(&bulkhead))
        .layer(RateLimitLayer::new(limiter))
        .service(service_fn(|call: u64| async move {
            match call % 7 {
                0 => std::future::pending().await,
                1 => resume_unwind(Box::new("by the service")),
                2 | 3 => Err(BoxError::from("it failed")),
                4 => {
                    tokio::task::yield_now().await;
                    Ok(())
                }
                _ => Ok(()),
            }
        }));
    // Full in the first half, so that it rejects; in the second half the limiter does.
    let held: Vec<_> = (0..3).map(|_| bulkhead.try_acquire().unwrap()).collect();
    let (held, of_test) = (Mutex::new(held), 3.0);
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for of_thread in 0..THREADS {
            let (start, calls, mut service) = (&start, &calls, service.clone());
            let held = &held;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                let _entered = runtime.enter();
                let mut cx = Context::from_waker(Waker::noop());
                start.wait();
                // Calls that are pending stay for a while, so that the bulkhead is full.
                let mut pending = VecDeque::new();
                for call in 0..CALLS {
                    if (of_thread, call) == (0, CALLS / 2) {
                        held.lock().unwrap().clear();
                    }
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        // A layer that is not ready has no call.
                        if let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) {
                            calls.fetch_add(1, Ordering::Relaxed);
                            let response = service.call(call.wrapping_mul(of_thread + 3));
                            pending.push_back(Box::pin(response));
                        }
                    }));
                    pending.retain_mut(|response| {
                        let poll = || response.as_mut().poll(&mut cx).is_pending();
                        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(false)
                    });
                    if pending.len() > 2 {
                        pending.pop_front();
                    }
                }
            });
        }
    });
    let page = prometheus.scrape("ob1.");
    let calls = calls.into_inner();
    assert_eq!(calls, THREADS * CALLS);
    assert_eq!(adds_up(&page, "ob1.timeout"), calls as f64);
    assert_eq!(adds_up(&page, "ob1.retry"), calls as f64);
    // Each call that the breaker admits comes to the bulkhead; one that leaves its queue, no further.
    let admitted = |policy| sum(&page, "calls_admitted_total", policy, &[]);
    let of_calls = adds_up(&page, "ob1.bulkhead") - of_test;
    assert_eq!(of_calls, admitted("ob1.breaker"));
    assert!(adds_up(&page, "ob1.limit") <= admitted("ob1.bulkhead"));
    assert!(adds_up(&page, "ob1.breaker") >= calls as f64);
    for policy in ["ob1.limit", "ob1.bulkhead"] {
        assert!(
            sum(&page, "calls_rejected_total", policy, &[]) > 0.0,
            "{policy}: {page:#?}"
        );
    }
}

#[cfg(feature = "test-util")]
#[tokio::test(start_paused = true)]
async fn ob1_cx14_a_scripted_outage_emits_exactly_these_events_and_its_metrics_add_up() {
    let prometheus = Prometheus::new();
    let ms = Duration::from_millis;
    let breaker = CircuitBreaker::builder("outage.breaker").trip_on(Trip::consecutive_failures(3));
    let open_for = Backoff::constant(ms(1_000));
    let breaker = breaker.open_for(open_for).build().unwrap();
    let retry = Retry::builder()
        .max_attempts(2)
        .backoff(Backoff::constant(ms(100)));
    let retry = retry.name("outage.retry").build().unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = |event: &Event<'_>| {
        let text = match event.kind {
            EventKind::Ended { ending, .. } => match ending {
                Ending::Failure(kind) => format!("failure {}", kind.label()),
                ending => ending.label().to_owned(),
            },
            EventKind::Rejected(rejection) => format!("rejected {}", rejection.kind().label()),
            EventKind::Transition(transition) => {
                format!("{} to {}", transition.from.label(), transition.to.label())
            }
            EventKind::Retrying { kind, .. } => format!("retrying after {}", kind.label()),
            other => other.label().to_owned(),
        };
        let policy = event.policy.strip_prefix("outage.").unwrap();
        format!("{policy}: {text}")
    };
    let to = Arc::clone(&events);
    let keep = move |event: &Event<'_>| to.lock().unwrap().push(log(event));
    let _subscriptions = (breaker.on_event(keep.clone()), retry.on_event(keep));

    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::clone(&dead);
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry))
        .layer(CircuitBreakerLayer::new(&breaker))
        .service(service_fn(move |()| {
            let dead = is_dead.load(Ordering::Relaxed);
            async move {
                if dead {
                    Err(BoxError::from("dead"))
                } else {
                    Ok(())
                }
            }
        }));
    let mut call = async || service.ready().await.unwrap().call(()).await.is_ok();
    let happened = || std::mem::take(&mut *events.lock().unwrap());

    assert!(call().await);
    assert_eq!(happened(), ["breaker: success", "retry: success"]);
    dead.store(true, Ordering::Relaxed);
    assert!(!call().await);
    assert_eq!(
        happened(),
        [
            "breaker: failure error",
            "retry: retrying after error",
            "breaker: failure error",
            "retry: failure error",
        ]
    );
    assert!(!call().await);
    assert_eq!(
        happened(),
        [
            "breaker: closed to open",
            "breaker: failure error",
            "retry: retrying after error",
            "breaker: rejected circuit_open",
            "retry: failure error",
        ]
    );
    assert!(!call().await);
    assert_eq!(
        happened(),
        ["breaker: rejected circuit_open", "retry: ignored"]
    );
    dead.store(false, Ordering::Relaxed);
    tokio::time::advance(ms(1_000)).await;
    assert!(call().await);
    assert_eq!(
        happened(),
        [
            "breaker: open to half_open",
            "breaker: half_open to closed",
            "breaker: success",
            "retry: success",
        ]
    );

    let page = prometheus.scrape("outage.");
    assert_eq!(adds_up(&page, "outage.retry"), 5.0);
    assert_eq!(adds_up(&page, "outage.breaker"), 7.0);
    for (state, times) in [
        ("closed", 1.0),
        ("half_open", 1.0),
        ("open", 1.0),
        ("forced_open", 0.0),
    ] {
        let others = ["closed", "half_open", "open", "forced_open"];
        let others: Vec<_> = others.into_iter().filter(|other| *other != state).collect();
        let transitions = sum(
            &page,
            "circuit_breaker_transitions_total",
            "outage.breaker",
            &others,
        );
        assert_eq!(transitions, times, "{state}");
    }
}
