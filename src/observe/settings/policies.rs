//! The fields of each policy. What a section does not have is the default.

use std::time::Duration;

use super::section::{Section, this};
use super::value::{QueueLength, Shape, Share};
use crate::backoff::Backoff;
use crate::circuit_breaker::{self, Trip, Window};
use crate::config::Problems;
use crate::rate_limit::{self, Quota};
use crate::{budget, bulkhead};

pub(super) fn bulkhead(at: &mut Section<'_>, b: bulkhead::Builder) -> bulkhead::Builder {
    use bulkhead::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let b = at.set("limit", b, Builder::limit);
    let b = at.set("queue", b, |b, queue| match queue {
        QueueLength(Some(length)) => b.queue(length),
        QueueLength(None) => b.unbounded_queue(),
    });
    let b = at.set("max_wait", b, Builder::max_wait);
    at.set("order", b, Builder::order)
}

pub(super) fn rate_limit(at: &mut Section<'_>, b: rate_limit::Builder) -> rate_limit::Builder {
    use rate_limit::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let b = match quota(at) {
        Some(quota) => b.quota(quota),
        None => b,
    };
    let b = at.set("max_wait", b, Builder::max_wait);
    at.set("max_pause", b, Builder::max_pause)
}

/// `rate` and `burst`.
pub(super) fn quota(at: &mut Section<'_>) -> Option<Quota> {
    let quota: Option<Quota> = at.required("rate");
    let burst = at.get("burst");
    let quota = quota?;
    Some(burst.map_or(quota, |burst| quota.burst(burst)))
}

/// The quotas of the tiers from 1 on, which are the fields of `tiers`.
pub(super) fn tiers(at: &mut Section<'_>) -> Vec<Quota> {
    let Some(tiers) = at.section("tiers", None) else {
        return Vec::new();
    };
    let tiers = tiers.each(Some("rate"));
    let mut quotas = vec![None; tiers.len()];
    let mut problems = Problems::default();
    for (name, tier) in tiers {
        let quota = tier.read(|at| {
            let quota = quota(at)?;
            at.check(Problems::found(&this(), |problems| quota.check(problems)));
            Some(quota)
        });
        // As a number is written, so that no two names are one tier.
        let number = name.parse().ok().filter(|n: &usize| n.to_string() == name);
        let index = number.and_then(|n| n.checked_sub(1));
        match index.and_then(|n| quotas.get_mut(n)) {
            Some(of_tier) => *of_tier = quota,
            None => {
                let allowed = "the numbers of tiers, from 1 on without a gap";
                problems.check(false, "tiers", name, allowed);
            }
        }
    }
    at.check(problems.finish(&this()));
    quotas.into_iter().flatten().collect()
}

pub(super) fn budget(at: &mut Section<'_>, b: budget::Builder) -> budget::Builder {
    use budget::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let b = at.set("ratio", b, |b, Share(ratio)| b.ratio(ratio));
    let b = at.set("burst", b, Builder::burst);
    let b = at.set("floor", b, Builder::floor);
    let b = at.set("refill", b, Builder::refill);
    let Some(throttling) = at.section("retry_throttling", None) else {
        return b;
    };
    let (most, ratio) = throttling.read(|at| {
        let most = at.required("max_tokens");
        (most, at.required("token_ratio"))
    });
    match (most, ratio) {
        (Some(most), Some(Share(ratio))) => b.retry_throttling(most, ratio),
        _ => b,
    }
}

pub(super) fn breaker(
    at: &mut Section<'_>,
    b: circuit_breaker::Builder,
) -> circuit_breaker::Builder {
    use circuit_breaker::Builder;

    let b = b.mode(at.get("mode").unwrap_or_default());
    let rules = rules(at);
    let b = match rules.is_empty() {
        true => b,
        false => b.trips_beside_custom(rules),
    };
    let b = match backoff(at, "open_for") {
        Some(wait) => b.open_for(wait),
        None => b,
    };
    let b = at.set("retry_after_cap", b, Builder::retry_after_cap);
    let b = at.set("probes", b, Builder::probes);
    let b = at.set("close_after", b, Builder::close_after);
    let b = at.set("max_probe_time", b, Builder::max_probe_time);
    let b = at.set("on_drop", b, Builder::on_drop);
    let b = at.set("throttled", b, Builder::throttled);
    let b = at.set("fair_time", b, |b, least: Duration| b.fair_time(least));
    let Some(ramp) = at.section("ramp", None) else {
        return b;
    };
    match ramp.read(|at| (at.required("over"), at.required("reopen_at"))) {
        (Some(over), Some(Share(reopen_at))) => b.ramp(over, reopen_at),
        _ => b,
    }
}

/// At most one rule of each kind. A rule with a problem is noted and left out.
fn rules(at: &mut Section<'_>) -> Vec<Trip> {
    let run = at.section("consecutive_failures", Some("count"));
    let run = run.and_then(|run| {
        run.read(|at| {
            let count = at.required("count");
            let trip = Trip::consecutive_failures(count.unwrap_or(1));
            let trip = at.set("lasting", trip, Trip::lasting);
            let trip = at.set("within", trip, Trip::within);
            valid(at, count.is_some(), trip)
        })
    });
    let number = at.section("failures", Some("count"));
    let number = number.and_then(|number| {
        number.read(|at| {
            let count = at.required("count");
            let trip = Trip::failures(count.unwrap_or(1));
            let trip = at.set("within", trip, Trip::within);
            valid(at, count.is_some(), trip)
        })
    });
    let failing = at.section("failure_rate", Some("rate"));
    let failing = failing.and_then(|failing| {
        failing.read(|at| {
            let rate = at.required("rate");
            let trip = Trip::failure_rate(rate.as_ref().map_or(1.0, |Share(rate)| *rate));
            let trip = windowed(at, trip);
            valid(at, rate.is_some(), trip)
        })
    });
    let slow = at.section("slow_rate", None);
    let slow = slow.and_then(|slow| {
        slow.read(|at| {
            let (rate, longer_than) = (at.required("rate"), at.required("longer_than"));
            let given = rate.is_some() && longer_than.is_some();
            let Share(rate) = rate.unwrap_or(Share(1.0));
            let trip = Trip::slow_rate(rate, longer_than.unwrap_or_default());
            let trip = windowed(at, trip);
            valid(at, given, trip)
        })
    });
    [run, number, failing, slow].into_iter().flatten().collect()
}

fn valid(at: &Section<'_>, given: bool, trip: Trip) -> Option<Trip> {
    (given && at.holds(|problems| trip.check(problems))).then_some(trip)
}

/// The window of a rate, and when the rate counts.
fn windowed(at: &mut Section<'_>, trip: Trip) -> Trip {
    let window = at.get("window").unwrap_or(DEFAULT_WINDOW);
    let window = at.set("buckets", window, Window::buckets);
    let trip = at.set("min_calls", trip.over(window), Trip::min_calls);
    at.set("confidence_z", trip, Trip::confidence_z)
}

const DEFAULT_WINDOW: Window = Window::time(Duration::from_secs(10));

/// A duration alone is the base of an exponential backoff.
pub(super) fn backoff(at: &mut Section<'_>, field: &'static str) -> Option<Backoff> {
    at.section(field, Some("base"))?.read(|at| {
        let base = at.required("base");
        let shape = at.get("shape").unwrap_or(Shape::Exponential);
        let backoff = match shape {
            Shape::Constant => Backoff::constant,
            Shape::Linear => Backoff::linear,
            Shape::Exponential => Backoff::exponential,
            Shape::Decorrelated => Backoff::decorrelated,
        };
        let backoff = backoff(base.unwrap_or_default());
        let backoff = at.set("max", backoff, Backoff::max);
        let backoff = at.set("jitter", backoff, Backoff::jitter);
        let backoff = match shape {
            Shape::Exponential => at.set("factor", backoff, Backoff::factor),
            _ => backoff,
        };
        base.map(|_| backoff)
    })
}
