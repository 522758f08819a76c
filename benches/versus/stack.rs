//! All six and a second timeout in one stack.

use std::rc::Rc;
use std::time::Duration;

use seawall::{
    Budget, Bulkhead, BulkheadLayer, CircuitBreaker, CircuitBreakerLayer, HedgeLayer,
    RateLimitLayer, RetryLayer, TimeoutLayer,
};
use seawall_benches::{Contender, Goal, Group, Kind, Limit, Report};
use tokio::runtime::Runtime;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder};
use tower_resilience::circuitbreaker::CircuitBreakerLayer as ResilienceBreaker;
use tower_resilience::hedge::HedgeLayer as ResilienceHedge;

use crate::layer::{
    ABUNDANT, Budgeted, LONG, ROOM, our_hedge, our_limiter, our_retry, resilience_bulkhead,
    resilience_rate, resilience_retry, resilience_timeout, tower_hedge,
};
use crate::noop::{Fault, Noop, Sleeper, When, calls, concurrent, runtime};

/// A service that any stack can stand on.
pub(crate) trait Bottom:
    Service<u32, Response = u32, Error = Fault, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Bottom for S where
    S: Service<u32, Response = u32, Error = Fault, Future: Send> + Clone + Send + Sync + 'static
{
}

/// Without a breaker: tower has none. Its rate limit is outside of the retry, as it has no
/// clones.
fn tower(inner: impl Bottom, hedged_after: u64) -> impl Service<u32, Response = u32> {
    ServiceBuilder::new()
        .timeout(LONG)
        .rate_limit(u64::from(ABUNDANT), Duration::from_secs(1))
        .layer_fn(move |inner| tower_hedge(inner, hedged_after))
        .retry(Budgeted::default())
        .layer(ConcurrencyLimitLayer::new(ROOM))
        .timeout(LONG / 2)
        .service(inner)
}

/// Its hedge wants an error with clones, which its other layers' errors do not have.
fn resilience(inner: impl Bottom) -> impl Service<u32, Response = u32> {
    let breaker = ResilienceBreaker::builder().sliding_window_size(100);
    let hedge = ResilienceHedge::builder()
        .delay(LONG)
        .max_hedged_attempts(2);
    ServiceBuilder::new()
        .layer(resilience_timeout())
        .layer(resilience_retry())
        .layer(hedge.build())
        .map_err(|_| Fault::Peer)
        .layer(breaker.build().unwrap())
        .layer(resilience_bulkhead())
        .layer(resilience_rate())
        .layer(resilience_timeout())
        .service(inner)
}

fn ours(inner: impl Bottom) -> impl Service<u32, Response = u32> {
    let budget = Budget::percent(10);
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(LONG))
        .layer(RetryLayer::new(our_retry(&budget)))
        .layer(HedgeLayer::new(our_hedge(&budget)))
        .layer(CircuitBreakerLayer::new(CircuitBreaker::new("stack")))
        .layer(BulkheadLayer::queued(Bulkhead::new(1_000).queue(128)))
        .layer(RateLimitLayer::new(our_limiter(ABUNDANT)))
        .layer(TimeoutLayer::new(LONG / 2))
        .service(inner)
}

fn one_by_one(runtime: &Rc<Runtime>, when: When) -> Vec<Contender> {
    let _entered = runtime.enter();
    let noop = || Noop(when);
    vec![
        calls(runtime, Kind::Floor, "the service alone", noop()),
        calls(runtime, Kind::Peer, "tower", tower(noop(), 1)),
        calls(runtime, Kind::Peer, "tower-resilience", resilience(noop())),
        calls(runtime, Kind::Ours, "seawall", ours(noop())),
    ]
}

/// How many calls are under way at once over the service that takes its time.
const AT_ONCE: u64 = 200;

fn together(runtime: &Rc<Runtime>) -> Vec<Contender> {
    let _entered = runtime.enter();
    vec![
        concurrent(runtime, Kind::Floor, "the service alone", AT_ONCE, Sleeper),
        concurrent(runtime, Kind::Peer, "tower", AT_ONCE, tower(Sleeper, 20)),
        concurrent(
            runtime,
            Kind::Peer,
            "tower-resilience",
            AT_ONCE,
            resilience(Sleeper),
        ),
        concurrent(runtime, Kind::Ours, "seawall", AT_ONCE, ours(Sleeper)),
    ]
}

pub(crate) fn run(report: &mut Report) {
    let runtime = runtime();
    let goal = |times, peers| Goal {
        of: "seawall",
        limit: Limit::Times(times, peers),
    };
    report.group("stack", || Group {
        admitted: true,
        contenders: one_by_one(&runtime, When::AtOnce),
        goals: vec![goal(0.45, &["tower"]), goal(0.1, &["tower-resilience"])],
        ..Group::new()
    });
    report.group("stack, pending once", || Group {
        admitted: true,
        contenders: one_by_one(&runtime, When::PendingOnce),
        goals: vec![goal(1.0, &["tower"])],
        ..Group::new()
    });
    report.group("stack, 1 ms: processor time", || Group {
        contenders: together(&runtime),
        batch: AT_ONCE,
        processor: true,
        ..Group::new()
    });
}
