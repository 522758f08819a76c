//! What two readings of the same counters say of the time between them.

use std::time::Duration;

use super::document::{ByLabel, Latency, Number, Tile};
use crate::config::PolicyKind;
use crate::registry::{Snapshot, Times, Totals};

/// What a policy has counted since it was made. A budget counts nothing.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    kind: PolicyKind,
    totals: Totals,
}

impl Counted {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            kind: snapshot.kind,
            totals: snapshot.totals.clone(),
        }
    }

    /// All calls that it has seen.
    pub(super) fn calls(&self) -> u64 {
        self.totals.calls()
    }

    /// Calls that got no answer of the service: rejected, or cut short.
    fn turned_down(&self) -> u64 {
        self.totals.rejected() + self.totals.cut_short()
    }
}

/// Fills in the rates between two readings that are `time` apart.
pub(super) fn fill(tile: &mut Tile, before: &Counted, now: &Counted, time: Duration) {
    if now.kind == PolicyKind::Budget {
        return;
    }
    let a_second = |before: u64, now: u64| {
        Number(now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-3))
    };
    let (before_totals, totals) = (&before.totals, &now.totals);
    tile.admitted = Some(a_second(before_totals.admitted(), totals.admitted()));
    let rejected = a_second(before.turned_down(), now.turned_down());
    tile.point.admitted = tile.admitted;
    tile.point.rejected = Some(rejected);
    tile.rejected = Some(by_label(
        before_totals.rejections(),
        totals.rejections(),
        a_second,
    ));
    let would = (
        before_totals.would_be_rejections(),
        totals.would_be_rejections(),
    );
    tile.would_reject = Some(by_label(would.0, would.1, a_second));
    if judges(now.kind) {
        tile.failed = Some(by_label(
            before_totals.failures(),
            totals.failures(),
            a_second,
        ));
    }
    let suppressed = (before_totals.suppressions(), totals.suppressions());
    tile.suppressed = Some(by_label(suppressed.0, suppressed.1, a_second));
}

/// Whether policies of this kind classify how calls end.
fn judges(kind: PolicyKind) -> bool {
    matches!(
        kind,
        PolicyKind::CircuitBreaker | PolicyKind::Retry | PolicyKind::Hedge
    )
}

/// The rates that are not zero.
fn by_label(
    before: impl Iterator<Item = (&'static str, u64)>,
    now: impl Iterator<Item = (&'static str, u64)>,
    a_second: impl Fn(u64, u64) -> Number,
) -> ByLabel<Number> {
    // Both have every label, in one order.
    before
        .zip(now)
        .filter(|((_, before), (_, now))| before != now)
        .map(|((_, before), (label, now))| (label, a_second(before, now)))
        .collect()
}

/// Fills in what needs more than a second: latencies, and attempts per call.
pub(super) fn fill_recent(tile: &mut Tile, before: &Counted, now: &Counted, time: Duration) {
    tile.latency = latency(before.totals.times(), now.totals.times(), time);
    tile.point.p50 = tile.latency.map(|latency| latency.p50);
    tile.point.p99 = tile.latency.map(|latency| latency.p99);
    if matches!(now.kind, PolicyKind::Retry | PolicyKind::Hedge) {
        let of = |count: fn(&Totals) -> u64| {
            count(&now.totals).saturating_sub(count(&before.totals)) as f64
        };
        let calls = of(Totals::admitted);
        let attempts = of(Totals::attempts);
        tile.attempts_per_call = (calls > 0.0).then(|| Number(attempts / calls));
    }
}

/// The percentiles of the times that were counted between two readings.
fn latency(before: &Times, now: &Times, time: Duration) -> Option<Latency> {
    let buckets = || now.buckets().zip(before.buckets());
    let counted = || buckets().map(|((end, now), (_, before))| (end, now.saturating_sub(before)));
    let all: u64 = counted().map(|(_, count)| count).sum();
    let mut longest = Duration::ZERO;
    let mut percentile = |share: f64| {
        let rank = ((all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (end, count) in counted() {
            // The last bucket has no end.
            longest = end.unwrap_or(longest);
            seen += count;
            if seen >= rank {
                break;
            }
        }
        Number::from(longest)
    };
    (all > 0).then(|| Latency {
        p50: percentile(0.5),
        p90: percentile(0.9),
        p99: percentile(0.99),
        p999: percentile(0.999),
        over: time.into(),
    })
}
