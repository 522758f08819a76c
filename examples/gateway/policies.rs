//! The two stacks: one for the requests that arrive, one for the calls to the upstreams.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderName;
use seawall::attempts::{ByRequest, CopyBy};
use seawall::circuit_breaker::{Cause, State, Transition, Trip, Window};
use seawall::classify::Standard;
use seawall::event::EventKind;
use seawall::keyed::{ByKey, OwnedKey};
use seawall::service::Native;
use seawall::{Backoff, ClientStack, ConfigError, Jitter, Quota, RateLimiter, ServerStack};

/// The numbers of the policies.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
    /// Requests a second of one client; none if clients have no limit of their own.
    pub(crate) client_rate: Option<u32>,
    /// The header that identifies the client; without it, the peer's address does.
    pub(crate) client_key: Option<HeaderName>,
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
    pub(crate) failures: u32,
    pub(crate) failing_for: Duration,
    pub(crate) failure_rate: f64,
    pub(crate) min_calls: u32,
    pub(crate) open_for: Duration,
    pub(crate) open_at_most: Duration,
    pub(crate) probes: u32,
}

/// How many clients have a limit of their own.
const CLIENTS: usize = 10_000;

/// The stack for requests. `F` finds the client of one.
pub(crate) type Server<F> = ServerStack<Native, ByKey<[u8], RateLimiter, OwnedKey<F>>>;

/// The stack for calls to the upstreams.
pub(crate) type Client =
    ClientStack<Native, Standard, RateLimiter, ByRequest, CopyBy<fn(&Request) -> Option<Request>>>;

pub(crate) fn server(
    limits: &Limits,
) -> Result<Server<impl Fn(&Request) -> Option<Vec<u8>> + Clone + use<>>, ConfigError> {
    let quota = Quota::per_second(limits.rate).burst(limits.burst);
    let in_all = RateLimiter::builder(quota).name("gateway").build()?;
    let each = match limits.client_rate {
        Some(rate) => Quota::per_second(rate),
        None => Quota::unlimited(),
    };
    let each = RateLimiter::builder(each).name("client");
    // Without a limit of their own, clients need no keys.
    let header = limits.client_rate.map(|_| limits.client_key.clone());
    let by_client = each
        .per_key::<[u8]>(CLIENTS)?
        .with_limits([in_all.clone()])?
        .by_value(move |request: &Request| client(header.as_ref()?.as_ref(), request))
        .or(in_all);
    let stack = ServerStack::builder("gateway", limits.in_flight).timeout(limits.timeout);
    Ok(stack.build()?.rate_limit(by_client))
}

/// The client that sent `request`: its header, or else its peer. The key of an address is shorter than
/// that of any header, so a header cannot imitate an address.
fn client(header: Option<&HeaderName>, request: &Request) -> Option<Vec<u8>> {
    if let Some(key) = header.and_then(|header| request.headers().get(header)) {
        return Some([b"by its header: ", key.as_bytes()].concat());
    }
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(match peer.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        // One customer has a whole /64.
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    })
}

pub(crate) fn upstream(
    limits: &Limits,
    log: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Client, ConfigError> {
    // All attempts fit into the timeout, also if it is short.
    let longest = limits.timeout / limits.attempts;
    let second = Duration::from_secs(1);
    let backoff = Backoff::exponential((second / 20).min(longest)).max((2 * second).min(longest));
    let attempt = limits.attempt_timeout;
    let run = Trip::consecutive_failures(limits.failures)
        .lasting(limits.failing_for)
        .within(limits.failing_for.max(60 * second).max(attempt));
    let rate = Trip::failure_rate(limits.failure_rate)
        .over(Window::time(attempt.max(10 * second)))
        .min_calls(limits.min_calls);
    let open_for = Backoff::exponential(limits.open_for)
        .max(limits.open_at_most)
        .jitter(Jitter::Equal);
    let mut config = ClientStack::builder("upstream")
        .total_timeout(limits.timeout)
        .attempt_timeout(attempt)
        .budgets(|budget| budget.ratio(f64::from(limits.budget) / 100.0))
        .retry(|retry| retry.max_attempts(limits.attempts).backoff(backoff))
        .breaker(|breaker| {
            breaker
                .trips([run, rate])
                .open_for(open_for)
                .probes(limits.probes)
                .on_event(move |event| {
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
            hedge.min_delay((second / 1_000).min(attempt / 2))
        });
    }
    let stack = config.build()?;
    Ok(stack.resend(copy as fn(&Request) -> Option<Request>))
}

/// A body is a stream, which can be sent only once; a request without one can be copied.
fn copy(request: &Request) -> Option<Request> {
    if !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

fn text(breaker: &str, transition: &Transition) -> String {
    let why = match &transition.cause {
        Cause::Tripped(tripped) => format!("{}, the last a {:?}", tripped.rule, tripped.kind),
        Cause::ProbesFailed(kind) => format!("a probe failed, a {kind:?}"),
        Cause::ProbesSucceeded => "the probes succeeded".into(),
        Cause::WaitOver => "the wait is over".into(),
        other => format!("{other:?}"),
    };
    let (from, to) = (name(transition.from), name(transition.to));
    match transition.open_for {
        Some(wait) => format!("{breaker}: {from} -> {to} for {wait:.0?}: {why}"),
        None => format!("{breaker}: {from} -> {to}: {why}"),
    }
}

pub(crate) fn name(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::HalfOpen => "half-open",
        State::Recovering => "recovering",
        _ => "open",
    }
}
