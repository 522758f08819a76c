//! What it costs that a policy is observed.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::with_local_recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use seawall::metrics::{BUCKETS, Publisher};
use seawall::registry::{self, Policy};
use seawall::{
    Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, ClientStack, Event,
    HedgeLayer, RateLimitLayer, RetryLayer, ServerStack, Timeout, TimeoutLayer,
};
use seawall_benches::drive::calls;
use seawall_benches::http_call::{Endpoint, KeepsCopy, Request, Response, serve_http};
use seawall_benches::noop::{Noop, When, runtime};
use seawall_benches::ours::{ABUNDANT, LONG, WINDOW, our_hedge, our_limiter, our_retry};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report, Work};
use tokio::runtime::Runtime;
use tower::{Layer, Service};

/// With counters, and with tracing but no subscriber, as in every row of seawall.
const UNOBSERVED: &str = "unobserved";
const LISTENER: &str = "a listener";
const PUBLISHED: &str = "a recorder, published";
/// The allocations that a call over HTTP may make.
const COPIED: &str = "the service, request copied";

/// A hundred times as often as a Prometheus that scrapes every second.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Flags {
    /// The contender has its turn.
    scrape: AtomicBool,
    end: AtomicBool,
}

/// A recorder, and a thread that publishes to it and renders it, as for each scrape.
struct Scraper {
    recorder: Arc<PrometheusRecorder>,
    flags: Arc<Flags>,
    thread: Option<JoinHandle<()>>,
}

impl Scraper {
    fn start() -> Self {
        let exporter = PrometheusBuilder::new().with_recommended_naming(true);
        let all = Matcher::Prefix("resilience".into());
        let exporter = exporter.set_buckets_for_metric(all, &BUCKETS).unwrap();
        let recorder = Arc::new(exporter.build_recorder());
        let flags = Arc::new(Flags::default());
        let (of_thread, on) = (Arc::clone(&recorder), Arc::clone(&flags));
        let thread = std::thread::spawn(move || {
            let (publisher, page) = (Publisher::new(), of_thread.handle());
            while !on.end.load(Ordering::Relaxed) {
                if on.scrape.load(Ordering::Relaxed) {
                    with_local_recorder(&of_thread, || publisher.publish());
                    page.run_upkeep();
                    black_box(page.render());
                }
                std::thread::sleep(BETWEEN_SCRAPES);
            }
        });
        Self {
            recorder,
            flags,
            thread: Some(thread),
        }
    }

    /// Makes the contender's calls with the recorder installed and published.
    fn watch(self, mut contender: Contender) -> Contender {
        contender.name = PUBLISHED;
        let Work::Alone(mut run) = contender.work else {
            panic!("a recorder is local to its thread");
        };
        contender.work = Work::Alone(Box::new(move |n| {
            self.flags.scrape.store(true, Ordering::Relaxed);
            let right = with_local_recorder(&self.recorder, || run(n));
            self.flags.scrape.store(false, Ordering::Relaxed);
            right
        }));
        contender
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.flags.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The same contender unobserved, with a listener on each of its policies, and with a recorder.
fn observed(make: impl Fn(&'static str) -> Contender) -> Vec<Contender> {
    let unobserved = make(UNOBSERVED);
    let others: Vec<_> = registry::policies().iter().map(Policy::id).collect();
    let listener = make(LISTENER);
    for policy in registry::policies() {
        if !others.contains(&policy.id()) {
            let listen = |event: &Event<'_>| {
                black_box(event);
            };
            policy.on_event(listen).forever();
        }
    }
    let published = Scraper::start().watch(make(PUBLISHED));
    vec![unobserved, listener, published]
}

/// At most this much above the same contender unobserved, for each of this number of layers.
fn goals(layers: f64) -> Vec<Goal> {
    let above = |of, nanos| Goal {
        of,
        limit: Limit::Above(nanos * layers, UNOBSERVED),
    };
    vec![above(LISTENER, 60.0), above(PUBLISHED, 5.0)]
}

fn layer<L>(report: &mut Report, runtime: &Rc<Runtime>, name: &str, make: impl Fn() -> L)
where
    L: Layer<Noop, Service: Service<u32, Response = u32> + 'static>,
{
    report.group(&format!("observed: {name}"), || Group {
        admitted: true,
        contenders: observed(|name| {
            let service = make().layer(Noop(When::AtOnce));
            // For the hedge, which costs less until it knows how long calls take.
            calls(runtime, Kind::Ours, name, service).settled()
        }),
        goals: goals(1.0),
        ..Group::new()
    });
}

fn stack<S>(
    report: &mut Report,
    runtime: &Rc<Runtime>,
    (name, layers): (&str, f64),
    make: impl Fn() -> S,
) where
    S: Service<Request, Response = Response> + 'static,
{
    report.group(&format!("observed: {name} over http::Request"), || {
        let _entered = runtime.enter();
        let work = serve_http(runtime, KeepsCopy(Endpoint(When::AtOnce)));
        let mut contenders = vec![Contender::alone(Kind::Floor, COPIED, work)];
        contenders.extend(observed(|name| {
            Contender::alone(Kind::Ours, name, serve_http(runtime, make()))
        }));
        Group {
            admitted: true,
            may_allocate: Some(COPIED),
            contenders,
            goals: goals(layers),
            ..Group::new()
        }
    });
}

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    let budget = Budget::percent(10);
    layer(report, &runtime, "timeout", || {
        TimeoutLayer::new(Timeout::new(LONG))
    });
    layer(report, &runtime, "bulkhead", || {
        BulkheadLayer::new(Bulkhead::new(1_000))
    });
    layer(report, &runtime, "retry with budget", || {
        RetryLayer::new(our_retry(&budget))
    });
    layer(report, &runtime, "rate limit", || {
        RateLimitLayer::new(our_limiter(ABUNDANT))
    });
    layer(report, &runtime, "breaker, default rules", || {
        CircuitBreakerLayer::new(CircuitBreaker::new("default rules"))
    });
    layer(report, &runtime, "hedge at a quantile", || {
        HedgeLayer::new(our_hedge(&budget, WINDOW))
    });
    let endpoint = || Endpoint(When::AtOnce);
    // Two timeouts, retry, breaker and bulkhead.
    stack(report, &runtime, ("client stack", 5.0), || {
        ClientStack::new("orders").layer(endpoint())
    });
    // Timeout and bulkhead.
    stack(report, &runtime, ("server stack", 2.0), || {
        ServerStack::new("api", 1_000).layer(endpoint())
    });
}
