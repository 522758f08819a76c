//! The two stacks: one for the requests that arrive, one for the calls to the upstreams. The calls of
//! both are in flight until the ends of the responses' bodies.

use std::net::IpAddr;
use std::time::Duration;

use seawall::circuit_breaker::{Cause, Transition, Trip};
use seawall::event::EventKind;
use seawall::http::{ClientIp, HttpClientStack, HttpServerStack, IpNet};
use seawall::keyed::ByKey;
use seawall::{Backoff, ClientStack, ConfigError, Jitter, Quota, RateLimiter, ServerStack};

/// The numbers of the policies.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    /// Requests a second of one client; none if clients have no limit of their own.
    pub(crate) client_rate: Option<u32>,
    /// The networks of the proxies in front.
    pub(crate) trust: Vec<IpNet>,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    /// Attempts of one request at most, with the first.
    pub(crate) attempts: u32,
    /// Extra attempts, in percent of the requests.
    pub(crate) budget: u32,
    /// The quantile of the latency after which a hedge starts; none without hedging.
    pub(crate) hedge: Option<f64>,
    /// How many latencies the quantile needs.
    pub(crate) hedge_samples: u32,
    /// Attempts in flight to one upstream. All that follows is per upstream too.
    pub(crate) capacity: u32,
    pub(crate) queue: u32,
    pub(crate) queue_wait: Duration,
    /// None for the defaults.
    pub(crate) breaker: Option<Breaker>,
}

/// When the breaker of an upstream opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    /// Failures in a row ...
    pub(crate) failures: u32,
    /// ... that last this long.
    pub(crate) lasting: Duration,
    pub(crate) open_for: Duration,
    pub(crate) open_at_most: Duration,
}

impl Breaker {
    /// The defaults, for a world that is as much faster as `second` is shorter than a second.
    pub(crate) fn within(second: Duration) -> Self {
        Self {
            failures: 5,
            lasting: second,
            open_for: second / 4,
            open_at_most: second,
        }
    }
}

/// The total of a call, with its body. The timeout of the request, which ends with the head, is the
/// deadline of all attempts. After that a body has to make progress.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How many clients have a limit of their own.
const CLIENTS: usize = 10_000;

/// The stack for requests.
pub(crate) type Server = HttpServerStack<ByKey<IpAddr, RateLimiter, ClientIp>>;

/// The stack for calls to the upstreams.
pub(crate) type Client = HttpClientStack;

pub(crate) fn server(limits: &Limits) -> Result<Server, ConfigError> {
    let quota = Quota::per_second(limits.rate).burst(limits.burst);
    let in_all = RateLimiter::builder(quota).name("gateway").build()?;
    let each = limits
        .client_rate
        .map_or(Quota::unlimited(), Quota::per_second);
    let each = RateLimiter::builder(each).name("client");
    let by_client = each
        .per_key::<IpAddr>(CLIENTS)?
        .with_limits([in_all])?
        .by_client_ip(ClientIp::trusting(limits.trust.iter().copied()));
    let stack = ServerStack::builder("gateway", limits.in_flight).timeout(limits.timeout);
    Ok(stack.build()?.rate_limit(by_client).until_body_end())
}

pub(crate) fn upstream(
    limits: &Limits,
    log: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Client, ConfigError> {
    // All attempts fit into the timeout, also if it is short.
    let longest = limits.timeout / limits.attempts;
    let ms = Duration::from_millis;
    let backoff = Backoff::exponential(ms(50).min(longest)).max(ms(2_000).min(longest));
    let attempt = limits.attempt_timeout;
    let mut config = ClientStack::builder("upstream")
        .total_timeout(LONGEST)
        .attempt_timeout(attempt)
        .budgets(|budget| budget.ratio(f64::from(limits.budget) / 100.0))
        .retry(|retry| retry.max_attempts(limits.attempts).backoff(backoff))
        .breaker(|mut breaker| {
            if let Some(limits) = limits.breaker {
                let run = Trip::consecutive_failures(limits.failures).lasting(limits.lasting);
                let open_for = Backoff::exponential(limits.open_for).max(limits.open_at_most);
                breaker = breaker
                    .trip_on(run.within(Duration::from_secs(60)))
                    .open_for(open_for.jitter(Jitter::Equal));
            }
            breaker.on_event(move |event| {
                if let EventKind::Transition(transition) = event.kind {
                    log(&text(event.policy, transition));
                }
            })
        })
        .bulkhead(|bulkhead| {
            let bulkhead = bulkhead.limit(limits.capacity).queue(limits.queue);
            bulkhead.max_wait(limits.queue_wait)
        });
    if let Some(quantile) = limits.hedge {
        config = config.hedge(|hedge| {
            let hedge = hedge.quantile(quantile).min_samples(limits.hedge_samples);
            hedge.min_delay(ms(1).min(attempt / 2))
        });
    }
    // Only requests without a body are sent again.
    Ok(config.build()?.until_body_end().replay(0))
}

fn text(breaker: &str, transition: &Transition) -> String {
    let why = match &transition.cause {
        Cause::Tripped(tripped) => format!("{}, the last a {:?}", tripped.rule, tripped.kind),
        Cause::ProbesFailed(kind) => format!("a probe failed, a {kind:?}"),
        Cause::ProbesSucceeded => "the probes succeeded".into(),
        Cause::WaitOver => "the wait is over".into(),
        other => format!("{other:?}"),
    };
    let (from, to) = (transition.from, transition.to);
    match transition.open_for {
        Some(wait) => format!("{breaker}: {from} -> {to} for {wait:.0?}: {why}"),
        None => format!("{breaker}: {from} -> {to}: {why}"),
    }
}
