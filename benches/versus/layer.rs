//! Each layer over a service that does nothing.

use std::rc::Rc;
use std::time::Duration;

use seatbelt::{RecoveryInfo, ResilienceContext, breaker, hedging, retry, timeout};
use seawall::{
    Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, HedgeLayer,
    RateLimitLayer, RetryLayer, TimeoutLayer,
};
use seawall_benches::drive::calls;
use seawall_benches::noop::{Fault, Noop, When, runtime};
use seawall_benches::ours::{ABUNDANT, LONG, ROOM, WINDOW, our_hedge, our_limiter, our_retry};
use seawall_benches::peers::{
    Budgeted, resilience_bulkhead, resilience_rate, resilience_retry, resilience_timeout,
    tower_hedge,
};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};
use tick::Clock;
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_resilience::circuitbreaker::CircuitBreakerLayer as ResilienceBreaker;
use tower_resilience::hedge::HedgeLayer as ResilienceHedge;

const SECOND: Duration = Duration::from_secs(1);

const NOOP: Noop = Noop(When::AtOnce);

type Outcome = Result<u32, Fault>;

/// seatbelt's, with tokio's timers and neither logs nor metrics.
fn context(runtime: &Rc<Runtime>) -> ResilienceContext<u32, Outcome> {
    let _entered = runtime.enter();
    ResilienceContext::new(Clock::new_tokio())
}

fn judged(outcome: &Outcome) -> RecoveryInfo {
    match outcome {
        Ok(_) => RecoveryInfo::never(),
        Err(_) => RecoveryInfo::retry(),
    }
}

struct Bench(Rc<Runtime>);

impl Bench {
    fn of<S>(&self, kind: Kind, name: &'static str, service: S) -> Contender
    where
        S: Service<u32, Response = u32> + 'static,
    {
        calls(&self.0, kind, name, service)
    }

    /// tower's limit makes its timers where it is made.
    fn tower<S>(&self, make: impl FnOnce() -> S) -> Contender
    where
        S: Service<u32, Response = u32> + 'static,
    {
        let entered = self.0.enter();
        let service = make();
        drop(entered);
        self.of(Kind::Peer, "tower", service)
    }

    fn seatbelt<S>(&self, layer: impl Layer<Noop, Service = S>) -> Contender
    where
        S: Service<u32, Response = u32> + 'static,
    {
        self.of(Kind::Peer, "seatbelt", layer.layer(NOOP))
    }

    fn resilience<S>(&self, layer: impl Layer<Noop, Service = S>) -> Contender
    where
        S: Service<u32, Response = u32> + 'static,
    {
        self.of(Kind::Peer, "tower-resilience", layer.layer(NOOP))
    }

    fn ours<S>(&self, name: &'static str, layer: impl Layer<Noop, Service = S>) -> Contender
    where
        S: Service<u32, Response = u32> + 'static,
    {
        self.of(Kind::Ours, name, layer.layer(NOOP))
    }
}

fn timeouts(bench: &Bench) -> Vec<Contender> {
    let seatbelt = timeout::Timeout::layer("timeout", &context(&bench.0))
        .timeout_error(|_| Fault::Peer)
        .timeout(LONG);
    vec![
        bench.of(Kind::Floor, "the service alone", NOOP),
        bench.tower(|| tower::timeout::Timeout::new(NOOP, LONG)),
        bench.seatbelt(seatbelt),
        bench.resilience(resilience_timeout()),
        bench.ours("seawall", TimeoutLayer::new(LONG)),
    ]
}

/// tower's limit always queues.
fn bulkheads(bench: &Bench) -> Vec<Contender> {
    let bulkhead = Bulkhead::builder(1_000).queue(128).build().unwrap();
    vec![
        bench.tower(|| tower::limit::ConcurrencyLimit::new(NOOP, ROOM)),
        bench.resilience(resilience_bulkhead()),
        bench.ours("seawall", BulkheadLayer::new(&bulkhead)),
        bench.ours("seawall, queued", BulkheadLayer::queued(&bulkhead)),
    ]
}

/// tower's limit always waits, has a fixed window and is not shared: it is not `Clone`.
fn rate_limits(bench: &Bench) -> Vec<Contender> {
    let large = our_limiter(ABUNDANT);
    let exact = our_limiter(100);
    vec![
        bench.tower(|| {
            let rate = tower::limit::rate::Rate::new(u64::from(ABUNDANT), SECOND);
            tower::limit::RateLimit::new(NOOP, rate)
        }),
        bench.resilience(resilience_rate()),
        bench.ours("seawall, large burst", RateLimitLayer::new(&large)),
        bench.ours("seawall, exact", RateLimitLayer::new(&exact)),
        bench.ours("seawall, waiting", RateLimitLayer::waiting(&large)),
    ]
}

/// A rate over time for all but tower-resilience, whose time window keeps every call and takes microseconds.
fn breakers(bench: &Bench) -> Vec<Contender> {
    let seatbelt = breaker::Breaker::layer("breaker", &context(&bench.0))
        .recovery_with(|outcome, _| judged(outcome))
        .rejected_input_error(|_, _| Fault::Peer);
    let resilience = ResilienceBreaker::builder().sliding_window_size(100);
    let breaker = CircuitBreaker::new("default rules");
    vec![
        bench.seatbelt(seatbelt),
        bench.resilience(resilience.build().unwrap()),
        bench.ours("seawall", CircuitBreakerLayer::new(&breaker)),
    ]
}

/// seatbelt's retry has no budget.
fn retries(bench: &Bench) -> Vec<Contender> {
    let seatbelt = retry::Retry::layer("retry", &context(&bench.0))
        .clone_input()
        .recovery_with(|outcome, _| judged(outcome));
    let budget = Budget::percent(10);
    vec![
        bench.tower(|| tower::retry::Retry::new(Budgeted::default(), NOOP)),
        bench.seatbelt(seatbelt),
        bench.resilience(resilience_retry::<Fault>()),
        bench.ours("seawall", RetryLayer::new(our_retry(&budget))),
    ]
}

/// tower's hedge and seawall's at a quantile, the others after a fixed time.
fn hedges(bench: &Bench) -> Vec<Contender> {
    let seatbelt = hedging::Hedging::layer("hedge", &context(&bench.0))
        .clone_input()
        .recovery_with(|outcome, _| judged(outcome))
        .hedging_delay(LONG);
    let resilience = ResilienceHedge::builder()
        .delay(LONG)
        .max_hedged_attempts(2);
    let budget = Budget::percent(10);
    vec![
        bench.tower(|| tower_hedge(NOOP, 1)),
        bench.seatbelt(seatbelt),
        bench.resilience(resilience.build()),
        bench
            .ours("seawall", HedgeLayer::new(our_hedge(&budget, WINDOW)))
            .settled(),
    ]
}

pub(crate) fn run(report: &mut Report) {
    let bench = Bench(runtime());
    let mut group = |name: &str, contenders: fn(&Bench) -> _, goals: &[(&'static str, f64, _)]| {
        let name = format!("layer: {name}");
        report.group(&name, || Group {
            admitted: true,
            contenders: contenders(&bench),
            goals: goals
                .iter()
                .map(|&(of, times, peers)| Goal {
                    of,
                    limit: Limit::Times(times, peers),
                })
                .collect(),
            ..Group::new()
        });
    };
    let tower: &[&str] = &["tower"];
    group("timeout", timeouts, &[("seawall", 0.7, tower)]);
    group("bulkhead", bulkheads, &[("seawall", 0.8, tower)]);
    group("retry with budget", retries, &[("seawall", 0.7, tower)]);
    group(
        "rate limit",
        rate_limits,
        &[
            ("seawall, large burst", 0.9, tower),
            ("seawall, exact", 1.2, tower),
        ],
    );
    group(
        "breaker, default rules",
        breakers,
        &[
            ("seawall", 0.3, &["seatbelt"]),
            ("seawall", 0.15, &["tower-resilience"]),
        ],
    );
    group("hedge at a quantile", hedges, &[("seawall", 0.45, tower)]);
}
