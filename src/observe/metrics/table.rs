//! The names, kinds, units and labels of all metrics. The guide has them as a table, and a test
//! compares both with what is published.

/// A metric that a [`Publisher`](super::Publisher) publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, in the style of OpenTelemetry: no unit and no `_total`. Prometheus shows the
    /// points as underscores.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit, as UCUM writes it.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it is.
    pub text: &'static str,
    /// How the values of several policies of one name, or of several keys, are one gauge.
    pub(super) merge: Merge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Merge {
    Sum,
    Highest,
    Lowest,
}

impl Merge {
    pub(super) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum => a + b,
            Self::Highest => a.max(b),
            Self::Lowest => a.min(b),
        }
    }
}

/// The kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution, in the buckets of [`BUCKETS`](super::BUCKETS).
    Histogram,
}

impl MetricKind {
    /// `counter`, `gauge`, `histogram`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! table {
    ($($id:ident: $kind:ident $merge:ident $name:literal $unit:literal [$($label:literal),*] $text:literal;)*) => {
        $(pub(super) const $id: Metric = Metric {
            name: $name,
            kind: MetricKind::$kind,
            unit: $unit,
            labels: &["policy", "kind" $(, $label)*],
            text: $text,
            merge: Merge::$merge,
        };)*

        /// Everything that is published for a policy.
        const OF_POLICIES: &[Metric] = &[$($id),*];
    };
}

table! {
    MODE: Gauge Highest "resilience.policy.mode" "1" []
        "the mode: 0 enforce, 1 record-only, 2 off";
    ADMITTED: Counter Sum "resilience.calls.admitted" "{call}" []
        "calls that were admitted";
    REJECTED: Counter Sum "resilience.calls.rejected" "{call}" ["reason"]
        "calls that were rejected, or cut short by a timeout";
    WOULD_REJECT: Counter Sum "resilience.calls.would_reject" "{call}" ["reason"]
        "calls that record-only mode would have rejected";
    ENDED: Counter Sum "resilience.calls.ended" "{call}" ["ending"]
        "admitted calls that ended, by how they ended; if no call is in flight, the sum equals the admitted calls";
    FAILED: Counter Sum "resilience.calls.failed" "{call}" ["failure"]
        "admitted calls that ended as a failure, by the kind of failure";
    IN_FLIGHT: Gauge Sum "resilience.calls.in_flight" "{call}" []
        "admitted calls that have not ended";
    DURATION: Histogram Sum "resilience.call.duration" "s" []
        "how long the calls through a timeout took";
    WAIT: Histogram Sum "resilience.wait.duration" "s" []
        "how long calls waited for a permit or for tokens; calls that did not wait are not included";
    QUEUED: Gauge Sum "resilience.queue.length" "{call}" []
        "calls that wait for a permit";
    QUEUE_LIMIT: Gauge Highest "resilience.queue.limit" "{call}" []
        "the most calls that may wait at once; absent if there is no bound";
    EXTRA: Counter Sum "resilience.attempts.extra" "{attempt}" []
        "attempts beyond the first of each call";
    WOULD_EXTRA: Counter Sum "resilience.attempts.would_extra" "{attempt}" []
        "extra attempts that record-only mode did not make";
    RETRIED: Counter Sum "resilience.attempts.failed" "{attempt}" ["failure"]
        "attempts that failed and were followed by another one";
    WON: Counter Sum "resilience.attempts.won" "{attempt}" []
        "extra attempts whose success was returned";
    SUPPRESSED: Counter Sum "resilience.attempts.suppressed" "{attempt}" ["reason"]
        "extra attempts that were due and not made";
    STATE: Gauge Highest "resilience.circuit_breaker.state" "1" []
        "the state: 0 closed, 1 recovering, 2 half-open, 3 open, 4 forced open; of a keyed policy, the highest of all keys";
    IN_STATE: Gauge Highest "resilience.circuit_breaker.state.duration" "s" []
        "the time since the breaker entered this state; of a keyed policy, the longest of all keys in it";
    TRANSITIONS: Counter Sum "resilience.circuit_breaker.transitions" "{transition}" ["to"]
        "changes of the state";
    FAILURE_RATE: Gauge Highest "resilience.circuit_breaker.failure_rate" "1" []
        "the share of failures in the window of the rate rule; absent until the window has the minimum number of calls; of a keyed policy, the highest of all keys";
    THRESHOLD: Gauge Highest "resilience.circuit_breaker.failure_rate.threshold" "1" []
        "the failure rate at which the breaker trips; absent without a rate rule";
    RUN: Gauge Highest "resilience.circuit_breaker.consecutive_failures" "{call}" []
        "failures in a row so far; of a keyed policy, the most of all keys";
    RUN_THRESHOLD: Gauge Lowest "resilience.circuit_breaker.consecutive_failures.threshold" "{call}" []
        "the number of failures in a row at which the breaker trips, once they have lasted long enough; absent without such a rule; of several rules, the lowest number";
    STATES: Gauge Sum "resilience.circuit_breaker.keys" "{key}" ["state"]
        "how many breakers of a keyed policy are in each state; the anonymous and the overflow breaker count from their first call";
    BULKHEAD_LIMIT: Gauge Highest "resilience.bulkhead.limit" "{call}" []
        "the most calls in flight at once; of a keyed policy, the highest limit of all keys";
    RATE: Gauge Highest "resilience.rate_limit.rate" "{token}/s" []
        "tokens per second; of a keyed policy, for each key; absent if there is no limit, and for a joint limiter, whose members have series of their own";
    BURST: Gauge Highest "resilience.rate_limit.burst" "{token}" []
        "the most tokens that can be taken at one instant; absent if the rate is absent";
    AVAILABLE: Gauge Lowest "resilience.rate_limit.available" "{token}" []
        "tokens that are available; absent if the rate is absent, and for a keyed policy";
    PAUSED: Gauge Highest "resilience.rate_limit.paused" "s" []
        "the remaining time of the current pause";
    TIMEOUT_LIMIT: Gauge Highest "resilience.timeout.limit" "s" []
        "how long a call may take";
    BALANCE: Gauge Lowest "resilience.budget.balance" "{attempt}" []
        "extra attempts that the budget can pay for now; of a keyed policy, the fewest of all keys in use";
    BUDGET_BURST: Gauge Highest "resilience.budget.burst" "{attempt}" []
        "the balance that a budget starts with, which recent successes increase; with retry throttling, the maximum of its tokens";
    RATIO: Gauge Highest "resilience.budget.ratio" "1" []
        "extra attempts that each success pays for";
    MAX_ATTEMPTS: Gauge Highest "resilience.retry.max_attempts" "{attempt}" []
        "the most attempts of one call, including the first";
    HEDGE_DELAY: Gauge Highest "resilience.hedge.delay" "s" []
        "how long an attempt may take before an extra one starts; absent while there are no samples";
    FALLBACK_LIMIT: Gauge Highest "resilience.fallback.limit" "{call}" []
        "the most calls of the fallback that may run at once";
    KEYS: Gauge Sum "resilience.keyed.keys" "{key}" []
        "keys that have an entry";
    CAPACITY: Gauge Sum "resilience.keyed.capacity" "{key}" []
        "the most keys that can have an entry";
    OVERFLOWED: Counter Sum "resilience.keyed.overflowed" "{call}" []
        "calls with a new key that found no idle entry to replace";
    KEYLESS: Counter Sum "resilience.keyed.keyless" "{call}" []
        "calls without a key";
}

/// The health of the process: the one metric without a policy.
pub(super) const HEALTH: Metric = Metric {
    name: "resilience.health",
    kind: MetricKind::Gauge,
    unit: "1",
    labels: &[],
    merge: Merge::Highest,
    text: "0 ready, 1 degraded, 2 draining",
};

/// Every metric, with its name, kind, unit and labels.
pub fn table() -> impl Iterator<Item = &'static Metric> {
    OF_POLICIES.iter().chain(std::iter::once(&HEALTH))
}
