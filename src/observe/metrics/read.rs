//! From a policy to the values of its metrics.

use std::collections::BTreeMap;

use super::expected;
use super::table::{self, Metric};
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::config::Mode;
use crate::counters::{Times, Totals};
use crate::observe::registry::{KeyedPolicy, Policy, PolicyKind};
use crate::rate_limit::RateLimiter;

/// The values of a policy, each with the value of its third label.
#[derive(Clone, Default)]
pub(super) struct Reading {
    pub(super) counters: BTreeMap<(&'static Metric, &'static str), u64>,
    pub(super) gauges: BTreeMap<(&'static Metric, &'static str), f64>,
    pub(super) histograms: BTreeMap<&'static Metric, Vec<u64>>,
    /// The state and the time in it of the breaker that is worst.
    breaker: Option<(u8, f64)>,
}

/// Reads a policy, or all keys of a keyed one.
pub(super) fn read(policy: &Policy) -> Reading {
    let mut reading = Reading::default();
    let mode = match policy.mode() {
        Mode::Enforce => 0,
        Mode::RecordOnly => 1,
        Mode::Off => 2,
    };
    reading.gauge(&table::MODE, mode);
    if policy.kind() != PolicyKind::Budget {
        reading.totals(policy.kind(), &policy.totals());
    }
    if let Policy::Keyed(keyed) = policy {
        reading.keyed(keyed);
    }
    policy.each(|one| reading.one(one, policy.is_keyed()));
    if let Some((state, in_state)) = reading.breaker {
        reading.gauge(&table::STATE, state);
        reading.gauge(&table::IN_STATE, in_state);
    }
    reading
}

impl Reading {
    /// What has been published stays, where a policy takes back what it has counted.
    pub(super) fn keep(&mut self, before: &Self) {
        for (series, count) in &mut self.counters {
            *count = before
                .counters
                .get(series)
                .map_or(*count, |last| (*last).max(*count));
        }
    }

    fn gauge(&mut self, metric: &'static Metric, value: impl Into<f64>) {
        self.gauge_of(metric, "", value);
    }

    fn gauge_of(&mut self, metric: &'static Metric, label: &'static str, value: impl Into<f64>) {
        let value = value.into();
        let merged = self.gauges.entry((metric, label));
        merged
            .and_modify(|merged| *merged = metric.merge.apply(*merged, value))
            .or_insert(value);
    }

    /// Adds to a counter, which exists from now on.
    fn add(&mut self, metric: &'static Metric, label: &'static str, count: u64) {
        *self.counters.entry((metric, label)).or_insert(0) += count;
    }

    /// Adds the labels that a policy of this kind can count, and those that it has counted.
    fn add_all(
        &mut self,
        metric: &'static Metric,
        expected: &[&str],
        counts: impl Iterator<Item = (&'static str, u64)>,
    ) {
        for (label, count) in counts {
            if count > 0 || expected.contains(&label) {
                self.add(metric, label, count);
            }
        }
    }

    fn totals(&mut self, kind: PolicyKind, totals: &Totals) {
        self.add(&table::ADMITTED, "", totals.admitted());
        let rejections = expected::rejections(kind);
        self.add_all(&table::REJECTED, rejections, totals.rejections());
        self.add_all(
            &table::WOULD_REJECT,
            rejections,
            totals.would_be_rejections(),
        );
        let endings = expected::endings(kind);
        let cut_short = std::iter::once(("cut_short", totals.cut_short()));
        self.add_all(&table::ENDED, endings, totals.endings().chain(cut_short));
        let judges = endings.contains(&"failure");
        for (failure, count) in totals.failures().filter(|_| judges) {
            self.add(&table::FAILED, failure, count);
        }
        let makes_attempts = matches!(kind, PolicyKind::Retry | PolicyKind::Hedge);
        if makes_attempts {
            self.add(&table::EXTRA, "", totals.extra());
            self.add(&table::WOULD_EXTRA, "", totals.would_make());
            self.add(&table::WON, "", totals.won());
        }
        for (failure, count) in totals.retries().filter(|_| kind == PolicyKind::Retry) {
            self.add(&table::RETRIED, failure, count);
        }
        let suppressions = expected::suppressions(kind);
        self.add_all(&table::SUPPRESSED, suppressions, totals.suppressions());
        if kind == PolicyKind::CircuitBreaker {
            for (state, count) in totals.transitions() {
                self.add(&table::TRANSITIONS, state, count);
            }
        }
        match kind {
            PolicyKind::Timeout => self.times(&table::DURATION, totals.times()),
            PolicyKind::RateLimit | PolicyKind::Bulkhead => {
                self.times(&table::WAIT, totals.times());
            }
            _ => {}
        }
        // A bulkhead knows it exactly, and a limiter's calls do not end.
        if !matches!(kind, PolicyKind::RateLimit | PolicyKind::Bulkhead) {
            self.gauge(&table::IN_FLIGHT, number(totals.in_flight()));
        }
    }

    fn times(&mut self, metric: &'static Metric, times: &Times) {
        let counts = times.buckets().map(|(_, count)| count);
        self.histograms.insert(metric, counts.collect());
    }

    fn keyed(&mut self, keyed: &KeyedPolicy) {
        let snapshot = keyed.snapshot();
        self.gauge(&table::KEYS, number(snapshot.keys as u64));
        self.gauge(&table::CAPACITY, number(snapshot.capacity as u64));
        self.add(&table::OVERFLOWED, "", snapshot.overflowed);
        self.add(&table::KEYLESS, "", snapshot.keyless);
        if let Some(states) = snapshot.states {
            for (state, count) in [
                ("closed", states.closed),
                ("recovering", states.recovering),
                ("half_open", states.half_open),
                ("open", states.open),
                ("forced_open", states.forced_open),
            ] {
                self.gauge_of(&table::STATES, state, number(count as u64));
            }
        }
    }

    fn one(&mut self, policy: &Policy, keyed: bool) {
        match policy {
            #[cfg(feature = "tokio")]
            Policy::Timeout(timeout) => {
                self.gauge(
                    &table::TIMEOUT_LIMIT,
                    timeout.snapshot().limit.as_secs_f64(),
                );
            }
            Policy::RateLimiter(limiter) => self.limiter(limiter, keyed),
            Policy::CircuitBreaker(breaker) => self.breaker(breaker),
            Policy::Bulkhead(bulkhead) => {
                let now = bulkhead.snapshot();
                self.gauge(&table::BULKHEAD_LIMIT, now.limit);
                self.gauge(&table::IN_FLIGHT, now.in_flight);
                self.gauge(&table::QUEUED, now.queued);
                if let Some(queue) = now.queue {
                    self.gauge(&table::QUEUE_LIMIT, queue);
                }
            }
            #[cfg(feature = "tokio")]
            Policy::Retry(retry) => {
                let now = retry.snapshot();
                self.gauge(&table::MAX_ATTEMPTS, now.max_attempts);
            }
            #[cfg(feature = "tokio")]
            Policy::Hedge(hedge) => {
                let now = hedge.snapshot();
                if let Some(delay) = now.delay {
                    self.gauge(&table::HEDGE_DELAY, delay.as_secs_f64());
                }
            }
            Policy::Budget(budget) => {
                let now = budget.snapshot();
                self.gauge(&table::BALANCE, now.balance);
                self.gauge(&table::BUDGET_BURST, now.burst);
                self.gauge(&table::RATIO, now.ratio);
                self.add(&table::EXTRA, "", now.made);
                self.add(&table::SUPPRESSED, "budget", now.suppressed);
            }
            #[cfg(feature = "tokio")]
            Policy::Fallback(fallback) => {
                let now = fallback.snapshot();
                self.gauge(&table::FALLBACK_LIMIT, now.limit);
            }
            Policy::Keyed(_) => {}
        }
    }

    fn limiter(&mut self, limiter: &RateLimiter, keyed: bool) {
        // A limit for each key has the name of the whole; limits for all together are listed too.
        let own = match limiter.members() {
            [own] => Some(own),
            members if keyed => members
                .iter()
                .find(|member| member.name() == limiter.name()),
            _ => None,
        };
        let Some(own) = own else { return };
        let now = own.snapshot();
        if now.quota.is_unlimited() {
            return;
        }
        let rate = f64::from(now.quota.count()) / now.quota.period().as_secs_f64();
        self.gauge(&table::RATE, rate);
        self.gauge(&table::BURST, now.quota.max_burst());
        // The tokens of requests without a key say nothing about those of a key.
        if !keyed {
            self.gauge(&table::AVAILABLE, now.available);
            let paused = now.paused.map_or(0.0, |rest| rest.as_secs_f64());
            self.gauge(&table::PAUSED, paused);
        }
    }

    fn breaker(&mut self, breaker: &CircuitBreaker) {
        let now = breaker.snapshot();
        let this = (severity(now.state), now.in_state.as_secs_f64());
        let worst = self.breaker.unwrap_or((0, 0.0));
        self.breaker = Some(if this > worst { this } else { worst });
        // A rule's rates are of calls that ended in this state.
        for rule in &now.rules {
            if let Some(rate) = rule.failure_rate {
                self.gauge(&table::FAILURE_RATE, rate);
            }
            if let Some(threshold) = rule.threshold {
                self.gauge(&table::THRESHOLD, threshold);
            }
            self.gauge(&table::RUN, rule.counts.consecutive);
            if let Some(threshold) = rule.consecutive_threshold {
                self.gauge(&table::RUN_THRESHOLD, threshold);
            }
        }
    }
}

/// The state as a number, the healthiest first.
fn severity(state: circuit_breaker::State) -> u8 {
    use circuit_breaker::State;
    match state {
        State::Closed => 0,
        State::Recovering => 1,
        State::HalfOpen => 2,
        State::Open => 3,
        State::ForcedOpen => 4,
    }
}

#[allow(clippy::cast_precision_loss)] // A gauge.
fn number(count: u64) -> f64 {
    count as f64
}
