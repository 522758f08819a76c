//! What the registry says of each policy, as the page has it.

use std::fmt::Display;
use std::time::Duration;

use super::document::{Keys, Number, Tile};
use super::levers;
use super::rates::Counted;
use crate::circuit_breaker::{self, State};
use crate::config::PolicyKind;
use crate::registry::{self, KeyedSnapshot, Policy, State as Details, States};

/// One policy at one instant. What the tile says of a time, such as rates, is not filled in yet.
pub(super) struct Reading {
    pub(super) tile: Tile,
    pub(super) counted: Counted,
}

/// The policies, at most `most`, and how many there are besides.
pub(super) fn all(most: usize) -> (Vec<Reading>, usize) {
    let policies = registry::policies();
    let more = policies.len().saturating_sub(most);
    (policies.iter().take(most).map(read).collect(), more)
}

/// The policies that have transitions.
pub(super) fn breakers() -> Vec<Policy> {
    let mut policies = registry::policies();
    policies.retain(|policy| policy.kind() == PolicyKind::CircuitBreaker);
    policies
}

fn read(policy: &Policy) -> Reading {
    let snapshot = policy.snapshot();
    let mut tile = Tile {
        id: policy.id().unwrap_or_default(),
        name: snapshot.name.to_string(),
        kind: snapshot.kind.label(),
        mode: snapshot.mode.label(),
        levers: levers::of(policy),
        ..Tile::default()
    };
    let counted = Counted::of(&snapshot);
    tile.calls = counted.calls();
    match snapshot.state {
        Details::Timeout(timeout) => tile.time_limit = Some(timeout.limit.into()),
        Details::RateLimiter(limiter) => {
            tile.fact("quota", limiter.quota);
            if !limiter.quota.is_unlimited() {
                tile.point.balance = Some(Number::of(limiter.available));
                tile.full = Some(Number::of(limiter.quota.max_burst()));
            }
            tile.fact_if_any("paused for another", limiter.paused.map(seconds));
        }
        Details::CircuitBreaker(breaker) => read_breaker(&mut tile, breaker),
        Details::Bulkhead(bulkhead) => {
            tile.limit = Some(bulkhead.limit);
            tile.point.in_flight = Some(Number::of(bulkhead.in_flight));
            if bulkhead.queue != Some(0) {
                tile.queue_limit = bulkhead.queue;
                tile.point.queue = Some(Number::of(bulkhead.queued));
                tile.fact("longest wait", seconds(bulkhead.max_wait));
            }
        }
        Details::Retry(retry) => tile.fact("attempts at most", retry.max_attempts),
        Details::Hedge(hedge) => {
            let quantile = hedge.quantile.map(|share| format!("quantile {share}"));
            tile.fact_if_any("hedges after", quantile);
            tile.fact_if_any("delay", hedge.delay.map(seconds));
        }
        Details::Budget(budget) => {
            tile.fact("ratio", budget.ratio);
            tile.point.balance = Some(Number::of(budget.balance));
        }
        Details::Fallback(fallback) => {
            tile.limit = Some(fallback.limit);
            tile.point.in_flight = Some(Number::of(fallback.in_flight));
        }
        Details::Keyed(keyed) => {
            tile.point.state = keyed.states.map(worst);
            tile.keys = Some(keys(keyed));
        }
    }
    Reading { tile, counted }
}

fn read_breaker(tile: &mut Tile, breaker: circuit_breaker::Snapshot) {
    tile.state = Some(breaker.state.label());
    tile.in_state = Some(breaker.in_state.into());
    tile.point.state = Some(height(breaker.state));
    let rates = breaker.rules.iter();
    let rate = rates.max_by(|a, b| a.failure_rate.partial_cmp(&b.failure_rate).expect("finite"));
    tile.point.failure_rate = rate.and_then(|rule| rule.failure_rate).map(Number);
    tile.threshold = rate.and_then(|rule| rule.threshold).map(Number);
    for rule in &breaker.rules {
        let (text, counts) = (&rule.rule, rule.counts);
        match (counts.calls, counts.consecutive) {
            (0, 0) => tile.fact("rule", text),
            (0, run) => tile.fact("rule", format_args!("{text}; now {run} in a row")),
            (calls, _) => {
                let failures = counts.failures;
                tile.fact(
                    "rule",
                    format_args!("{text}; now {failures} of {calls} failed"),
                );
            }
        }
    }
    tile.fact_if_any("next probe in", breaker.next_probe.map(seconds));
    if let Some(probes) = breaker.probes {
        tile.fact(
            "probes",
            format_args!("{} of {}", probes.in_flight, probes.limit),
        );
    }
    if let Some(trip) = breaker.last_trip {
        let ago = seconds(trip.ago);
        tile.fact(
            "last trip",
            format_args!("{ago} ago, by {}", trip.tripped.rule),
        );
    }
}

fn keys(keyed: KeyedSnapshot) -> Keys {
    let not_closed = keyed.not_closed.into_iter();
    Keys {
        count: keyed.keys,
        capacity: keyed.capacity,
        overflowed: keyed.overflowed,
        states: keyed.states,
        not_closed: not_closed
            .map(|one| {
                let key = one.key.unwrap_or_else(|| one.name.to_string());
                (key, one.state.label())
            })
            .collect(),
    }
}

/// How high the state stands in its chart.
fn height(state: State) -> Number {
    Number(match state {
        State::Closed => 0.0,
        State::HalfOpen | State::Recovering => 1.0,
        State::Open | State::ForcedOpen => 2.0,
    })
}

/// The height of the worst state of any key.
fn worst(states: States) -> Number {
    height(match states {
        _ if states.open + states.forced_open > 0 => State::Open,
        _ if states.half_open + states.recovering > 0 => State::HalfOpen,
        _ => State::Closed,
    })
}

fn seconds(time: Duration) -> String {
    match time < Duration::from_secs(1) {
        true => format!("{} ms", time.as_millis()),
        false => format!("{:.1} s", time.as_secs_f64()),
    }
}

impl Tile {
    fn fact(&mut self, name: &'static str, value: impl Display) {
        self.facts.push((name, value.to_string()));
    }

    fn fact_if_any(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.fact(name, value);
        }
    }
}
